"""Protocol Buffers on the wire (https://protobuf.dev/programming-guides/encoding/): the handful of shapes that metrics need."""

from __future__ import annotations

import struct
from collections.abc import Iterable

__all__ = ["double", "message", "packed_doubles", "packed_zigzag", "signed", "tag", "unsigned", "varint", "zigzag"]

_DOUBLE = struct.Struct("<d").pack
_MASK = (1 << 64) - 1

_VARINT, _FIXED_64, _LENGTH = 0, 1, 2


def varint(value: int) -> bytes:
    """An unsigned integer of at most 64 bits; others lose what is above."""
    if 0 <= value < 0x80:
        return _ONE_BYTE[value]
    value &= _MASK
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


_ONE_BYTE = [bytes([value]) for value in range(0x80)]


def zigzag(value: int) -> bytes:
    """A signed integer (`sint32`, `sint64`)."""
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def tag(field: int, kind: int) -> bytes:
    """What stands before a field's value."""
    return varint(field << 3 | kind)


def message(field: int, content: bytes) -> bytes:
    """A field that holds a message, a string or packed numbers."""
    return tag(field, _LENGTH) + varint(len(content)) + content


def unsigned(field: int, value: int) -> bytes:
    """A field of type `uint32`, `uint64`, `int64` (not negative here) or an enumeration."""
    return tag(field, _VARINT) + varint(value)


def signed(field: int, value: int) -> bytes:
    """A field of type `sint32` or `sint64`."""
    return tag(field, _VARINT) + zigzag(value)


def double(field: int, value: float) -> bytes:
    """A field of type `double`."""
    return tag(field, _FIXED_64) + _DOUBLE(_float(value))


def packed_doubles(values: Iterable[float]) -> list[bytes]:
    """The eight bytes of each number."""
    try:
        return list(map(_DOUBLE, values))
    except (OverflowError, struct.error):  # an integer that no float can hold
        return [_DOUBLE(_float(value)) for value in values]


def packed_zigzag(field: int, values: Iterable[int]) -> bytes:
    """A field of packed `sint32` or `sint64`."""
    return message(field, b"".join(map(zigzag, values)))


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
