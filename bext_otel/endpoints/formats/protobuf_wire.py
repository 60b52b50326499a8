"""The messages of `io.prometheus.client` (github.com/prometheus/client_model, metrics.proto), as classes of
the protobuf package.

No Python package has them generated. The description stands in a pool of its own, so that it meets nobody
else's; the fields that are not used here are left out. It is made at the first use: most processes are never
asked for protocol buffers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["metric_family"]

_PACKAGE = "io.prometheus.client"

# Message -> its fields: number, type and name.
_MESSAGES = {
    "LabelPair": "1 string name, 2 string value",
    "Timestamp": "1 int64 seconds, 2 int32 nanos",
    "Exemplar": "1 LabelPair* label, 2 double value, 3 Timestamp timestamp",
    "Gauge": "1 double value",
    "Counter": "1 double value, 2 Exemplar exemplar",
    "Untyped": "1 double value",
    "Quantile": "1 double quantile, 2 double value",
    "Summary": "1 uint64 sample_count, 2 double sample_sum, 3 Quantile* quantile",
    "Bucket": "1 uint64 cumulative_count, 2 double upper_bound, 3 Exemplar exemplar",
    "BucketSpan": "1 sint32 offset, 2 uint32 length",
    "Histogram": "1 uint64 sample_count, 2 double sample_sum, 3 Bucket* bucket, 5 sint32 schema, 6 double "
    "zero_threshold,"
    "7 uint64 zero_count, 12 BucketSpan* positive_span, 13 sint64* positive_delta, 16 Exemplar* exemplars",
    "Metric": "1 LabelPair* label, 2 Gauge gauge, 3 Counter counter, 4 Summary summary, 5 Untyped untyped,"
    "6 int64 timestamp_ms, 7 Histogram histogram",
    "MetricFamily": "1 string name, 2 string help, 3 int32 type, 4 Metric* metric",
}


@cache
def metric_family() -> Any:
    """The class of a `MetricFamily`; those of its parts are made by its fields. Two of them written one after
    the other are read as one."""
    from google.protobuf import descriptor_pool, message_factory
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

    file = FileDescriptorProto(name="metrics.proto", package=_PACKAGE, syntax="proto2")
    for message, fields in _MESSAGES.items():
        made = file.message_type.add(name=message)
        for number, kind, name in map(str.split, fields.split(",")):
            plain, several = kind.rstrip("*"), kind.endswith("*")
            field = made.field.add(
                name=name, number=int(number), label=3 if several else 1
            )  # LABEL_REPEATED, LABEL_OPTIONAL
            if plain in _MESSAGES:
                field.type_name = f".{_PACKAGE}.{plain}"
            else:
                field.type = FieldDescriptorProto.Type.Value(f"TYPE_{plain.upper()}")
                field.options.packed = several
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily"))
