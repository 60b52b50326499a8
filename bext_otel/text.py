"""What text may hold where it goes: to UTF-8, into a name of Prometheus, across processes as a W3C
traceparent."""

from __future__ import annotations

import re

from opentelemetry.trace import SpanContext, TraceFlags

__all__ = ["encodable", "legal_name", "parse_traceparent", "traceparent"]

_SURROGATES = re.compile("[\ud800-\udfff]")
_NOT_LEGAL = re.compile("[^a-zA-Z0-9]+")
_NOT_LEGAL_IN_METRIC = re.compile("[^a-zA-Z0-9:]+")
# W3C Trace Context, version 00.
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def encodable(text: str) -> str:
    """`text` with each lone surrogate replaced by U+FFFD, so that it can be written as UTF-8. One would cost
    a whole batch its export."""
    return text if text.isascii() else _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def legal_name(name: str, *, colons: bool = False) -> str:
    """A name as Prometheus allows it, by OpenTelemetry's translation: other characters, and runs of `_`,
    become one `_`.

    `colons`: it is a metric's, which may have them.
    """
    legal = (_NOT_LEGAL_IN_METRIC if colons else _NOT_LEGAL).sub("_", name) or "_"
    return f"_{legal}" if legal[0].isdigit() else legal


def traceparent(span: SpanContext) -> str:
    """A valid span's context as text, in the format of the W3C header of that name."""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags & 0xFF:02x}"


def parse_traceparent(text: str) -> SpanContext | None:
    """The span that such text names, as a remote one; None for any other text."""
    match = _TRACEPARENT.fullmatch(text)
    if match is None:
        return None
    span = SpanContext(
        int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=TraceFlags(int(match[3], 16))
    )
    return span if span.is_valid else None
