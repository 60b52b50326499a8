"""Making what was sent fit an answer: an answer is made of copies, so it is bounded too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.spans import Span
from bext_otel.viewer.values import Plain, shortened

__all__ = ["as_number_or_text", "as_text", "bare", "within"]

_T = TypeVar("_T")

# Of a text in a list, in characters.
_TEXT = 300


def within(items: Iterable[_T], size: Callable[[_T], int], limits: Limits) -> Iterator[_T]:
    """As many of the items as an answer may have; `size` is what one takes, in bytes."""
    left = limits.answer_bytes
    for item in items:
        if left <= 0:
            return
        left -= size(item)
        yield item


def bare(span: Span) -> Span:
    """A span without what may be large in it."""
    omitted = span.omitted + len(span.attributes) + len(span.events) + len(span.links)
    return msgspec.structs.replace(
        span, attributes={}, events=[], links=[], status_message="", omitted=omitted
    )


def as_text(value: Plain) -> str:
    """Whatever a sender put where a text is expected, as one; nothing for nothing."""
    if value is None:
        return ""
    return shortened(value if isinstance(value, str) else msgspec.json.encode(value).decode(), _TEXT)


def as_number_or_text(value: Plain) -> str | int | float | None:
    """The same where a number is expected; None for nothing."""
    return value if value is None or type(value) in {int, float} else as_text(value)  # type: ignore[return-value]
