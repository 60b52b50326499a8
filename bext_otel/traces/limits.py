"""What a span may hold at most, and attributes made fit for it.

Attributes are looked at once, when they are given. Those of plain types, which are nearly all, are kept as
they come; for the rest upstream's own rules decide, in upstream's own code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import SpanLimits

from bext_otel.traces.addresses import without_secrets

__all__ = ["PLAIN", "AttributeLimits", "bounded", "cleaned", "fitting", "has_plain_names", "has_plain_values"]

PLAIN: frozenset[type] = frozenset({str, int, bool, float, bytes, type(None)})
"""Types of attribute values that need no look at what is in them; strings, where no length is set."""

_STRINGS = frozenset({str})
_NO_LIMIT = 1 << 62


class AttributeLimits:
    """`SpanLimits`, as they are asked for: how many attributes a span may have, and how long a string in them
    may be (None: any length)."""

    __slots__ = ("attributes", "length", "of")

    def __init__(self, of: SpanLimits) -> None:
        self.of = of
        self.attributes = of.max_span_attributes if of.max_span_attributes is not None else _NO_LIMIT
        self.length = of.max_span_attribute_length


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
        kept = BoundedAttributes(
            limits.of.max_span_attributes, attributes, immutable=False, max_value_len=limits.length
        )
        return without_secrets(dict(kept)), kept.dropped
    except Exception:  # no mapping, one that changes meanwhile or raises, or one that is nested too deep
        return {}, len(attributes) if isinstance(attributes, Mapping) else 0


def fitting(attributes: dict[str, Any], limits: AttributeLimits) -> tuple[dict[str, Any], int]:
    """As `bounded`, of attributes that are plain, without secrets and nobody else's: themselves, if they
    fit."""
    if limits.length is None and len(attributes) <= limits.attributes:
        return attributes, 0
    return bounded(attributes, limits)


def cleaned(attributes: Mapping[str, Any], limits: AttributeLimits) -> tuple[dict[str, Any], int]:
    """Attributes as they may be set, without regard to how many; and how many cannot be set at all."""
    try:
        kept = BoundedAttributes(None, attributes, immutable=False, max_value_len=limits.length)
        return dict(kept), kept.dropped
    except Exception:  # as above
        return {}, len(attributes) if isinstance(attributes, Mapping) else 0
