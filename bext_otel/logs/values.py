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

from bext_otel.redaction.policy import (
    ALLOWED,
    CLEAN,
    HIDDEN,
    LEAST_NUMBER,
    PLAIN,
    STATES,
    is_pair,
    redact_body,
    redact_number,
    safe_name,
    safe_text,
    state_of,
)
from bext_otel.text import encodable

__all__ = ["Plain", "plain", "plain_fields", "plain_text", "shown", "text"]

Plain: TypeAlias = "str | bool | int | float | list[Plain] | dict[str, Plain] | None"

MAX_DEPTH = 6
MAX_ITEMS = 200
MAX_REPR = 1000

# protobuf's int64; a larger int would make the exporter lose the whole batch.
_AS_THEY_ARE: frozenset[type] = frozenset({bool, float, type(None)})
_LEAST, _MOST = -(2**63), 2**63 - 1

_UNKNOWN = -1
_HIDES_NOTHING = frozenset({"", HIDDEN})
_SHORT_NAME = 12  # no secret has a shape in less
_MARGIN = 8192  # beyond what is shown of a `repr`: a secret that is cut is not known by its half


def text(value: str) -> str:
    """See `encodable`."""
    return value if value.isascii() else encodable(value)


def plain_text(value: str) -> str:
    """As `plain` has text; quick for text that is known."""
    return value if value in CLEAN else safe_text(value)


def plain_fields(
    fields: Mapping[Any, Any], convert: Callable[[object], Plain] | None = None
) -> dict[str, Any]:
    """Fields with values as `plain` has them, in a dict of their own, without those that have the names of
    secrets. Names that are empty become `""`, since OpenTelemetry has no such names and warns about each.
    `convert` stands for `plain` where that may run code of the application's."""
    made: dict[str, Any] = {}
    known, clean = STATES, CLEAN
    for given, value in fields.items():
        name, kind = given, type(value)
        # Written out, since this is done for every field of every record.
        if type(name) is not str or known.get(name, _UNKNOWN):
            name, state = _name(name)
            if state:
                made[name] = _unlike(value, state)
                continue
        if kind is str:
            made[name] = value if value in clean else safe_text(value)
        elif kind in _AS_THEY_ARE:
            made[name] = value
        elif kind is int:
            made[name] = value if -LEAST_NUMBER < value < LEAST_NUMBER else plain(value)
        else:
            made[name] = plain(value) if convert is None else convert(value)
    return made


def _name(given: object) -> tuple[str, int]:
    """A field's name as it can be written, and what is known of it."""
    name = text(given if type(given) is str else str(given)) or '""'
    state = STATES.get(name)
    if state is None:
        state = state_of(name)
    if state == PLAIN and len(name) > _SHORT_NAME:
        name = safe_name(name)
    return name, state


def _unlike(value: object, state: int) -> Plain:
    """A value that is hidden, or left as it is, by its name."""
    if state == ALLOWED:
        if type(value) is int and _LEAST <= value <= _MOST:
            return value
        return text(value) if type(value) is str else plain(value)
    if value is None or value is True or value is False:
        return value
    return value if type(value) is str and value in _HIDES_NOTHING else HIDDEN


def plain(value: object, depth: int = MAX_DEPTH) -> Plain:
    """`value` as text, number, truth value, None, or a list or mapping of those; without the secrets that
    are in it by their names or their looks (`redaction`).

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
        whole = redact_number(value)  # type: ignore[arg-type]  # `kind` says so
        return whole if type(whole) is str or _LEAST <= whole <= _MOST else shown(value)  # type: ignore[operator]
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
        # OpenTelemetry has no empty attribute names, and warns about each.
        name, state = _name(key if type(key) is str else str(plain(key, 0)))
        inner = value[key]
        plain_mapping[name] = _unlike(inner, state) if state else plain(inner, depth)
    return plain_mapping


def _items(value: Iterable[object], depth: int) -> list[Plain]:
    if isinstance(value, list | tuple) and is_pair(value):
        return [plain(value[0], depth), HIDDEN]
    return [plain(item, depth) for item in islice(value, MAX_ITEMS)]


def shown(value: object) -> str:
    """The `repr` of `value`, at most `MAX_REPR` characters; a stand-in with its type's name where that
    raises."""
    try:
        whole = redact_body(text(repr(value)[: MAX_REPR + _MARGIN]))
    except Exception:  # a broken __repr__ is the application's business, the event is ours
        return _unprintable(value)
    return whole if len(whole) <= MAX_REPR else whole[:MAX_REPR] + "…"


def _unprintable(value: object) -> str:
    return f"<unprintable {type(value).__name__}>"


# The first that fits decides: an enum of strings is an enum, a string is a sequence.
_CONVERSIONS: tuple[tuple[type | tuple[type, ...], Callable[[Any, int], Plain]], ...] = (
    (Enum, lambda value, depth: plain(value.value, depth)),
    (str, lambda value, _: redact_body(text(str.__str__(value)))),
    (int, lambda value, depth: plain(int(value), depth)),
    (float, lambda value, _: float(value)),
    ((bytes, bytearray, memoryview), lambda value, _: redact_body(bytes(value).decode(errors="replace"))),
    ((date, time), lambda value, _: str(value.isoformat())),
    ((UUID, Decimal, PurePath), lambda value, _: redact_body(text(str(value)))),
    (Mapping, _mapping),
    ((Sequence, Set), _items),
)
