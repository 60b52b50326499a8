"""Spans as OTLP writes them (opentelemetry-proto, `trace/v1/trace.proto`), each encoded where it ends, by who
ended it: what waits for export is bytes, which the garbage collector does not walk, and whose size is known.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from opentelemetry.trace import DEFAULT_TRACE_STATE, Link, SpanKind, Status, TraceState

from bext_otel.described import Shared
from bext_otel.export.origins import Encoded, Origins
from bext_otel.export.protobuf import Attributes, field, nanoseconds, number, text, varint
from bext_otel.redaction.policy import redact_attribute
from bext_otel.traces.span import UNSET, Span

__all__ = ["SpanEncoder"]

# trace_id 1 and span_id 2; parent_span_id 4; start_time_unix_nano 7 and end_time_unix_nano 8.
_pack_ids = struct.Struct(">2s16s2sQ").pack
_pack_parent = struct.Struct(">2sQ").pack
_pack_times = struct.Struct("<cQcQ").pack

# kind 6: OTLP's numbers are the API's and one more. By identity, since an enumeration hashes its members in
# Python.
_KINDS: Mapping[int, bytes] = {id(kind): bytes((0x30, kind.value + 1)) for kind in SpanKind}
# flags (16 of a span, 6 of a link): whether the parent is remote is known, and it is (SpanFlags).
_LOCAL, _REMOTE = ((bits).to_bytes(4, "little") for bits in (0x100, 0x300))
_LOCAL_PARENT, _REMOTE_PARENT = b"\x85\x01" + _LOCAL, b"\x85\x01" + _REMOTE
_LOCAL_LINK, _REMOTE_LINK = b"\x35" + _LOCAL, b"\x35" + _REMOTE
# status 15: one that is unset.
_UNSET = b"\x7a\x00"

_MAX_NAMES, _MAX_NAME = 1000, 256
# How a span begins, by its length.
_MAX_HEADS = 1024
_HEADS = tuple(b"\x12" + varint(size) for size in range(_MAX_HEADS))


class SpanEncoder:
    """Encodes spans; what repeats among them is kept as bytes, within bounds."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._attributes = Attributes(b"\x4a", redact_attribute)
        self._of_events = Attributes(b"\x1a", redact_attribute)
        self._of_links = Attributes(b"\x22", redact_attribute)
        self._names: dict[str, bytes] = {}

    def encode(self, span: Span) -> Encoded:
        """A span that has ended."""
        context, parent, tracer = span._context, span._parent, span.tracer
        try:
            times = _pack_times(b"\x39", span._start_time, b"\x41", span._end_time)
        except struct.error:  # an application's own, which is none that OTLP can hold
            times = _pack_times(b"\x39", nanoseconds(span._start_time), b"\x41", nanoseconds(span._end_time))
        parts = [
            _pack_ids(b"\x0a\x10", context[0].to_bytes(16, "big"), b"\x12\x08", context[1]),
            self._names.get(span._name) or self._name(span._name),
            _KINDS.get(id(span._kind), b""),
            times,
        ]
        if parent is None:
            parts.append(_LOCAL_PARENT)
        else:
            parts += _pack_parent(b"\x22\x08", parent[1]), _REMOTE_PARENT if parent[2] else _LOCAL_PARENT
        if (state := context[4]) is not DEFAULT_TRACE_STATE and state:
            parts.append(_state(state))
        if (kept := span.kept) is None:
            for part in span.parts:
                if type(part) is Shared:
                    parts.append(part.written or self._shared(part))
                else:
                    self._attributes.write(part, parts)  # type: ignore[arg-type]  # a dictionary, then
        else:
            self._attributes.write(kept, parts)
        status = span._status
        parts.append(_UNSET if status is UNSET or status.is_unset else _status(status))
        if span._dropped or span._events or span._links:
            self._rarely(span, parts)
        written = b"".join(parts)
        size = len(written)
        head = _HEADS[size] if size < _MAX_HEADS else b"\x12" + varint(size)
        return self._origins.number(tracer.resource, tracer.scope), head + written

    def _shared(self, shared: Shared) -> bytes:
        parts: list[bytes] = []
        self._attributes.write(shared.attributes, parts)
        written = shared.written = b"".join(parts)
        return written

    def _name(self, name: object) -> bytes:
        written = text(b"\x2a", redact_attribute("", name))
        if type(name) is str and len(self._names) < _MAX_NAMES and len(name) <= _MAX_NAME:
            self._names[name] = written
        return written

    def _rarely(self, span: Span, parts: list[bytes]) -> None:
        """What few spans have: events 11, links 13, and what was dropped (10, 12 and 14)."""
        for event in span.events:
            inner = [
                b"\x09" + nanoseconds(event.timestamp).to_bytes(8, "little"),
                text(b"\x12", redact_attribute("", event.name)),
                number(b"\x20", event.dropped_attributes),
            ]
            self._of_events.write(event.attributes or {}, inner)
            parts.append(field(b"\x5a", b"".join(inner)))
        parts += [field(b"\x6a", self._link(link)) for link in span.links]
        parts += (
            number(b"\x50", span.dropped_attributes),
            number(b"\x60", span.dropped_events),
            number(b"\x70", span.dropped_links),
        )

    def _link(self, link: Link) -> bytes:
        context = link.context
        parts = [
            _pack_ids(b"\x0a\x10", context.trace_id.to_bytes(16, "big"), b"\x12\x08", context.span_id),
            number(b"\x28", link.dropped_attributes),
            _REMOTE_LINK if context.is_remote else _LOCAL_LINK,
        ]
        self._of_links.write(link.attributes or {}, parts)
        return b"".join(parts)


def _state(state: TraceState) -> bytes:
    return text(b"\x1a", ",".join([f"{key}={value}" for key, value in state.items()]))


def _status(status: Status) -> bytes:
    """message 2 and code 3."""
    return field(
        b"\x7a",
        text(b"\x12", redact_attribute("", status.description)) + number(b"\x18", status.status_code.value),
    )
