"""Protobuf's wire format, read field by field without making a message (protobuf.dev, "Encoding")."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

__all__ = ["LENGTH", "Field", "Span", "WireError", "fields", "has_more_elements"]

Span: TypeAlias = tuple[int, int]
"""Where something begins and ends in a body."""

Field: TypeAlias = tuple[int, int, int, int]
"""A field's number and wire type, and where its value begins and ends."""

_VARINT, _FIXED64, LENGTH, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES = 10
_ONE_ELEMENT = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES})
_BYTES_OF_FIXED = {
    FieldDescriptor.TYPE_DOUBLE: 8,
    FieldDescriptor.TYPE_FIXED64: 8,
    FieldDescriptor.TYPE_SFIXED64: 8,
    FieldDescriptor.TYPE_FLOAT: 4,
    FieldDescriptor.TYPE_FIXED32: 4,
    FieldDescriptor.TYPE_SFIXED32: 4,
}


class WireError(ValueError):
    """These bytes are no message."""


def fields(data: bytes | bytearray, start: int, end: int) -> Iterator[Field]:
    """The fields of the message that stands from `start` to `end`; raises `WireError` where it is none.

    Groups, which protobuf gave up before OTLP was made, count as no message.
    """
    at = start
    while at < end:
        tag, at = _varint(data, at, end)
        kind = tag & 7
        if kind == LENGTH:
            length, at = _varint(data, at, end)
            stop = at + length
        elif kind == _VARINT:
            _, stop = _varint(data, at, end)
        elif kind in _WIDTHS:
            stop = at + _WIDTHS[kind]
        else:
            raise WireError(f"wire type {kind}")
        if stop > end or tag < 8:
            raise WireError("a field that ends after its message, or has no number")
        yield tag >> 3, kind, at, stop
        at = stop


def _varint(data: bytes | bytearray, at: int, end: int) -> tuple[int, int]:
    """The number at `at`, and where the next thing begins."""
    if at < end and data[at] < 0x80:
        return data[at], at + 1
    number = 0
    for index in range(min(_VARINT_BYTES, end - at)):
        byte = data[at + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, at + index + 1
    raise WireError("a number without an end")


def has_more_elements(
    data: bytes | bytearray, start: int, end: int, descriptor: Descriptor, most: int
) -> bool:
    """Whether a message has more than `most` elements: messages, texts and numbers at every depth, each of a
    packed list among them.

    Stops at the limit: what a body could make of a parser's memory is known before it is parsed.
    """
    count = 0
    waiting: list[tuple[int, int, Any]] = [(start, end, descriptor)]
    while waiting:
        start, end, inside = waiting.pop()
        known = _known(inside)
        for number, kind, begin, stop in fields(data, start, end):
            count += 1
            field = known.get(number)
            if kind == LENGTH and field is not None:
                message, bytes_each = field
                if message is not None:
                    waiting.append((begin, stop, message))
                elif bytes_each:
                    count += (stop - begin) // bytes_each
            if count > most:
                return True
    return False


@lru_cache(maxsize=128)
def _known(descriptor: Descriptor) -> dict[int, tuple[Descriptor | None, int]]:
    """By field number: the message that stands there, or how many bytes an element of a packed list has (0:
    it is a text)."""
    return {
        number: (
            field.message_type,
            0 if field.type in _ONE_ELEMENT else _BYTES_OF_FIXED.get(field.type, 1),
        )
        for number, field in descriptor.fields_by_number.items()
    }
