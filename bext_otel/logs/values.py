"""Anything a caller logs, turned into what OpenTelemetry, protobuf and JSON can all carry. Never raises,
always bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import date, time
from decimal import Decimal
from enum import Enum
from itertools import islice
from pathlib import PurePath
from typing import Any, TypeAlias
from uuid import UUID

from bext_otel.redaction import redact_urls
from bext_otel.text import encodable

__all__ = ["Plain", "plain", "text"]

Plain: TypeAlias = "str | bool | int | float | list[Plain] | dict[str, Plain] | None"

MAX_DEPTH = 6
MAX_ITEMS = 200
MAX_REPR = 1000

# protobuf's int64; a larger int would make the exporter lose the whole batch.
_INT64 = range(-(2**63), 2**63)


def text(value: str) -> str:
    """See `encodable`."""
    return value if value.isascii() else encodable(value)


def plain(value: object, depth: int = MAX_DEPTH) -> Plain:
    """`value` as text, number, truth value, None, or a list or mapping of those; URLs in text without their
    secrets.

    Bytes are decoded with replacement; an int outside 64 bits is text; dates are ISO 8601; UUIDs, decimals
    and paths are text; anything else is its `repr`, at most `MAX_REPR` characters. Collections keep their
    first `MAX_ITEMS` items, `MAX_DEPTH` levels deep.
    """
    kind = type(value)
    if kind is str:
        return redact_urls(text(value))  # type: ignore[arg-type]  # `kind` says so
    if value is None or kind is bool or kind is float:
        return value  # type: ignore[return-value]  # `kind` says so
    if kind is int:
        return value if value in _INT64 else shown(value)  # type: ignore[return-value]  # `kind` says so
    try:
        return _converted(value, depth)
    except Exception:  # the object's own methods raise: the event matters more than this field
        return _unprintable(value)


def _converted(value: object, depth: int) -> Plain:
    if depth > 0 or isinstance(value, str | bytes):
        for kinds, convert in _CONVERSIONS:
            if isinstance(value, kinds):
                return convert(value, depth - 1)
    return shown(value)


def _mapping(value: Mapping[object, object], depth: int) -> dict[str, Plain]:
    plain_mapping: dict[str, Plain] = {}
    for key in islice(value, MAX_ITEMS):
        name = text(key) if type(key) is str else str(plain(key, 0))
        # OpenTelemetry has no empty attribute names, and warns about each.
        plain_mapping[name or '""'] = plain(value[key], depth)
    return plain_mapping


def _items(value: Iterable[object], depth: int) -> list[Plain]:
    return [plain(item, depth) for item in islice(value, MAX_ITEMS)]


def shown(value: object) -> str:
    """The `repr` of `value`, at most `MAX_REPR` characters; a stand-in with its type's name where that
    raises."""
    try:
        whole = redact_urls(text(repr(value)))
    except Exception:  # a broken __repr__ is the application's business, the event is ours
        return _unprintable(value)
    return whole if len(whole) <= MAX_REPR else whole[:MAX_REPR] + "…"


def _unprintable(value: object) -> str:
    return f"<unprintable {type(value).__name__}>"


# The first that fits decides: an enum of strings is an enum, a string is a sequence.
_CONVERSIONS: tuple[tuple[type | tuple[type, ...], Callable[[Any, int], Plain]], ...] = (
    (Enum, lambda value, depth: plain(value.value, depth)),
    (str, lambda value, _: redact_urls(text(str.__str__(value)))),
    (int, lambda value, depth: plain(int(value), depth)),
    (float, lambda value, _: float(value)),
    ((bytes, bytearray, memoryview), lambda value, _: redact_urls(bytes(value).decode(errors="replace"))),
    ((date, time), lambda value, _: str(value.isoformat())),
    ((UUID, Decimal, PurePath), lambda value, _: text(str(value))),
    (Mapping, _mapping),
    ((Sequence, Set), _items),
)
