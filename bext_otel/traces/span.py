"""A span: one slotted object behind the OpenTelemetry API.

It is an SDK span for whoever asks (`isinstance`, `attributes`, `to_json()`), since programs look at the
current span; its slots have the names by which the SDK's `ReadableSpan` reads what it shows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util.types import Attributes, AttributeValue

from bext_otel.described import Shared, merged
from bext_otel.entries import describe_exception, message_of
from bext_otel.redaction.policy import redact_attribute
from bext_otel.timing import Anchor
from bext_otel.traces.addresses import ADDRESSES
from bext_otel.traces.hiding import hide, safe_events, safe_links, safe_status
from bext_otel.traces.limits import PLAIN, cleaned, fitted, has_plain_names, has_plain_values

if TYPE_CHECKING:
    from bext_otel.traces.tracer import Tracer

__all__ = ["FinishedSpan", "Span", "UnrecordedSpan"]

_log = logging.getLogger("bext_otel.traces")

UNSET = Status(StatusCode.UNSET)

# Spans whose parts are just being put together, and the attributes that whoever came first makes of them.
_gathering: dict[Span, dict[str, Any]] = {}


class UnrecordedSpan(NonRecordingSpan):
    """A span that is not recorded; `called` are the attributes that a CLIENT span began with, since whom it
    calls decides what is propagated. `within_server` as a `Span` has it."""

    called: Attributes = None
    within_server = False


class FinishedSpan(ReadableSpan):
    """A span that has ended, for processors and exporters of the SDK's interfaces."""

    def __init__(self, dropped: int, **of: Any) -> None:
        super().__init__(**of)
        self._dropped = dropped

    @property
    def dropped_attributes(self) -> int:
        """How many attributes there was no place for."""
        return self._dropped


class Span(SdkSpan):
    """See `opentelemetry.trace.Span`. Made by a tracer, which fills the slots.

    No lock: each change is one step of the interpreter's, and the end is taken by who first takes `_open`
    away. Times that are not given come from `anchor`, which nobody sets back. `within_server`: it, or one
    around it in this process, is of kind SERVER. `ending_in` is the thread in which processors may still
    change it, while they hear that it is about to be over. Its attributes are `kept`; where that is None,
    they are `parts` as long as nobody asks for them.
    """

    __slots__ = (
        "_context",
        "_dropped",
        "_end_time",
        "_events",
        "_kind",
        "_links",
        "_name",
        "_open",
        "_parent",
        "_record_exception",
        "_set_status_on_exception",
        "_start_time",
        "_status",
        "anchor",
        "counted",
        "ending_in",
        "kept",
        "parts",
        "tracer",
        "within_server",
    )

    _context: SpanContext
    _dropped: int
    _end_time: int | None
    _events: BoundedList[Event] | tuple[()]
    _kind: SpanKind
    _links: BoundedList[Link] | tuple[()]
    _name: str
    _open: bool
    _parent: SpanContext | None
    _record_exception: bool
    _set_status_on_exception: bool
    _start_time: int
    _status: Status
    anchor: Anchor
    counted: Callable[[], object]
    ending_in: int
    kept: dict[str, Any] | None
    parts: tuple[dict[str, Any] | Shared, ...]
    tracer: Tracer
    within_server: bool

    # --- What the SDK's class reads -------------------------------------------------------------------------

    @property
    def _attributes(self) -> dict[str, Any]:
        kept = self.kept
        return self._gathered() if kept is None else kept

    @_attributes.setter
    def _attributes(self, attributes: dict[str, Any]) -> None:
        # By processors that put others in the place of upstream's field.
        self.kept = attributes

    def _gathered(self) -> dict[str, Any]:
        """Its parts as one dictionary from now on, the same for all threads that ask at once."""
        parts = self.parts
        try:
            made = _gathering.setdefault(self, merged(parts))
            if self.kept is None:
                self.kept = made
        finally:
            _gathering.pop(self, None)
        kept = self.kept
        if self.parts is not parts:  # it was concluded meanwhile; see there
            kept.update(merged(self.parts[len(parts) :]))
        return kept

    @property
    def _resource(self) -> Resource:  # type: ignore[override]  # upstream's is a field
        return self.tracer.resource

    @property
    def _instrumentation_scope(self) -> InstrumentationScope:  # type: ignore[override]  # upstream's is a field
        return self.tracer.scope

    @property
    def _instrumentation_info(self) -> Any:  # type: ignore[override]  # upstream's is a field
        return self.tracer.instrumentation_info

    @property
    def dropped_attributes(self) -> int:
        """How many attributes there was no place for."""
        return self._dropped

    def get_span_context(self) -> SpanContext:
        """See `opentelemetry.trace.Span`."""
        return self._context

    def is_recording(self) -> bool:
        """Whether it has not ended, or may be changed here for the last time."""
        return self._end_time is None or self._is_ending()

    def _readable_span(self) -> FinishedSpan:
        return self.finished()

    def finished(self) -> FinishedSpan:
        """What processors and exporters of the SDK's interfaces get: without secrets."""
        return FinishedSpan(
            self._dropped,
            name=redact_attribute("", self._name),
            context=self._context,
            parent=self._parent,
            resource=self.tracer.resource,
            attributes=hide(self._attributes),
            events=safe_events(self._events),
            links=safe_links(self._links),
            kind=self._kind,
            instrumentation_info=self.tracer.instrumentation_info,
            status=safe_status(self._status),
            start_time=self._start_time,
            end_time=self._end_time,
            instrumentation_scope=self.tracer.scope,
        )

    def __copy__(self) -> Span:
        return self

    def __deepcopy__(self, _memo: object) -> Span:
        # Whoever copies what it is kept in, a request's state for one, still means this work.
        return self

    # --- What the application says --------------------------------------------------------------------------

    def _is_ending(self) -> bool:
        return getattr(self, "ending_in", None) == get_ident()

    def _is_over(self, call: str) -> bool:
        if self._end_time is None or self._is_ending():
            return False
        _log.warning("%s of a span that has ended changes nothing: %s", call, str(self._name)[:100])
        return True

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """See `opentelemetry.trace.Span`."""
        if self._end_time is not None and self._is_over("set_attribute"):
            return
        if type(value) in PLAIN and type(key) is str and key and self.tracer.core.limits.length is None:
            self._keep(key, value)
        elif isinstance(key, str) and key:
            self._keep_all(*cleaned({key: value}, self.tracer.core.limits))
        else:
            self._dropped += 1

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """See `opentelemetry.trace.Span`."""
        if self._end_time is not None and self._is_over("set_attributes"):
            return
        limits = self.tracer.core.limits
        if (
            type(attributes) is dict
            and limits.length is None
            and has_plain_values(attributes)
            and has_plain_names(attributes)
        ):
            kept = self._attributes
            if (
                len(kept) + len(attributes) <= limits.attributes
                and kept.keys().isdisjoint(attributes)
                and ADDRESSES.keys().isdisjoint(attributes)
            ):
                kept.update(attributes)
            else:
                self._keep_all(attributes, 0)
        else:
            self._keep_all(*cleaned(attributes, limits))

    def _keep(self, key: str, value: Any) -> None:
        kept = self._attributes
        if key in ADDRESSES and isinstance(value, str):
            value = ADDRESSES[key](value)
        # One that is set again is the newest, and where there are too many the oldest goes: as upstream's.
        if key in kept:
            kept.pop(key, None)
        elif len(kept) >= (most := self.tracer.core.limits.attributes):
            self._dropped += 1
            if not most:
                return
            kept.pop(next(iter(list(kept))), None)
        kept[key] = value

    def _keep_all(self, attributes: Mapping[str, Any], dropped: int) -> None:
        self._dropped += dropped
        for key, value in attributes.items():
            self._keep(key, value)

    def conclude(self, name: str, concluded: Shared) -> None:
        """Its final name ("": as it is), and its last attributes: for whoever knows both at once. Nothing
        where it has ended."""
        if self._end_time is not None:
            return
        if name:
            self._name = name
        kept = self.kept
        if kept is None:
            self.parts = (*self.parts, concluded)
            if self.kept is None:
                return
            # Somebody has asked for them just now, and may not have seen this part.
            kept = self._attributes
        attributes, limits = concluded.attributes, self.tracer.core.limits
        if (
            limits.length is None
            and len(kept) + len(attributes) <= limits.attributes
            and kept.keys().isdisjoint(attributes)
        ):
            kept.update(attributes)
        else:
            self.set_attributes(attributes)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """See `opentelemetry.trace.Span`."""
        if self._is_over("add_event"):
            return
        limits = self.tracer.core.limits.of
        kept = fitted(attributes, limits.max_event_attributes, limits.max_attribute_length)
        at = self.anchor.now() if timestamp is None else timestamp
        if not isinstance(self._events, BoundedList):
            self._events = BoundedList(limits.max_events)
        self._events.append(Event(name, kept, at))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """See `opentelemetry.trace.Span`."""
        if not self._is_over("add_link"):
            self.keep_link(context, attributes)

    def keep_link(self, context: SpanContext, attributes: Attributes) -> None:
        """A link, if it leads anywhere or says something."""
        given: object = context
        if not isinstance(given, SpanContext):
            _log.warning("a link to what is no span's context leads nowhere: %s", type(given).__name__)
            return
        if not (context.is_valid or attributes or context.trace_state):
            return
        limits = self.tracer.core.limits.of
        kept = fitted(attributes, limits.max_link_attributes, limits.max_attribute_length)
        if not isinstance(self._links, BoundedList):
            self._links = BoundedList(limits.max_links)
        self._links.append(Link(context, kept))

    def update_name(self, name: str) -> None:
        """See `opentelemetry.trace.Span`."""
        if not self._is_over("update_name"):
            self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """See `opentelemetry.trace.Span`. OK is final, and nothing becomes unset."""
        if self._is_over("set_status") or self._status.status_code is StatusCode.OK:
            return
        given: object = status
        if isinstance(given, StatusCode):
            given = Status(given, description)
        elif description is not None:
            _log.warning("a status has its own description; %r is ignored", str(description)[:100])
        if isinstance(given, Status) and not given.is_unset:
            self._status = given

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """See `opentelemetry.trace.Span`: an event by the conventions for exceptions, which know no
        `escaped` any more."""
        given: object = exception
        if not isinstance(given, BaseException):
            _log.warning("record_exception of what is no exception records nothing: %s", type(given).__name__)
            return
        facts: dict[str, Any] = {**describe_exception(exception)}
        with suppress(Exception):  # no mapping: what the exception is remains
            facts.update(attributes or {})
        self.add_event("exception", facts, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """See `opentelemetry.trace.Span`. Whoever comes first ends it."""
        try:
            del self._open
        except AttributeError:
            _log.warning("a span that has ended is ended again: %s", str(self._name)[:100])
            return
        self._end_time = self.anchor.now() if end_time is None else end_time
        self.counted()
        self.tracer.core.ended(self)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """See `opentelemetry.trace.Span`."""
        if exc_val is not None and self.is_recording():
            self.failed(exc_val, record=self._record_exception, status=self._set_status_on_exception)
        self.end()

    def failed(self, error: BaseException, *, record: bool, status: bool) -> None:
        """What ended the work that it is about."""
        if record:
            self.record_exception(error)
        if status:
            self.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {message_of(error)}"))
