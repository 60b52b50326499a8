"""OTLP attribute values as plain values that any JSON reader takes, within what one item may have."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeAlias, TypeVar

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bext_otel.viewer.limits import Limits

__all__ = ["Allowance", "Plain", "instance_of", "service_of", "shortened"]

Plain: TypeAlias = "str | bool | int | float | list[Plain] | dict[str, Plain] | None"

_T = TypeVar("_T")

# Integers beyond this lose digits in a browser, whose numbers are doubles (ECMA-262,
# Number.MAX_SAFE_INTEGER).
_SAFE_INTEGER = 2**53 - 1
_NUMBER_BYTES = 32
_SLOT_BYTES = 8


def shortened(text: str, limit: int) -> str:
    """`text`, or its first `limit` characters and how many more there were."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"


class Allowance:
    """What one span, log record or point may take in memory. What it makes is counted as it is made, in
    `spent` (bytes); what there is no room for is left out and counted in `omitted`.

    Texts are cut at `limits.text` characters, names at `limits.name`; of attributes and of nested values the
    first `limits.attributes` are kept.
    """

    __slots__ = ("_limits", "omitted", "spent")

    def __init__(self, limits: Limits, spent: int = 0) -> None:
        self._limits = limits
        self.spent = spent
        self.omitted = 0

    def text(self, text: str) -> str:
        """A text as it is kept."""
        return self._kept(text, self._limits.text)

    def name(self, text: str) -> str:
        """A name as it is kept."""
        return self._kept(text, self._limits.name)

    def few(self, items: Sequence[_T], most: int) -> Iterable[_T]:
        """The first `most` of something."""
        self.omitted += max(0, len(items) - most)
        return islice(items, most)

    def attributes(self, pairs: Sequence[KeyValue]) -> dict[str, Plain]:
        """Attributes as a mapping, in the order they came; of a repeated key the last value stays."""
        made: dict[str, Plain] = {}
        for pair in self.few(pairs, self._limits.attributes):
            if self._is_spent():
                self.omitted += 1
            else:
                made[self.name(pair.key)] = self.plain(pair.value)
        self.spent += sys.getsizeof(made)
        return made

    def plain(self, value: AnyValue) -> Plain:  # noqa: PLR0911 - one return for each kind of value reads best
        """The value as JSON has it.

        Integers that a browser would round, and numbers that JSON lacks (NaN, infinities), become text, bytes
        become hex digits. Recursion is bounded: both parsers of protobuf refuse messages nested deeper than
        100.
        """
        kind = value.WhichOneof("value")
        if kind == "string_value":
            return self.text(value.string_value)
        if kind == "bool_value":
            return value.bool_value
        if kind == "int_value":
            self.spent += _NUMBER_BYTES
            return value.int_value if abs(value.int_value) <= _SAFE_INTEGER else str(value.int_value)
        if kind == "double_value":
            self.spent += _NUMBER_BYTES
            return value.double_value if math.isfinite(value.double_value) else str(value.double_value)
        if kind == "bytes_value":
            return self.text(value.bytes_value[: self._limits.text // 2 + 1].hex())
        if kind == "array_value":
            return self._list(value.array_value.values)
        if kind == "kvlist_value":
            return self.attributes(value.kvlist_value.values)
        return None

    def _list(self, values: Sequence[AnyValue]) -> list[Plain]:
        made: list[Plain] = []
        for item in self.few(values, self._limits.attributes):
            if self._is_spent():
                self.omitted += 1
            else:
                made.append(self.plain(item))
        self.spent += sys.getsizeof(made)
        return made

    def _kept(self, text: str, limit: int) -> str:
        if self._is_spent():
            self.omitted += 1
            return ""
        kept = shortened(text, limit)
        self.spent += sys.getsizeof(kept) + _SLOT_BYTES
        return kept

    def _is_spent(self) -> bool:
        return self.spent >= self._limits.item_bytes


def service_of(resource: Resource, limits: Limits) -> str:
    """The name of the service that a resource is."""
    return _attribute(resource, "service.name", limits)


def instance_of(resource: Resource, limits: Limits) -> str:
    """The id of the service's instance that a resource is."""
    return _attribute(resource, "service.instance.id", limits)


def _attribute(resource: Resource, name: str, limits: Limits) -> str:
    found = ""
    for pair in islice(resource.attributes, limits.attributes):
        if pair.key == name:
            found = str(Allowance(limits).plain(pair.value))
    return shortened(found, limits.name)
