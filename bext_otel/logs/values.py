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

__all__ = ["Plain", "plain", "plain_fields", "plain_text", "shown", "text"]

Plain: TypeAlias = "str | bool | int | float | list[Plain] | dict[str, Plain] | None"

MAX_DEPTH = 6
MAX_ITEMS = 200
MAX_REPR = 1000

# protobuf's int64; a larger int would make the exporter lose the whole batch.
_AS_THEY_ARE: frozenset[type] = frozenset({bool, float, type(None)})
_LEAST, _MOST = -(2**63), 2**63 - 1


def text(value: str) -> str:
    """See `encodable`."""
    return value if value.isascii() else encodable(value)


def plain_text(value: str) -> str:
    """As `plain` has text; quick for text that needs nothing."""
    return value if value.isascii() and "://" not in value and "?" not in value else redact_urls(text(value))


def plain_fields(
    fields: Mapping[Any, Any], convert: Callable[[object], Plain] | None = None
) -> dict[str, Any]:
    """Fields with values as `plain` has them, in a dict of their own. Names that are empty become `""`, since
    OpenTelemetry has no such names and warns about each. `convert` stands for `plain` where that may run code
    of the application's."""
    made: dict[str, Any] = {}
    for given, value in fields.items():
        name = given
        if type(name) is not str or not name or not name.isascii():
            name = text(name if type(name) is str else str(name)) or '""'
        kind = type(value)
        # Written out, since this is done for every field of every record.
        if kind is str:
            if "://" in value or "?" in value or not value.isascii():
                made[name] = redact_urls(text(value))
            else:
                made[name] = value
        elif kind in _AS_THEY_ARE or (kind is int and _LEAST <= value <= _MOST):
            made[name] = value
        else:
            made[name] = plain(value) if convert is None or kind is int else convert(value)
    return made


def plain(value: object, depth: int = MAX_DEPTH) -> Plain:
    """`value` as text, number, truth value, None, or a list or mapping of those; URLs in text without their
    secrets.

    Bytes are decoded with replacement; an int outside 64 bits is text; dates are ISO 8601; UUIDs, decimals
    and paths are text; anything else is its `repr`, at most `MAX_REPR` characters. Collections keep their
    first `MAX_ITEMS` items, `MAX_DEPTH` levels deep.
    """
    kind = type(value)
    if kind is str:
        return plain_text(value)  # type: ignore[arg-type]  # `kind` says so
    if value is None or kind is bool or kind is float:
        return value  # type: ignore[return-value]  # `kind` says so
    if kind is int:
        return value if _LEAST <= value <= _MOST else shown(value)  # type: ignore[operator,return-value]  # `kind` says so
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
