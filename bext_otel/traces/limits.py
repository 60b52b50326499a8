"""What a span may hold at most, and attributes made fit for it.

Attributes are looked at once, when they are given. Those of plain types, which are nearly all, are kept as
they come; for the rest upstream's own rules decide, in upstream's own code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import SpanLimits

from bext_otel.redaction import redact_value
from bext_otel.traces.addresses import without_secrets

__all__ = [
    "PLAIN",
    "AttributeLimits",
    "bounded",
    "cleaned",
    "fitted",
    "fitting",
    "has_plain_names",
    "has_plain_values",
]

PLAIN: frozenset[type] = frozenset({str, int, bool, float, bytes, type(None)})
"""Types of attribute values that need no look at what is in them; strings, where no length is set."""

_STRINGS = frozenset({str})
_LISTS = frozenset({list, tuple})
_NO_LIMIT = 1 << 62
# More than any of our instrumentors describes a span with, and concludes it.
_ROOM = 64


class AttributeLimits:
    """`SpanLimits`, as they are asked for: how many attributes a span may have, and how long a string in them
    may be (None: any length)."""

    __slots__ = ("attributes", "has_room", "length", "of")

    def __init__(self, of: SpanLimits) -> None:
        self.of = of
        self.attributes = of.max_span_attributes if of.max_span_attributes is not None else _NO_LIMIT
        self.length = of.max_span_attribute_length
        self.has_room = self.length is None and self.attributes >= _ROOM


def has_plain_names(attributes: Mapping[Any, Any]) -> bool:
    """Whether all names are strings, and none is empty."""
    return _STRINGS.issuperset(map(type, attributes)) and "" not in attributes


def has_plain_values(attributes: Mapping[Any, Any]) -> bool:
    """Whether all values are `PLAIN`."""
    return PLAIN.issuperset(map(type, attributes.values()))


def bounded(attributes: Any, limits: AttributeLimits) -> tuple[dict[str, Any], int]:
    """The attributes that a span begins with, and how many of those given it has no place for. What is no
    mapping at all counts as none."""
    try:
        if (
            limits.length is None
            and len(attributes) <= limits.attributes
            and has_plain_values(attributes)
            and has_plain_names(attributes)
        ):
            return without_secrets(dict(attributes)), 0
        kept = fitted(attributes, limits.of.max_span_attributes, limits.length)
        return without_secrets(dict(kept)), kept.dropped
    except Exception:  # no mapping, one that changes meanwhile or raises, or one that is nested too deep
        return {}, len(attributes) if isinstance(attributes, Mapping) else 0


def fitting(attributes: dict[str, Any], limits: AttributeLimits) -> tuple[dict[str, Any], int]:
    """As `bounded`, of attributes that are plain, without secrets and nobody else's: themselves, if they
    fit."""
    if limits.length is None and len(attributes) <= limits.attributes:
        return attributes, 0
    return bounded(attributes, limits)


def fitted(attributes: Any, most: int | None, length: int | None) -> BoundedAttributes:
    """At most so many attributes (None: all of them), the last ones, with strings of at most that length;
    `dropped` says how many there are more. None where they cannot be read: no mapping, or one that raises.

    Upstream says of each that goes, and of each string that is cut, that it is.
    """
    try:
        return _fitted(_cut_all(attributes, length), most, length)
    except Exception:  # the application's own types
        return BoundedAttributes(most, None, max_value_len=length)


def _fitted(attributes: Any, most: int | None, length: int | None) -> BoundedAttributes:
    if most is None or attributes is None or len(attributes) <= most:
        return BoundedAttributes(most, attributes, max_value_len=length)
    every = BoundedAttributes(None, attributes, max_value_len=length)
    names = list(every)
    kept = BoundedAttributes(most, {name: every[name] for name in names[len(names) - most :]})
    kept.dropped = len(attributes) - len(kept)
    return kept


def _cut_all(attributes: Any, length: int | None) -> Any:
    if length is None or not isinstance(attributes, Mapping):
        return attributes
    # A secret is not known by its half.
    return {name: _cut(redact_value(name, value), length) for name, value in attributes.items()}


def _cut(value: Any, length: int) -> Any:
    if isinstance(value, str):
        return value[:length]
    if type(value) in _LISTS:
        return [_cut(each, length) for each in value]
    return value


def cleaned(attributes: Mapping[str, Any], limits: AttributeLimits) -> tuple[dict[str, Any], int]:
    """Attributes as they may be set, without regard to how many; and how many cannot be set at all."""
    try:
        kept = fitted(attributes, None, limits.length)
        return dict(kept), kept.dropped
    except Exception:  # as above
        return {}, len(attributes) if isinstance(attributes, Mapping) else 0
