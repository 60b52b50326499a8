"""What text may hold where it goes: to UTF-8, into a line that is shown, into a name of Prometheus, across
processes as a W3C traceparent."""

from __future__ import annotations

import re

from opentelemetry.trace import SpanContext, TraceFlags

__all__ = ["UNSEEN", "encodable", "legal_name", "parse_traceparent", "traceparent", "visible"]

_SURROGATES = re.compile("[\ud800-\udfff]")
# What can't be seen and changes how the rest is: DEL and the C1 controls, which move a terminal's cursor,
# what separates lines, and the characters of Unicode's property Bidi_Control, which have text read backwards.
_UNSEEN = r"\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
UNSEEN = re.compile(f"[{_UNSEEN}]")
"""Characters that JSON may hold and a line that is shown must not."""
_CONTROL = re.compile(rf"[\x00-\x1f{_UNSEEN}]")
_NOT_LEGAL = re.compile("[^a-zA-Z0-9]+")
_NOT_LEGAL_IN_METRIC = re.compile("[^a-zA-Z0-9:]+")
# W3C Trace Context, version 00.
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def encodable(text: str) -> str:
    """`text` with each lone surrogate replaced by U+FFFD, so that it can be written as UTF-8. One would cost
    a whole batch its export."""
    return text if text.isascii() else _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def visible(text: str) -> str:
    """One line of text for people, whoever wrote it: control characters, those that separate lines and those
    that set the direction of text are shown by their numbers, as in `\\x1b`."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


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
