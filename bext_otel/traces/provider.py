"""The tracer provider: what all of its tracers share, and what becomes of a span that begins or ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from threading import get_ident
from time import monotonic
from typing import Protocol, TypeAlias

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind
from opentelemetry.util.types import Attributes

from bext_otel._compat import become, keep_scope, on_ending, span_processors
from bext_otel.bounded import within
from bext_otel.once import Once
from bext_otel.traces.completing import complete
from bext_otel.traces.ids import SystemIdGenerator
from bext_otel.traces.limits import AttributeLimits
from bext_otel.traces.sampling import SamplingRule, rule_of
from bext_otel.traces.span import Span
from bext_otel.traces.tracer import Tracer

__all__ = ["BextTracerProvider", "Core", "Outlet", "Sink", "SpanCounter"]

_log = logging.getLogger("bext_otel.traces")

_END_SECONDS = 30.0
_QUIET_SECONDS = 60.0
_MAX_RULES = 64
_MAX_TRACE_ID, _MAX_SPAN_ID = (1 << 128) - 1, (1 << 64) - 1

Sink: TypeAlias = Callable[[Span], object]
"""Takes each sampled span that has ended, in the thread that ended it. Never raises, and never waits."""


class SpanCounter(Protocol):
    """Is told of each span that starts, and whether it is recorded; what it answers with is called when a
    recorded one ends."""

    def start_span(self, parent: SpanContext | None, decision: Decision, /) -> Callable[[], object]: ...


class Outlet(Protocol):
    """Where spans wait to be sent; each call says whether all of them arrived within `seconds`."""

    def flush(self, seconds: float, /) -> bool: ...
    def end(self, seconds: float, /) -> bool: ...


class _NoCounts:
    def start_span(self, _parent: SpanContext | None, _decision: Decision, /) -> Callable[[], object]:
        return int


class Core:
    """What the tracers of a provider share, and what is a user's own among it is called so that the
    application never hears of its faults: `failures` counts them."""

    def __init__(self, ids: IdGenerator, limits: SpanLimits, counts: SpanCounter) -> None:
        self._rules: dict[int, tuple[Sampler, SamplingRule | None]] = {}
        self.limits = AttributeLimits(limits)
        self.counts = counts
        self.sinks: tuple[Sink, ...] = ()
        # All span processors of the provider, which programs may change under our hands.
        self.processors: Callable[[], tuple[SpanProcessor, ...]] = tuple
        self.has_processors = False
        self.failures = 0
        self._quiet_until = -inf
        self._once = Once(8)
        self._ids = ids
        own = ids if type(ids) is SystemIdGenerator else None
        # What stands in where a user's makes none.
        self._own = own or SystemIdGenerator()
        self.new_ids: Callable[[], tuple[int, int]] = own.generate_ids if own else self._both
        self.new_span_id: Callable[[], int] = own.generate_span_id if own else self._span_id
        # Older generators do not say.
        is_random = getattr(ids, "is_trace_id_random", None)
        self.random_flag = 2 if own or (is_random is not None and is_random()) else 0

    def rule(self, sampler: Sampler) -> SamplingRule | None:
        """See `rule_of`. A program may give its provider or a tracer another sampler at any time."""
        found = self._rules.get(id(sampler))
        if found is None:
            if len(self._rules) >= _MAX_RULES:
                self._rules.clear()
            found = self._rules[id(sampler)] = (sampler, rule_of(sampler))
        return found[1]

    def _both(self) -> tuple[int, int]:
        return self._trace_id(), self._span_id()

    def _trace_id(self) -> int:
        return self._id(self._ids.generate_trace_id, _MAX_TRACE_ID) or self._own.generate_trace_id()

    def _span_id(self) -> int:
        return self._id(self._ids.generate_span_id, _MAX_SPAN_ID) or self._own.generate_span_id()

    def _id(self, generate: Callable[[], int], most: int) -> int:
        """What a user's generator makes; 0 where that is no id."""
        try:
            made = generate()
            if isinstance(made, int) and 0 < made <= most:
                return made
            self._failed(self._ids, f"it makes {made!r}"[:100])
        except Exception as error:  # a span needs an id
            self._failed(self._ids, error)
        return 0

    def began(self, span: Span, context: Context | None, links: Sequence[Link] | None) -> None:
        """A recorded span begins, with the links of these that lead anywhere; the user's processors hear of
        it."""
        try:
            for link in links or ():
                if link:
                    span.keep_link(link.context, link.attributes)
        except Exception as error:  # no links, but something else
            self._failed(span, error)
        for part in self.processors():
            try:
                part.on_start(span, parent_context=context)
            except Exception as error:
                self._failed(part, error)

    def ended(self, span: Span) -> None:
        """A recorded span has ended: processors first, which may change it for the last time, and then look
        at it as it will be exported."""
        if span._kind is SpanKind.CLIENT:
            try:
                complete(span)
            except Exception as error:  # of attributes that nobody has foreseen
                self._failed(span, error)
        if self.has_processors:
            self._tell_end(span)
        if span._dropped or span._events or span._links:
            self._tell_dropped(span)
        if span._context[3] & 1:  # sampled
            for sink in self.sinks:
                sink(span)

    def _tell_end(self, span: Span) -> None:
        parts = self.processors()
        span.ending_in = get_ident()
        for part in parts:
            try:
                on_ending(part, span)
            except Exception as error:
                self._failed(part, error)
        del span.ending_in
        finished = span.finished()
        for part in parts:
            try:
                part.on_end(finished)
            except Exception as error:
                self._failed(part, error)

    def _tell_dropped(self, span: Span) -> None:
        """A span that had no room for all is one line, and all spans of a minute are."""
        events, links = (getattr(each, "dropped", 0) for each in (span._events, span._links))
        inside = sum(event.dropped_attributes for event in span._events)
        if not (span._dropped or events or links or inside) or monotonic() < self._quiet_until:
            return
        self._quiet_until = monotonic() + _QUIET_SECONDS
        _log.warning(
            "a span has no room for all that was given it: %s lost %d attributes, %d events, %d links and %d "
            "attributes of events (OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT and its kind say how many it keeps); "
            "others of the next minute are not told",
            str(span._name)[:100],
            span._dropped,
            events,
            links,
            inside,
        )

    def _failed(self, part: object, error: object) -> None:
        self.failures += 1
        if isinstance(error, Exception):
            error = f"{type(error).__name__}: {error}"
        text = f"{type(part).__qualname__}: {error}"
        if self._once.is_first(text[:80]):
            _log.warning("tracing: %s; the application goes on", text[:300])


class BextTracerProvider(TracerProvider):
    """The SDK's provider, whose tracers make our spans. Views of it that programs have stay: its resource,
    sampler and id generator, `add_span_processor`, `force_flush`, `shutdown`."""

    def __init__(
        self,
        resource: Resource,
        counts: SpanCounter | None = None,
        *,
        sampler: Sampler | None = None,
        id_generator: IdGenerator | None = None,
        span_limits: SpanLimits | None = None,
    ) -> None:
        span_limits = span_limits or SpanLimits()
        # The composition root ends all three signals within one deadline, so no exit handler of the
        # provider's own.
        super().__init__(
            sampler,
            resource,
            shutdown_on_exit=False,
            id_generator=id_generator or SystemIdGenerator(),
            span_limits=span_limits,
        )
        self._outlets: list[Outlet] = []
        self.added: list[SpanProcessor] = []
        self.core = Core(self.id_generator, span_limits, counts or _NoCounts())

    def add_sink(self, sink: Sink, outlet: Outlet) -> None:
        """Have each sampled span that ends given to `sink`, and what waits there sent through `outlet`."""
        self.core.sinks = (*self.core.sinks, sink)
        self._outlets.append(outlet)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `opentelemetry.sdk.trace.TracerProvider`. It ends, whatever a processor or an exporter does,
        and one that hangs keeps no other from it."""
        until = monotonic() + timeout_millis / 1e3
        outlets = tuple(self._outlets)
        if len(outlets) == 1:  # no thread, where that is all there is
            arrived = outlets[0].flush(timeout_millis / 1e3)
        else:
            seconds = timeout_millis / 1e3
            answers = within(seconds, [partial(outlet.flush, seconds) for outlet in outlets])
            arrived = all(each is not None and each.value is True for each in answers)
        left = max(until - monotonic(), 0.0)
        flushed = within(
            left, [partial(each.force_flush, int(left * 1e3)) for each in self.core.processors()]
        )
        # Those that answer with nothing have flushed, as the SDK takes it.
        return arrived and all(each is not None and each.value is not False for each in flushed)

    def shutdown(self) -> None:
        """See `opentelemetry.sdk.trace.TracerProvider`."""
        for outlet in self._outlets:
            outlet.end(_END_SECONDS)
        self.end_processors(_END_SECONDS)

    def end_processors(self, seconds: float) -> None:
        """Shut down those that were added by whomever, within so many seconds. Once."""
        parts, self.core.processors = self.core.processors(), tuple
        self.core.has_processors = False
        within(seconds, [each.shutdown for each in parts])

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """See `opentelemetry.sdk.trace.TracerProvider`."""
        super().add_span_processor(span_processor)
        self.added.append(span_processor)
        self.core.processors, self.core.has_processors = partial(span_processors, self), True

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        """See `opentelemetry.trace.TracerProvider.get_tracer`."""
        tracer = super().get_tracer(
            instrumenting_module_name, instrumenting_library_version, schema_url, attributes
        )
        keep_scope(
            self,
            tracer,
            lambda: InstrumentationScope(
                instrumenting_module_name, instrumenting_library_version or "", schema_url, attributes
            ),
        )
        become(tracer, SdkTracer, Tracer, core=self.core)
        return tracer
