"""Protocol buffers read, as far as short answers need it: the protobuf package takes longer to import than an
answer takes to come."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

__all__ = ["double", "fields", "first", "varints"]


def fields(content: Any) -> Iterator[tuple[int, Any]]:
    """Each field's number, and its value: an int, or bytes. Raises ValueError for what is no message."""
    if isinstance(content, int):
        raise ValueError("a number where a message was expected")
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(content, at)
            yield key >> 3, value
            continue
        size, at = (8, at) if kind == 1 else (4, at) if kind == 5 else _varint(content, at)
        if kind not in {1, 2, 5} or at + size > len(content):
            raise ValueError("the answer is no message")
        yield key >> 3, content[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(content) or shift > 63:
            raise ValueError("the answer is no message")
        byte = content[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return number, at


def varints(content: bytes) -> Iterator[int]:
    """Whole numbers that are packed one after the other. Raises ValueError where one breaks off."""
    at = 0
    while at < len(content):
        number, at = _varint(content, at)
        yield number


def first(content: Any, number: int, default: Any) -> Any:
    """The value of the first field of this number; `default` where there is none. Raises as `fields`."""
    return next((value for found, value in fields(content) if found == number), default)


def double(content: Any, number: int) -> float:
    """A field that is a double, 0.0 where it is missing. Raises as `fields`."""
    value = first(content, number, b"\0" * 8)
    if not isinstance(value, bytes) or len(value) != 8:
        raise ValueError("the answer is no message")
    return float(struct.unpack("<d", value)[0])
