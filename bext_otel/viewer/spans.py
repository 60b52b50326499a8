"""Spans, held by trace."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.values import Allowance, Plain, service_of

__all__ = ["Event", "Link", "Span", "Spans", "Trace"]

# By number, as in trace.proto; numbers are looked up and not indexed, because an enumeration of proto3 may
# hold any.
_KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_STATUSES = {1: "ok", 2: "error"}

# What a span takes besides its texts and attributes: itself, ids, times, lists, its place in its trace; an
# event or a link likewise.
_SPAN_BYTES = 900
_EVENT_BYTES = 300


class Event(msgspec.Struct, frozen=True):
    """Something that happened at one moment of a span; time in Unix nanoseconds."""

    name: str
    time_ns: int
    attributes: dict[str, Plain]


class Link(msgspec.Struct, frozen=True):
    """A span elsewhere that a span belongs with; ids in hex digits."""

    trace_id: str
    span_id: str
    attributes: dict[str, Plain]


class Span(msgspec.Struct, frozen=True):
    """A span as it came: ids in hex digits (`parent_id` empty for a root), times in Unix nanoseconds.

    `size` is what it takes in memory, in bytes; `omitted` how many attributes, events, links and texts there
    was no room for.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    service: str
    scope: str
    start_ns: int
    end_ns: int
    status: str
    status_message: str
    attributes: dict[str, Plain]
    events: list[Event]
    links: list[Link]
    omitted: int
    size: int


class Trace:
    """The spans of one trace by span id, in order of arrival."""

    __slots__ = ("seen", "size", "spans")

    def __init__(self, seen: int) -> None:
        self.spans: dict[str, Span] = {}
        self.seen = seen
        self.size = 0

    def put(self, span: Span) -> int:
        """Keep a span, in place of an earlier one with its id: an exporter that retries sends spans twice.
        Returns 1 if it is a new one."""
        earlier = self.spans.get(span.span_id)
        self.size += span.size - (earlier.size if earlier else 0)
        self.spans[span.span_id] = span
        return 0 if earlier else 1

    def drop_oldest(self) -> Span:
        """Let go of the span that came first."""
        span = self.spans.pop(next(iter(self.spans)))
        self.size -= span.size
        return span


class Spans:
    """A ring of traces. Not locked: its owner is."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._traces: OrderedDict[str, Trace] = OrderedDict()
        self.held = 0
        self.size = 0
        self.received = 0
        self.dropped = 0
        self.services: dict[str, None] = {}

    def add(self, request: ExportTraceServiceRequest) -> int:
        """Take a batch; returns how many of its spans had to be refused, because their ids are none."""
        refused = 0
        for span in _spans(request, self._limits):
            if not span.span_id or not span.trace_id:
                refused += 1
                continue
            self._put(span)
        return refused

    def get(self, trace_id: str) -> Trace | None:
        """The trace of that id (32 hex digits), if it is held."""
        return self._traces.get(trace_id)

    def newest(self) -> Iterator[tuple[str, Trace]]:
        """Traces, the one that appeared last first."""
        return reversed(self._traces.items())

    def __len__(self) -> int:
        return len(self._traces)

    def _put(self, span: Span) -> None:
        self.received += 1
        trace = self._traces.get(span.trace_id)
        if trace is None:
            trace = self._traces[span.trace_id] = Trace(self.received)
        size_before = trace.size
        self.held += trace.put(span)
        if len(trace.spans) > self._limits.spans_per_trace:
            trace.drop_oldest()
            self.held -= 1
            self.dropped += 1
        self.size += trace.size - size_before
        if len(self.services) < self._limits.traces:
            self.services[span.service] = None
        self._make_room(span.trace_id)

    def _make_room(self, newest: str) -> None:
        limits = self._limits
        while len(self._traces) > limits.traces or self.held > limits.spans or self.size > limits.span_bytes:
            trace_id = next(iter(self._traces))
            if trace_id == newest:
                # The trace that is being filled is the first to go, because it began before all others: it
                # loses its oldest spans instead, and when there is one left, the others go.
                trace = self._traces[trace_id]
                if len(trace.spans) > 1:
                    self.size -= trace.drop_oldest().size
                    self.held -= 1
                    self.dropped += 1
                    continue
                trace_id = next((each for each in self._traces if each != newest), "")
                if not trace_id:
                    return
            gone = self._traces.pop(trace_id)
            self.held -= len(gone.spans)
            self.size -= gone.size
            self.dropped += len(gone.spans)


def _spans(request: ExportTraceServiceRequest, limits: Limits) -> Iterator[Span]:
    for resource in request.resource_spans:
        service = service_of(resource.resource, limits)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _span(span, service, scope.scope.name, limits)


def _span(span: trace_pb2.Span, service: str, scope: str, limits: Limits) -> Span:
    room = Allowance(limits, _SPAN_BYTES + sys.getsizeof(service))
    held = Span(
        trace_id=span.trace_id.hex() if len(span.trace_id) == 16 else "",
        span_id=span.span_id.hex() if len(span.span_id) == 8 else "",
        parent_id=span.parent_span_id.hex() if len(span.parent_span_id) == 8 else "",
        name=room.name(span.name),
        kind=_KINDS.get(span.kind, "unspecified"),
        service=service,
        scope=room.name(scope),
        start_ns=span.start_time_unix_nano,
        end_ns=max(span.end_time_unix_nano, span.start_time_unix_nano),
        status=_STATUSES.get(span.status.code, "unset"),
        status_message=room.text(span.status.message),
        attributes=room.attributes(span.attributes),
        events=[_event(event, room) for event in room.few(span.events, limits.events)],
        links=[_link(link, room) for link in room.few(span.links, limits.links)],
        omitted=0,
        size=0,
    )
    return msgspec.structs.replace(held, omitted=room.omitted, size=room.spent)


def _event(event: trace_pb2.Span.Event, room: Allowance) -> Event:
    room.spent += _EVENT_BYTES
    return Event(room.name(event.name), event.time_unix_nano, room.attributes(event.attributes))


def _link(link: trace_pb2.Span.Link, room: Allowance) -> Link:
    room.spent += _EVENT_BYTES
    trace_id = link.trace_id.hex() if len(link.trace_id) == 16 else ""
    span_id = link.span_id.hex() if len(link.span_id) == 8 else ""
    return Link(trace_id, span_id, room.attributes(link.attributes))
