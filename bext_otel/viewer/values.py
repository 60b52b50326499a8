"""OTLP attribute values as plain values that any JSON reader takes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeAlias

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

__all__ = ["Plain", "attributes", "plain", "shortened"]

Plain: TypeAlias = "str | bool | int | float | list[Plain] | dict[str, Plain] | None"

# Integers beyond this lose digits in a browser, whose numbers are doubles (ECMA-262,
# Number.MAX_SAFE_INTEGER).
_SAFE_INTEGER = 2**53 - 1


def shortened(text: str, limit: int) -> str:
    """`text`, or its first `limit` characters and how many more there were."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"


def plain(value: AnyValue, limit: int) -> Plain:  # noqa: PLR0911 - one return for each kind of value reads best
    """The value as JSON has it; texts are cut at `limit` characters.

    Integers that a browser would round, and numbers that JSON lacks (NaN, infinities), become text, bytes
    become hex digits. Recursion is bounded: both parsers of protobuf refuse messages nested deeper than 100.
    """
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return shortened(value.string_value, limit)
    if kind == "bool_value":
        return value.bool_value
    if kind == "int_value":
        return value.int_value if abs(value.int_value) <= _SAFE_INTEGER else str(value.int_value)
    if kind == "double_value":
        return value.double_value if math.isfinite(value.double_value) else str(value.double_value)
    if kind == "bytes_value":
        return shortened(value.bytes_value[: limit // 2 + 1].hex(), limit)
    if kind == "array_value":
        return [plain(item, limit) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: plain(item.value, limit) for item in value.kvlist_value.values}
    return None


def attributes(pairs: Iterable[KeyValue], limit: int) -> dict[str, Plain]:
    """Attributes as a mapping, in the order they came; of a repeated key the last value stays."""
    return {shortened(pair.key, limit): plain(pair.value, limit) for pair in pairs}
