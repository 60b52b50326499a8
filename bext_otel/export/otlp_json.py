"""OTLP requests as JSON (OTLP specification, "JSON Protobuf Encoding"): Protobuf's JSON, but for ids, which
are hex digits, and enumerations, which are numbers.

Imported where JSON is asked for.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bext_otel.config import Signal
from bext_otel.export.protobuf_reader import fields, varints

__all__ = ["MESSAGES", "json_of"]

_STAMPED = "2 fixed64 startTimeUnixNano, 3 fixed64 timeUnixNano"
_ITEMS = {"Spans": "Span* spans", "Logs": "LogRecord* logRecords", "Metrics": "Metric* metrics"}

MESSAGES: Mapping[str, str] = {
    **{f"Request{kind}": f"1 Resource{kind}* resource{kind}" for kind in _ITEMS},
    **{
        f"Resource{kind}": f"1 Resource resource, 2 Scope{kind}* scope{kind}, 3 string schemaUrl"
        for kind in _ITEMS
    },
    **{
        f"Scope{kind}": f"1 InstrumentationScope scope, 2 {items}, 3 string schemaUrl"
        for kind, items in _ITEMS.items()
    },
    "Resource": "1 KeyValue* attributes, 2 uint32 droppedAttributesCount",
    "InstrumentationScope": (
        "1 string name, 2 string version, 3 KeyValue* attributes, 4 uint32 droppedAttributesCount"
    ),
    "KeyValue": "1 string key, 2 AnyValue value",
    "AnyValue": (
        "1 string stringValue, 2 bool boolValue, 3 int64 intValue, 4 double doubleValue, "
        "5 ArrayValue arrayValue, 6 KeyValueList kvlistValue, 7 bytes bytesValue"
    ),
    "ArrayValue": "1 AnyValue* values",
    "KeyValueList": "1 KeyValue* values",
    "Span": (
        "1 id traceId, 2 id spanId, 3 string traceState, 4 id parentSpanId, 5 string name, 6 enum kind, "
        "7 fixed64 startTimeUnixNano, 8 fixed64 endTimeUnixNano, 9 KeyValue* attributes, "
        "10 uint32 droppedAttributesCount, 11 Event* events, 12 uint32 droppedEventsCount, 13 Link* links, "
        "14 uint32 droppedLinksCount, 15 Status status, 16 fixed32 flags"
    ),
    "Event": (
        "1 fixed64 timeUnixNano, 2 string name, 3 KeyValue* attributes, 4 uint32 droppedAttributesCount"
    ),
    "Link": (
        "1 id traceId, 2 id spanId, 3 string traceState, 4 KeyValue* attributes, "
        "5 uint32 droppedAttributesCount, 6 fixed32 flags"
    ),
    "Status": "2 string message, 3 enum code",
    "LogRecord": (
        "1 fixed64 timeUnixNano, 2 enum severityNumber, 3 string severityText, 5 AnyValue body, "
        "6 KeyValue* attributes, 7 uint32 droppedAttributesCount, 8 fixed32 flags, 9 id traceId, "
        "10 id spanId, 11 fixed64 observedTimeUnixNano, 12 string eventName"
    ),
    "Metric": (
        "1 string name, 2 string description, 3 string unit, 5 Gauge gauge, 7 Sum sum, "
        "9 Histogram histogram, 10 ExponentialHistogram exponentialHistogram, 11 Summary summary"
    ),
    "Gauge": "1 NumberDataPoint* dataPoints",
    "Sum": "1 NumberDataPoint* dataPoints, 2 enum aggregationTemporality, 3 bool isMonotonic",
    "Histogram": "1 HistogramDataPoint* dataPoints, 2 enum aggregationTemporality",
    "ExponentialHistogram": "1 ExponentialHistogramDataPoint* dataPoints, 2 enum aggregationTemporality",
    "Summary": "1 SummaryDataPoint* dataPoints",
    "NumberDataPoint": (
        f"{_STAMPED}, 4 double asDouble, 5 Exemplar* exemplars, 6 sfixed64 asInt, 7 KeyValue* attributes, "
        "8 uint32 flags"
    ),
    "HistogramDataPoint": (
        f"{_STAMPED}, 4 fixed64 count, 5 double sum, 6 fixed64* bucketCounts, 7 double* explicitBounds, "
        "8 Exemplar* exemplars, 9 KeyValue* attributes, 10 uint32 flags, 11 double min, 12 double max"
    ),
    "ExponentialHistogramDataPoint": (
        f"1 KeyValue* attributes, {_STAMPED}, 4 fixed64 count, 5 double sum, 6 sint32 scale, "
        "7 fixed64 zeroCount, 8 Buckets positive, 9 Buckets negative, 10 uint32 flags, "
        "11 Exemplar* exemplars, 12 double min, 13 double max, 14 double zeroThreshold"
    ),
    "Buckets": "1 sint32 offset, 2 uint64* bucketCounts",
    "SummaryDataPoint": (
        f"{_STAMPED}, 4 fixed64 count, 5 double sum, 6 ValueAtQuantile* quantileValues, "
        "7 KeyValue* attributes, 8 uint32 flags"
    ),
    "ValueAtQuantile": "1 double quantile, 2 double value",
    "Exemplar": (
        "2 fixed64 timeUnixNano, 3 double asDouble, 4 id spanId, 5 id traceId, 6 sfixed64 asInt, "
        "7 KeyValue* filteredAttributes"
    ),
}
"""Of opentelemetry-proto, by message: number, type (`*`: several of them) and JSON's name of each field. An
`id` is bytes. What has no row is left out."""

_REQUESTS: Mapping[Signal, str] = {
    "traces": "RequestSpans",
    "metrics": "RequestMetrics",
    "logs": "RequestLogs",
}


def json_of(signal: Signal, content: bytes) -> bytes:
    """A request that is encoded as Protobuf, as JSON. Raises ValueError for what is none."""
    return msgspec.json.encode(_message(_REQUESTS[signal], content))


def _message(name: str, content: bytes) -> dict[str, Any]:
    known, made = _FIELDS[name], dict[str, Any]()
    for number, value in fields(content):
        if (field := known.get(number)) is None:
            continue
        kind, several, key = field
        if several:
            made.setdefault(key, []).extend(_several(kind, value))
        else:
            made[key] = _one(kind, value)
    return made


def _one(kind: str, value: Any) -> Any:
    return _message(kind, value) if kind in _FIELDS else _PLAIN[kind](value)


def _several(kind: str, value: Any) -> list[Any]:
    """What one field has of a list: numbers come all together."""
    if kind in {"fixed64", "double"}:
        return [_PLAIN[kind](value[at : at + 8]) for at in range(0, len(value), 8)]
    if kind == "uint64":
        return [str(number) for number in (varints(value) if isinstance(value, bytes) else (value,))]
    return [_one(kind, value)]


def _double(value: bytes) -> float | str:
    number: float = struct.unpack("<d", value)[0]
    if number != number:  # noqa: PLR0124  # as only NaN is
        return "NaN"
    return number if abs(number) != float("inf") else "Infinity" if number > 0 else "-Infinity"


def _signed(value: int) -> str:
    return str(value - (1 << 64) if value >= 1 << 63 else value)


def _enum(value: int) -> int:
    """Negative ones have 64 bits, as any number has."""
    return value if value < 1 << 31 else value - (1 << 64)


# 64 bits are text: JSON's numbers are doubles to many readers.
_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    "string": lambda value: value.decode(errors="replace"),
    "bytes": lambda value: b64encode(value).decode(),
    "id": lambda value: value.hex(),
    "bool": bool,
    "int64": _signed,
    "uint64": str,
    "uint32": int,
    "enum": _enum,
    "sint32": lambda value: (value >> 1) ^ -(value & 1),
    "fixed32": lambda value: int.from_bytes(value, "little"),
    "fixed64": lambda value: str(int.from_bytes(value, "little")),
    "sfixed64": lambda value: str(int.from_bytes(value, "little", signed=True)),
    "double": _double,
}


def _rows(row: str) -> dict[int, tuple[str, bool, str]]:
    words = (field.split() for field in row.split(", "))
    return {int(number): (kind.rstrip("*"), kind.endswith("*"), key) for number, kind, key in words}


_FIELDS = {name: _rows(row) for name, row in MESSAGES.items()}
