"""Trace context and baggage of an incoming request, read strictly.

The global propagator decides what is understood; before it sees them, headers that W3C Trace Context (level
2, section 3) or W3C Baggage (section 3.3) forbid are taken out, so that a malformed `traceparent` starts a
new trace, and no client can make upstream's parsers echo its headers into log lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import unquote

from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bext_otel._compat import SPAN_KEY, parts_of_propagator, trace_state
from bext_otel.apps import BAGGAGE_KEY
from bext_otel_instrumentors.http.opening import server_span

__all__ = [
    "clean_baggage",
    "clean_traceparent",
    "clean_tracestate",
    "extract",
    "extract_parent",
    "is_w3c_only",
    "reads_parent_alone",
]

Headers: TypeAlias = "Mapping[str, list[str]]"

_W3C_FIELDS = frozenset({"traceparent", "tracestate", "baggage"})

# version-format of section 3.2; a later version may append fields, each after a dash. 512 is far above any
# that is drafted.
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]*)?"
)
_TRACEPARENT_LENGTH = 55
_MAX_TRACEPARENT = 512

# Level 2, sections 3.3.1.3.1 and 3.3.1.3.2: a key of up to 256 characters that begins with a letter or a
# digit; a value of printable ASCII without comma and equals sign, not ending in a space. Level 1, which
# upstream reads by, had at most one `@` in a key, and rules around it.
_MEMBER = re.compile(
    r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_KEY_OF_LEVEL_1 = re.compile(
    r"[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}"
)
_MAX_TRACESTATE = 512
_MAX_TRACESTATE_MEMBERS = 32
_MAX_MEMBER = 128

# W3C Baggage 3.3.1: token = value. A platform has to bear 64 members and 8,192 bytes (3.3.2); the limit of
# one is that of upstream's propagator, past which it logs.
_ENTRY = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*=[ \t]*[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
_MAX_BAGGAGE = 8192
_MAX_ENTRY = 4096
_MAX_ENTRIES = 64


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
    """The well-formed members of all headers, in order, the first one of each key; None where there is none,
    or there are more than 32.

    "Invalid tracestate entries MAY also be discarded" (section 4.3), and of one key only one is allowed
    (3.3.1.1): the leftmost is the newest. Of more than 512 characters, members of more than 128 go first, and
    then the last ones (3.3.1.5).
    """
    members: dict[str, str] = {}
    for value in values:
        for part in value.split(","):
            member = part.strip(" \t")
            if _MEMBER.fullmatch(member):
                members.setdefault(member.partition("=")[0], member)
    if len(members) > _MAX_TRACESTATE_MEMBERS:
        return None
    kept = list(members.values())
    if len(",".join(kept)) > _MAX_TRACESTATE:
        kept = [member for member in kept if len(member) <= _MAX_MEMBER]
    while len(",".join(kept)) > _MAX_TRACESTATE:
        kept.pop()
    return ",".join(kept) or None


def clean_baggage(values: Sequence[str]) -> str | None:
    """Well-formed members of all headers; malformed ones and those past the limits are left out, properties
    are dropped.

    A plus sign stands for itself in baggage, so it is written as `%2B` for upstream's parser, which reads it
    as a space.
    """
    entries: list[str] = []
    size = 0
    for value in values:
        if size + len(value) > _MAX_BAGGAGE:
            break
        for member in value.split(","):
            entry = member.partition(";")[0].strip(" \t")
            fits = len(entry) <= _MAX_ENTRY and len(entries) < _MAX_ENTRIES and _ENTRY.fullmatch(entry)
            if (
                fits and unquote(entry.partition("=")[0]).strip() != BAGGAGE_KEY
            ):  # another's word for the app ends here
                entries.append(entry.replace("+", "%2B"))
        size += len(value) + 1
    joined = ",".join(entries)
    return joined if joined and len(joined) <= _MAX_BAGGAGE else None


_OWN = (TraceContextTextMapPropagator, W3CBaggagePropagator)
_known: tuple[TextMapPropagator, bool, bool] | None = None


def is_w3c_only() -> bool:
    """Whether the global propagator reads nothing but trace context and baggage, so that without those
    headers it need not be asked."""
    known = _known
    if known is None or known[0] is not propagate.get_global_textmap():
        known = _propagator()
    return known[1]


def reads_parent_alone() -> bool:
    """Whether the global propagator is upstream's for trace context, perhaps with that for baggage: what it
    makes of a `traceparent` alone is known."""
    return _propagator()[2]


def _propagator() -> tuple[TextMapPropagator, bool, bool]:
    global _known
    propagator, known = propagate.get_global_textmap(), _known
    if known is None or known[0] is not propagator:
        # One that only reads has no fields, and then nobody knows what it reads; so it is to be asked, also
        # as a part of another.
        parts = parts_of_propagator(propagator)
        w3c_only = all(part.fields and part.fields <= _W3C_FIELDS for part in parts)
        kinds = [type(part) for part in parts]
        own = _OWN[0] in kinds and all(kind in _OWN for kind in kinds)
        known = _known = (propagator, w3c_only, own)
    return known


_CLEANERS: Mapping[str, Callable[[Sequence[str]], str | None]] = {
    "traceparent": clean_traceparent,
    "tracestate": clean_tracestate,
    "baggage": clean_baggage,
}


def extract(headers: dict[str, list[str]], context: Context) -> Context:
    """What the global propagator reads from `headers` (lower-case name to all its values), on top of
    `context`.

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
    state, said = headers.get("tracestate"), headers.get("baggage")
    later = _of_level_2(headers, state[0]) if state else None
    found = propagate.extract(headers, context=context, getter=_GETTER)
    if later is not None:
        found = _with_state(found, later)
    if said and "%" in said[0]:
        found = _with_blanks(found, said[0])
    return _below_server_span(found, context)


def extract_parent(value: str, context: Context) -> Context:
    """As `extract`, of a `traceparent` and no other header of W3C's, where `reads_parent_alone`."""
    cleaned = clean_traceparent((value,))
    if cleaned is None:
        return context
    parent = SpanContext(
        int(cleaned[3:35], 16), int(cleaned[36:52], 16), True, TraceFlags(int(cleaned[53:55], 16))
    )
    return _below_server_span(Context({**context, SPAN_KEY: NonRecordingSpan(parent)}), context)


def _below_server_span(found: Context, context: Context) -> Context:
    """Whoever began a server span around ours has read the parent, or has none: below that span, headers name
    no other."""
    around = server_span(context) if context else None
    return found if around is None else trace.set_span_in_context(around, found)


def _of_level_2(headers: dict[str, list[str]], state: str) -> TraceState | None:
    """The whole state, where upstream would drop it for a key of level 2; `headers` then keep what upstream
    reads."""
    members = [member.partition("=")[::2] for member in state.split(",")]
    early = [f"{key}={value}" for key, value in members if _KEY_OF_LEVEL_1.fullmatch(key)]
    if len(early) == len(members):
        return None
    if early:
        headers["tracestate"] = [",".join(early)]
    else:
        del headers["tracestate"]
    return trace_state(members)


def _with_state(context: Context, state: TraceState) -> Context:
    parent = trace.get_current_span(context).get_span_context()
    if not parent.is_remote:  # another propagator's header was the one to count
        return context
    whole = SpanContext(parent.trace_id, parent.span_id, parent.is_remote, parent.trace_flags, state)
    return trace.set_span_in_context(NonRecordingSpan(whole), context)


def _with_blanks(context: Context, said: str) -> Context:
    """Values of baggage as they were sent: upstream strips a decoded one, whose blanks belong to it."""
    for entry in said.split(","):
        name, _, value = entry.partition("=")
        whole = unquote(value.strip(" \t"))
        key = unquote(name.strip(" \t"))
        if whole != whole.strip() and baggage.get_baggage(key, context) == whole.strip():
            context = baggage.set_baggage(key, whole, context)
    return context
