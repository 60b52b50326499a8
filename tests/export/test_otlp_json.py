"""OTLP as JSON, compared with what the protobuf package makes and reads."""

from __future__ import annotations

from math import isnan
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from bext_otel.export.otlp_json import MESSAGES, json_of

REQUESTS: dict[str, Any] = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
}
_NAMES = {"RequestSpans": "traces", "RequestMetrics": "metrics", "RequestLogs": "logs"}
# What only profiles have, and what is still in development.
_LEFT_OUT = {"entityRefs", "metadata", "stringValueStrindex", "keyStrindex"}
_KINDS = {
    getattr(FieldDescriptor, name): name[5:].lower()
    for name in dir(FieldDescriptor)
    if name.startswith("TYPE_")
}


def described(descriptor: Any, found: dict[str, set[str]]) -> dict[str, set[str]]:
    """The fields of a message and of those in it, as upstream has generated them."""
    if descriptor.name in found:
        return found
    rows = found[descriptor.name] = set()
    for field in descriptor.fields:
        if field.json_name in _LEFT_OUT:
            continue
        if field.message_type is not None:
            described(field.message_type, found)
        kind = field.message_type.name if field.message_type is not None else _KINDS[field.type]
        kind = "id" if field.json_name in {"traceId", "spanId", "parentSpanId"} else kind
        several = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        rows.add(f"{field.number} {kind}{'*' if several else ''} {field.json_name}")
    return found


def test_every_field_of_opentelemetry_proto_is_in_the_table() -> None:
    expected: dict[str, set[str]] = {}
    for name, signal in _NAMES.items():
        descriptor = REQUESTS[signal].DESCRIPTOR
        described(descriptor, expected)
        expected[name] = expected.pop(descriptor.name)
    assert expected == {name: set(row.split(", ")) for name, row in MESSAGES.items()}


def filled(message: Any, data: st.DataObject, depth: int = 0) -> Any:
    """Any values in any fields; bytes of ids as well."""
    for field in message.DESCRIPTOR.fields:
        if field.json_name in _LEFT_OUT or not data.draw(st.booleans()):
            continue
        several = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        if field.message_type is not None:
            if depth < 7:
                inner = getattr(message, field.name)
                filled(inner.add() if several else inner, data, depth + 1)
                if not several:
                    inner.SetInParent()
            continue
        value = _VALUES[_KINDS[field.type]]
        if several:
            getattr(message, field.name).extend(data.draw(st.lists(value, max_size=3)))
        else:
            setattr(message, field.name, data.draw(value))
    return message


_VALUES: dict[str, Any] = {
    "string": st.text(max_size=5),
    "bytes": st.binary(max_size=5),
    "bool": st.booleans(),
    "enum": st.sampled_from([0, 1, 2]),
    "double": st.floats(),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1),
    "sfixed64": st.integers(-(1 << 63), (1 << 63) - 1),
    "uint64": st.integers(0, (1 << 64) - 1),
    "fixed64": st.integers(0, (1 << 64) - 1),
    "uint32": st.integers(0, (1 << 32) - 1),
    "fixed32": st.integers(0, (1 << 32) - 1),
    "sint32": st.integers(-(1 << 31), (1 << 31) - 1),
}


def hexed(said: Any) -> Any:
    """What the protobuf package says, with ids as OTLP has them."""
    if isinstance(said, list):
        return [hexed(each) for each in said]
    if not isinstance(said, dict):
        return said
    from base64 import b64decode

    ids = {"traceId", "spanId", "parentSpanId"}
    return {key: b64decode(value).hex() if key in ids else hexed(value) for key, value in said.items()}


@pytest.mark.parametrize("signal", sorted(REQUESTS))
@given(data=st.data())
def test_it_is_the_json_that_the_protobuf_package_makes(signal: Any, data: st.DataObject) -> None:
    request = filled(REQUESTS[signal](), data)
    expected = hexed(json_format.MessageToDict(request, use_integers_for_enums=True))
    assert _plain(expected) == _plain(msgspec.json.decode(json_of(signal, request.SerializeToString())))


def _plain(said: Any) -> Any:
    """Numbers as they compare, whether the text has a point or not."""
    if isinstance(said, dict):
        return {key: _plain(value) for key, value in said.items()}
    if isinstance(said, list):
        return [_plain(each) for each in said]
    return (
        float(said)
        if isinstance(said, (int, float)) and not isinstance(said, bool) and not isnan(said)
        else said
    )


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(ValueError, match="no message"):
        json_of("traces", b"\x0a\xff")
