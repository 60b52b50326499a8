"""Tracers: how a span begins, and how one is made current."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.trace import (
    DEFAULT_TRACE_STATE,
    INVALID_SPAN,
    INVALID_SPAN_CONTEXT,
    Link,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
)
from opentelemetry.util.types import Attributes

from bext_otel._compat import SdkTracer, span_context
from bext_otel.described import Described, merged
from bext_otel.timing import Anchor, child_anchor
from bext_otel.traces.limits import AttributeLimits, bounded, fitting
from bext_otel.traces.ratio import ConsistentRatio
from bext_otel.traces.sampling import ask
from bext_otel.traces.span import UNSET, Span, UnrecordedSpan

if TYPE_CHECKING:
    from bext_otel.traces.provider import Core

__all__ = ["Tracer"]

F = TypeVar("F", bound=Callable[..., Any])
Describe: TypeAlias = Callable[[], Described]

# By the bits of a trace's flags: sampled, and a random trace id.
_FLAGS = tuple(TraceFlags(bits) for bits in range(4))
_SAMPLED, _RANDOM = 1, 2

_new = object.__new__
_EMPTY = Context()


class Tracer(SdkTracer):
    """See `opentelemetry.trace.Tracer`. Tracers of a provider share its `core`. `describes`: `start_span`
    takes `describe`."""

    core: Core
    describes = True

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        *,
        describe: Describe | None = None,
    ) -> trace.Span:
        """See `opentelemetry.trace.Tracer`.

        `describe` answers with the attributes, instead of `attributes`, and is called only if somebody looks
        at them: with values of plain types, and without secrets in addresses.
        """
        # A context that holds nothing is what most requests begin in.
        around = INVALID_SPAN if context == _EMPTY else _around(context)
        parent = None if around is INVALID_SPAN else _context_of(around)
        if not self.enabled:
            return trace.NonRecordingSpan(parent or INVALID_SPAN_CONTEXT)
        core = self.core
        if parent is None or not parent[5]:  # is_valid
            parent = None
            trace_id, span_id = core.new_ids()
            state, flags = DEFAULT_TRACE_STATE, core.random_flag
        else:
            trace_id, span_id, state = parent[0], core.new_span_id(), parent[4]
            flags = parent[3] & _RANDOM
        if (rule := core.rule(self.sampler)) is not None:
            if rule.ratio is not None and (parent is None or not rule.by_parent):
                sampled, state = _share(rule.ratio, parent, trace_id, flags & _RANDOM)
            else:
                sampled = rule.samples(parent, trace_id)
            decision = Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP
            flags |= sampled  # whose bit is the first
        else:
            attributes, describe = attributes if describe is None else merged(describe()), None
            decision, flags, state, attributes = _ask(
                self.sampler, context, parent, trace_id, flags, name, kind, attributes, links or ()
            )
        counted = core.counts.start_span(parent, decision)
        made = span_context(trace_id, span_id, _FLAGS[flags], state)
        if decision is Decision.DROP:
            return _unrecorded(made, kind, attributes, around)
        span = _new(Span)
        anchor = span.anchor = Anchor() if around is INVALID_SPAN else child_anchor(around)
        now = anchor.wall_ns if around is INVALID_SPAN else anchor.now()
        span._start_time = now if start_time is None else start_time
        span._name, span._kind, span._context, span._parent = name, kind, made, parent
        if describe is None:
            span.kept, span._dropped = bounded(attributes, core.limits) if attributes else ({}, 0)
        else:
            _describe(span, describe(), core.limits)
        span._events = span._links = ()
        span._status, span._end_time, span._open = UNSET, None, True
        span._record_exception, span._set_status_on_exception = record_exception, set_status_on_exception
        span.tracer, span.counted = self, counted
        span.within_server = kind is SpanKind.SERVER or getattr(around, "within_server", False)
        if links or core.has_processors:
            core.began(span, context, links)
        return span

    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Any:
        """See `opentelemetry.trace.Tracer`: a context manager, and a decorator of functions, coroutine
        functions included."""
        begins = (
            name,
            context,
            kind,
            attributes,
            links,
            start_time,
            record_exception,
            set_status_on_exception,
        )
        return _Current(self, begins, ends=end_on_exit)


def _around(context: Context | None) -> trace.Span:
    try:
        return trace.get_current_span(context)
    except AttributeError:  # it is no context
        return INVALID_SPAN


def _context_of(around: trace.Span) -> SpanContext | None:
    found: object = around.get_span_context()
    if found is None or isinstance(found, SpanContext):
        return found
    raise TypeError(f"the parent's context is a {type(found).__name__}, and no SpanContext")


def _unrecorded(
    context: SpanContext, kind: SpanKind, attributes: Attributes, around: trace.Span
) -> UnrecordedSpan:
    span = UnrecordedSpan(context)
    if kind is SpanKind.CLIENT:
        span.called = attributes
    if kind is SpanKind.SERVER or getattr(around, "within_server", False):
        span.within_server = True
    return span


def _describe(span: Span, described: Described, limits: AttributeLimits) -> None:
    if limits.has_room and isinstance(described, tuple):
        span.kept, span.parts, span._dropped = None, described, 0
    else:
        span.kept, span._dropped = fitting(merged(described), limits)


def _share(
    ratio: ConsistentRatio, parent: SpanContext | None, trace_id: int, is_random: int
) -> tuple[bool, TraceState]:
    if parent is not None:
        return ratio.goes_on(parent.trace_state, trace_id)
    return ratio.begins(trace_id) if is_random else ratio.begins_unrandom()


def _ask(
    sampler: Sampler,
    context: Context | None,
    parent: SpanContext | None,
    trace_id: int,
    flags: int,
    *span: Any,
) -> tuple[Decision, int, TraceState, Attributes]:
    """What a user's sampler makes of the decision, the flags, the tracestate and the attributes; `span` are
    the name, kind, attributes and links."""
    asked = ask(sampler, context, parent, trace_id, *span)
    state = DEFAULT_TRACE_STATE if asked.trace_state is None else asked.trace_state
    sampled = _SAMPLED if asked.decision is Decision.RECORD_AND_SAMPLE else 0
    return asked.decision, flags | sampled, state, asked.attributes


class _Current:
    """A span from the beginning of a block to its end, current in between."""

    __slots__ = ("_begins", "_ends", "_span", "_token", "_tracer")

    _span: trace.Span
    _token: Any

    def __init__(self, tracer: Tracer, begins: tuple[Any, ...], *, ends: bool) -> None:
        self._tracer, self._begins, self._ends = tracer, begins, ends

    def __enter__(self) -> trace.Span:
        span = self._span = self._tracer.start_span(*self._begins)
        self._token = contexts.attach(trace.set_span_in_context(span))
        return span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        contexts.detach(self._token)
        span = self._span
        try:
            # What is no Exception, such as GeneratorExit, is no failure.
            if isinstance(error, Exception) and isinstance(span, Span) and span.is_recording():
                span.failed(error, record=self._begins[-2], status=self._begins[-1])
        finally:
            if self._ends:
                span.end()

    def _again(self) -> _Current:
        return _Current(self._tracer, self._begins, ends=self._ends)

    def __call__(self, func: F) -> F:
        if inspect.iscoroutinefunction(func):

            @functools.wraps(func)
            async def call_later(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await func(*args, **kwargs)

            return call_later  # type: ignore[return-value]  # a coroutine function, as `func`

        @functools.wraps(func)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return func(*args, **kwargs)

        return call  # type: ignore[return-value]  # a function, as `func`
