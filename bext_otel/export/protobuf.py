"""OTLP's protocol buffers, written directly (opentelemetry-proto, `common/v1/common.proto`): the protobuf
package makes an object of each value first, which costs ten times as much.

What repeats is kept as bytes: keys, and the values of those that have few.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bext_otel.text import encodable

__all__ = ["MAX_NANOSECONDS", "Attributes", "any_value", "field", "nanoseconds", "number", "text", "varint"]

_pack_double = struct.Struct("<d").pack

# Of an AnyValue: string 1, bool 2, int 3, double 4, array 5, kvlist 6, bytes 7.
_TRUE, _FALSE = b"\x10\x01", b"\x10\x00"

_MAX_KEYS, _MAX_VALUES, _MAX_KEY, _MAX_TEXT = 1000, 128, 64, 256
# Of the values of all keys, as written.
_MAX_KEPT_BYTES = 1 << 20
# What is shorter has lengths of one byte, with all that is around it.
_SHORT = 128 - 4
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1

_SMALL = tuple(bytes((value,)) for value in range(128))


def varint(value: int) -> bytes:
    """A whole number from 0 to 2^64 - 1."""
    if value < 128:
        return _SMALL[value]
    if value < 16384:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 2097152:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*written, value))


def field(tag: bytes, content: bytes) -> bytes:
    """A field that has a length: text, bytes, a message. `tag` is its number and wire type, as written."""
    return tag + varint(len(content)) + content


def number(tag: bytes, value: int) -> bytes:
    """A field that is a whole number; nothing for 0, which a reader takes what is missing for."""
    return tag + varint(value) if value else b""


def text(tag: bytes, value: object) -> bytes:
    """A field that is text; what UTF-8 cannot hold is replaced. Nothing for what is empty."""
    return field(tag, encodable(str(value)).encode()) if value else b""


MAX_NANOSECONDS = (1 << 64) - 1
"""The latest time that OTLP can tell."""


def nanoseconds(given: object) -> int:
    """A time as an application may give it, as OTLP can hold it; 0 for what is none."""
    try:
        nanos: int = int(given)  # type: ignore[call-overload]  # anything, hence the try
    except (TypeError, ValueError, OverflowError):
        return 0
    return min(max(nanos, 0), MAX_NANOSECONDS)


def any_value(value: Any) -> bytes:
    """The content of an AnyValue.

    Raises ValueError for a number of more than 64 bits and what is no value, RecursionError for what is
    nested too deep.
    """
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    raise ValueError(f"a {type(value).__name__} is no attribute value")


def _integer(value: int) -> bytes:
    if not _LOWEST <= value <= _HIGHEST:
        raise ValueError(f"{value} has more than 64 bits")
    return b"\x18" + varint(value & 0xFFFFFFFFFFFFFFFF)


def _mapping(value: Mapping[Any, Any]) -> bytes:
    pairs = [_key(key) + field(b"\x12", any_value(one)) for key, one in value.items()]
    return field(b"\x32", b"".join([field(b"\x0a", pair) for pair in pairs]))


# A bool is an int, and text and bytes are sequences: who comes first writes it.
_WRITERS: Sequence[tuple[type, Callable[[Any], bytes]]] = (
    (type(None), lambda _: b""),
    (bool, lambda value: _TRUE if value else _FALSE),
    (str, lambda value: field(b"\x0a", encodable(value).encode())),
    (int, _integer),
    (float, lambda value: b"\x21" + _pack_double(value)),
    (bytes, lambda value: field(b"\x3a", value)),
    (Sequence, lambda value: field(b"\x2a", b"".join([field(b"\x0a", any_value(one)) for one in value]))),
    (Mapping, _mapping),
)


def _key(key: object) -> bytes:
    return field(b"\x0a", encodable(str(key)).encode())


class _Key:
    """A key that was seen: how a field begins that has it, and how many of its values are kept."""

    __slots__ = ("kept", "prefix")

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.kept = 0


# Types of values that are kept. What is equal among these is the same: 1, 1.0 and True are one key of a dict.
_KEPT: frozenset[type] = frozenset({str, int})


class Attributes:
    """Writes attributes as repeated KeyValue of one field; `tag` is its number and wire type.

    `redact` is asked what may be written of a value, by its name; of one that is kept as bytes once only.
    What an attribute cannot be written for is left out, and counted in `left_out`.
    """

    def __init__(self, tag: bytes, redact: Callable[[str, Any], Any] | None = None) -> None:
        self._tag = tag
        self._redact = redact
        self._keys: dict[str, _Key] = {}
        # By key and value, as whole fields.
        self._written: dict[tuple[str, Any], bytes] = {}
        self._kept_bytes = 0
        self.left_out = 0

    def write(self, attributes: Mapping[str, Any], to: list[bytes]) -> None:
        """Append the fields. Attributes are those of a span, event, link, record, resource or scope."""
        if _KEPT.issuperset(map(type, attributes.values())):
            found = list(map(self._written.get, attributes.items()))
            if None not in found:
                to += found  # type: ignore[arg-type]  # none of them is None
                return
        else:
            get = self._written.get
            found = [
                get((name, value)) if type(value) in _KEPT else None for name, value in attributes.items()
            ]
        redact = self._redact
        for written, (name, value) in zip(found, attributes.items(), strict=False):
            if written is None:
                try:
                    safe = value if redact is None else redact(name, value)
                    written = self._write(name, type(safe), safe)  # noqa: PLW2901  # what was not found
                except Exception:  # as `any_value` says; the other attributes tell the rest
                    self.left_out += 1
                    continue
            to.append(written)

    def _new(self, name: object) -> _Key:
        key = _Key(_key(name))
        if type(name) is str and len(self._keys) < _MAX_KEYS and len(name) <= _MAX_KEY:
            self._keys[name] = key
        else:
            key.kept = _MAX_VALUES
        return key

    def _write(self, name: Any, kind: type, value: Any) -> bytes:
        key = self._keys.get(name) or self._new(name)
        prefix = key.prefix
        if kind is str:
            content = encodable(value).encode()
            size = len(content)
            if size < _SHORT and size + len(prefix) < _SHORT:
                written = b"".join(
                    (
                        self._tag,
                        _SMALL[len(prefix) + size + 4],
                        prefix,
                        b"\x12",
                        _SMALL[size + 2],
                        b"\x0a",
                        _SMALL[size],
                        content,
                    )
                )
            else:
                written = field(self._tag, prefix + field(b"\x12", field(b"\x0a", content)))
            if size <= _MAX_TEXT:
                self._keep(key, name, value, written)
            return written
        written = field(
            self._tag, prefix + field(b"\x12", _integer(value) if kind is int else any_value(value))
        )
        if kind is int:
            self._keep(key, name, value, written)
        return written

    def _keep(self, key: _Key, name: Any, value: Any, written: bytes) -> None:
        if key.kept < _MAX_VALUES and self._kept_bytes < _MAX_KEPT_BYTES:
            key.kept += 1
            self._written[name, value] = written
            self._kept_bytes += len(written)
