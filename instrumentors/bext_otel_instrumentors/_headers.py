"""Trace context and baggage of an incoming request, read strictly.

The global propagator decides what is understood; before it sees them, headers that W3C Trace Context (level 1, section 3) or W3C Baggage
(section 3.3) forbid are taken out, so that a malformed `traceparent` starts a new trace, and no client can make upstream's parsers echo
its headers into log lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter, TextMapPropagator

from bext_otel._compat import parts_of_propagator
from bext_otel_instrumentors._opening import server_span

__all__ = ["clean_baggage", "clean_traceparent", "clean_tracestate", "extract", "is_w3c_only"]

Headers: TypeAlias = "Mapping[str, list[str]]"

_W3C_FIELDS = frozenset({"traceparent", "tracestate", "baggage"})

# version-format of section 3.2; a later version may append fields, each after a dash. 512 is far above any that is drafted.
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]*)?")
_TRACEPARENT_LENGTH = 55
_MAX_TRACEPARENT = 512

# Sections 3.3.1.3.1 and 3.3.1.3.2: key, or tenant@system; value of printable ASCII without comma and equals sign, not ending in a space.
_MEMBER = re.compile(
    r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MAX_TRACESTATE = 512
_MAX_TRACESTATE_MEMBERS = 32

# W3C Baggage 3.3.1: token = value; the limits are those that upstream's propagator has, past which it logs.
_ENTRY = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*=[ \t]*[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
_MAX_BAGGAGE = 8192
_MAX_ENTRY = 4096
_MAX_ENTRIES = 180


class _ListGetter(Getter[Headers]):
    """Reads lower-case header names with all their values."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        return carrier.get(key.lower())

    def keys(self, carrier: Headers) -> list[str]:
        return list(carrier)


_GETTER = _ListGetter()


def clean_traceparent(values: Sequence[str]) -> str | None:
    """The only and well-formed traceparent; None starts a new trace."""
    if len(values) != 1 or not _TRACEPARENT_LENGTH <= len(values[0]) <= _MAX_TRACEPARENT:
        return None
    value = values[0].strip(" \t")
    match = _TRACEPARENT.fullmatch(value)
    if match is None or (match[1] == "00" and len(value) != _TRACEPARENT_LENGTH):
        return None
    return value


def clean_tracestate(values: Sequence[str]) -> str | None:
    """All members of all headers, in order; None where any is malformed or a key repeats, which discards the whole state."""
    members = [stripped for value in values for member in value.split(",") if (stripped := member.strip(" \t"))]
    joined = ",".join(members)
    if not members or len(members) > _MAX_TRACESTATE_MEMBERS or len(joined) > _MAX_TRACESTATE:
        return None
    if len({member.partition("=")[0] for member in members}) != len(members):
        return None
    return joined if all(map(_MEMBER.fullmatch, members)) else None


def clean_baggage(values: Sequence[str]) -> str | None:
    """Well-formed members of all headers; malformed ones and those past the limits are left out, properties are dropped.

    A plus sign stands for itself in baggage, so it is written as `%2B` for upstream's parser, which reads it as a space.
    """
    entries: list[str] = []
    size = 0
    for value in values:
        if size + len(value) > _MAX_BAGGAGE:
            break
        for member in value.split(","):
            entry = member.partition(";")[0].strip(" \t")
            if len(entry) <= _MAX_ENTRY and len(entries) < _MAX_ENTRIES and _ENTRY.fullmatch(entry):
                entries.append(entry.replace("+", "%2B"))
        size += len(value) + 1
    joined = ",".join(entries)
    return joined if joined and len(joined) <= _MAX_BAGGAGE else None


_known: tuple[TextMapPropagator, bool] | None = None


def is_w3c_only() -> bool:
    """Whether the global propagator reads nothing but trace context and baggage, so that without those headers it need not be asked."""
    global _known
    propagator = propagate.get_global_textmap()
    if _known is None or _known[0] is not propagator:
        # One that only reads has no fields, and then nobody knows what it reads; so it is to be asked, also as a part of another.
        each = [part.fields for part in parts_of_propagator(propagator)]
        _known = (propagator, all(fields and fields <= _W3C_FIELDS for fields in each))
    return _known[1]


_CLEANERS: Mapping[str, Callable[[Sequence[str]], str | None]] = {
    "traceparent": clean_traceparent,
    "tracestate": clean_tracestate,
    "baggage": clean_baggage,
}


def extract(headers: dict[str, list[str]], context: Context) -> Context:
    """What the global propagator reads from `headers` (lower-case name to all its values), on top of `context`.

    `headers` is the caller's to lose: malformed W3C headers are removed from it.
    """
    for name, clean in _CLEANERS.items():
        values = headers.get(name)
        if values is not None:
            cleaned = clean(values)
            if cleaned is None:
                del headers[name]
            else:
                headers[name] = [cleaned]
    if not headers:
        return context
    found = propagate.extract(headers, context=context, getter=_GETTER)
    # Whoever began a server span around ours has read the parent, or has none: below that span, headers name no other.
    around = server_span(context) if context else None
    return found if around is None else trace.set_span_in_context(around, found)
