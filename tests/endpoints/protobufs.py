"""Reads `io.prometheus.client` with Google's own library, from a description of the messages: nothing of what
is tested."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_KINDS = {
    "string": 9,
    "double": 1,
    "uint64": 4,
    "int64": 3,
    "uint32": 13,
    "int32": 5,
    "sint32": 17,
    "sint64": 18,
    "enum": 14,
}
# Message -> (number, name, kind or message, repeated), as github.com/prometheus/client_model has them.
_MESSAGES: dict[str, list[tuple[int, str, str, bool]]] = {
    "LabelPair": [(1, "name", "string", False), (2, "value", "string", False)],
    "Timestamp": [(1, "seconds", "int64", False), (2, "nanos", "int32", False)],
    "Exemplar": [
        (1, "label", "LabelPair", True),
        (2, "value", "double", False),
        (3, "timestamp", "Timestamp", False),
    ],
    "Gauge": [(1, "value", "double", False)],
    "Counter": [(1, "value", "double", False), (2, "exemplar", "Exemplar", False)],
    "Untyped": [(1, "value", "double", False)],
    "Quantile": [(1, "quantile", "double", False), (2, "value", "double", False)],
    "Summary": [
        (1, "sample_count", "uint64", False),
        (2, "sample_sum", "double", False),
        (3, "quantile", "Quantile", True),
    ],
    "Bucket": [
        (1, "cumulative_count", "uint64", False),
        (2, "upper_bound", "double", False),
        (3, "exemplar", "Exemplar", False),
    ],
    "BucketSpan": [(1, "offset", "sint32", False), (2, "length", "uint32", False)],
    "Histogram": [
        (1, "sample_count", "uint64", False),
        (2, "sample_sum", "double", False),
        (3, "bucket", "Bucket", True),
        (5, "schema", "sint32", False),
        (6, "zero_threshold", "double", False),
        (7, "zero_count", "uint64", False),
        (12, "positive_span", "BucketSpan", True),
        (13, "positive_delta", "sint64", True),
        (16, "exemplars", "Exemplar", True),
    ],
    "Metric": [
        (1, "label", "LabelPair", True),
        (2, "gauge", "Gauge", False),
        (3, "counter", "Counter", False),
        (4, "summary", "Summary", False),
        (5, "untyped", "Untyped", False),
        (6, "timestamp_ms", "int64", False),
        (7, "histogram", "Histogram", False),
    ],
    "MetricFamily": [
        (1, "name", "string", False),
        (2, "help", "string", False),
        (3, "type", "int32", False),
        (4, "metric", "Metric", True),
    ],
}


def _factory() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="tests/metrics.proto", package="tests.prometheus", syntax="proto2"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind, repeated in fields:
            made = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in _KINDS:
                made.type = _KINDS[kind]
            else:
                made.type, made.type_name = 11, f".tests.prometheus.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tests.prometheus.MetricFamily"))


MetricFamily = _factory()


def families(page: bytes) -> list[Any]:
    """The families of a page, each preceded by its length; an AssertionError for anything that the messages
    do not have."""
    found = []
    while page:
        length = shift = position = 0
        while True:
            byte = page[position]
            length |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                break
        family = MetricFamily.FromString(page[position : position + length])
        assert length == len(page[position : position + length])
        known = MetricFamily.FromString(family.SerializeToString())
        known.DiscardUnknownFields()
        assert known == family, "unknown fields"
        found.append(family)
        page = page[position + length :]
    return found


def labels(metric: Any) -> dict[str, str]:
    """Labels of a metric or exemplar."""
    pairs = {pair.name: pair.value for pair in metric.label}
    assert len(pairs) == len(metric.label)
    return pairs


def buckets(histogram: Any) -> dict[int, int]:
    """Prometheus' own bucket index -> count, of those that hold something."""
    found, index, count = {}, 0, 0
    deltas = iter(histogram.positive_delta)
    for span in histogram.positive_span:
        index += span.offset
        for _ in range(span.length):
            count += next(deltas)
            found[index] = count
            index += 1
    assert next(deltas, None) is None
    return {index: count for index, count in found.items() if count}
