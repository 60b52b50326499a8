"""Telemetry about telemetry, by the `otel.sdk.*` semantic conventions: observed where it is kept anyway, so
it costs when it is read.

Upstream has an implementation of its own (`OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED`), which makes three
measurements of about 12 us for each span. Here a span costs two calls into C.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanContext
from opentelemetry.util.types import Attributes

from bext_otel import catalogue
from bext_otel.catalogue import Metric
from bext_otel.export.delivery import Delivery, Signal
from bext_otel.export.queue import Queue, Ticks
from bext_otel.measuring import observable
from bext_otel.scope import meter_of

__all__ = ["SelfTelemetry", "SpanCounts"]

# How long something that was lost keeps the telemetry check degraded.
_RECENT_SECONDS = 60.0

Origin: TypeAlias = Literal["none", "local", "remote"]
Told: TypeAlias = Iterator[tuple[float, Mapping[str, Any]]]


def _nothing() -> None:
    pass


class SpanCounts:
    """Spans started, and those ended of them that are recorded. Tracers call `start_span` for each span."""

    def __init__(self) -> None:
        self._started: dict[Origin, tuple[Ticks, Ticks, Ticks]] = {
            "none": (Ticks(), Ticks(), Ticks()),
            "local": (Ticks(), Ticks(), Ticks()),
            "remote": (Ticks(), Ticks(), Ticks()),
        }
        self._roots, self._locals, self._remotes = self._started.values()
        self._ended_recorded, self._ended_sampled = Ticks(), Ticks()

    def reset(self) -> None:
        """Start over, as a forked child does. The end of a span that the parent started is not counted
        there."""
        for ticks in (*self._roots, *self._locals, *self._remotes, self._ended_recorded, self._ended_sampled):
            ticks.reset()

    def start_span(self, parent: SpanContext | None, decision: Decision) -> Callable[[], object]:
        """A span starts; what it answers with is called at its end."""
        started = self._roots if parent is None else self._remotes if parent.is_remote else self._locals
        if decision is Decision.RECORD_AND_SAMPLE:
            started[2].up()
            return self._ended_sampled.up
        if decision is Decision.DROP:
            started[0].up()
            return _nothing
        started[1].up()
        return self._ended_recorded.up

    def end_span(self, decision: Decision) -> None:
        """A recorded span has ended; for who cannot call what its start answered with."""
        (self._ended_sampled if decision is Decision.RECORD_AND_SAMPLE else self._ended_recorded).up()

    def started(self) -> Told:
        """Spans started, by where their parents are and by what the sampler decided."""
        for origin, counts in self._started.items():
            for decision, ticks in zip(Decision, counts, strict=True):
                if count := ticks.value:
                    yield (
                        count,
                        {"otel.span.parent.origin": origin, "otel.span.sampling_result": decision.name},
                    )

    def live(self) -> Told:
        """Recorded spans that have not ended."""
        for position, ended in ((1, self._ended_recorded), (2, self._ended_sampled)):
            # Ended first: what starts or ends in between then counts as live, and never as less than none.
            gone = ended.value
            if begun := sum(counts[position].value for counts in self._started.values()):
                yield begun - gone, {"otel.span.sampling_result": list(Decision)[position].name}


class LogCounts:
    """Log records handed to the provider's loggers, which call `emit_log` for each."""

    def __init__(self) -> None:
        self._created = Ticks()

    def reset(self) -> None:
        """Start over, as a forked child does."""
        self._created.reset()

    def emit_log(self) -> None:
        """A log record was made."""
        self._created.up()

    def created(self) -> Told:
        """Log records made."""
        if count := self._created.value:
            yield count, {}


class SelfTelemetry:
    """What is known of all signals: `spans` and `logs` are told by the providers, `deliveries` by processors
    and exporters."""

    def __init__(self) -> None:
        self.spans = SpanCounts()
        self.logs = LogCounts()
        self.deliveries: list[Delivery] = []
        self.dropped_lines: Callable[[], Told] = lambda: iter(())
        """What sinks of lines could not take; told by the logger provider."""

    def reset(self) -> None:
        """Start over, as a forked child does."""
        self.spans.reset()
        self.logs.reset()
        for delivery in self.deliveries:
            delivery.reset()

    def losing(self) -> bool:
        """Whether an exporter fails now, or something was lost in the last minute."""
        return any(delivery.failing or delivery.lost_within(_RECENT_SECONDS) for delivery in self.deliveries)

    def figures(self, **also: int) -> dict[str, int | str]:
        """For the JSON document and the telemetry check: counts of all exporters of a signal, added up, and
        to those `also`."""
        told: dict[str, int | str] = {**also}
        for delivery in self.deliveries:
            for name, value in delivery.figures().items():
                before = told.get(name)
                if isinstance(value, int):
                    told[name] = value + (before if isinstance(before, int) else 0)
                elif before in {None, "ok"}:
                    told[name] = value
        return told

    def observe(self, provider: MeterProvider, *, units: bool) -> None:
        """Have `provider` ask for all of it at each reading. `units`: whether instruments carry the
        catalogue's units."""
        meter = meter_of(provider)

        def record(row: Metric) -> Callable[[float, Attributes], None]:
            bounds = list(row.bounds)
            unit = row.unit if units else ""
            return meter.create_histogram(
                row.name, unit, row.description, explicit_bucket_boundaries_advisory=bounds
            ).record

        exports = record(catalogue.OTEL_SDK_EXPORTER_OPERATION_DURATION)
        readings = record(catalogue.OTEL_SDK_METRIC_READER_COLLECTION_DURATION)

        def started() -> Told:
            # Durations were kept until now: to record one when an export ends would wake the reading of a
            # process, such as a server's master, that has nothing but a few log records to export.
            for delivery in self.deliveries:
                _record(exports, delivery.durations, _exporter(delivery))
                _record(readings, delivery.readings, _reader(delivery))
            return self.spans.started()

        for row, tell in {catalogue.OTEL_SDK_SPAN_STARTED: started, **self._sources()}.items():
            observable(meter, row.kind)(
                row.name,
                callbacks=[_callback(tell)],
                unit=row.unit if units else "",
                description=row.description,
            )

    def _sources(self) -> dict[Metric, Callable[[], Told]]:
        told: dict[Metric, Callable[[], Told]] = {
            catalogue.OTEL_SDK_SPAN_LIVE: self.spans.live,
            catalogue.OTEL_SDK_LOG_CREATED: self.logs.created,
            catalogue.LOG_LINES_DROPPED: self._dropped,
        }
        for signal, (size, capacity, processed) in _PROCESSORS.items():
            told[size] = lambda signal=signal: self._of_queues(signal, lambda queue: queue.size)  # type: ignore[misc]  # binds the loop's value
            told[capacity] = lambda signal=signal: self._of_queues(signal, lambda queue: queue.capacity)  # type: ignore[misc]  # likewise
            told[processed] = lambda signal=signal: self._processed(signal)  # type: ignore[misc]  # likewise
        for signal, (inflight, exported) in _EXPORTERS.items():
            told[inflight] = lambda signal=signal: self._inflight(signal)  # type: ignore[misc]  # likewise
            told[exported] = lambda signal=signal: self._exported(signal)  # type: ignore[misc]  # likewise
        return told

    def _dropped(self) -> Told:
        lost: Counter[tuple[str, str]] = Counter()
        for count, labels in self.dropped_lines():
            lost[labels["sink"], labels["reason"]] += int(count)
        for delivery in self._of("logs"):
            for cause, count in delivery.queue.dropped.items():
                lost["otlp", "queue_full" if cause == "queue_full" else "closed"] += count
            lost["otlp", "undelivered"] += delivery.failed
        return ((count, {"sink": sink, "reason": reason}) for (sink, reason), count in lost.items() if count)

    def _of(self, signal: Signal) -> list[Delivery]:
        return [delivery for delivery in self.deliveries if delivery.signal == signal]

    def _of_queues(self, signal: Signal, figure: Callable[[Queue], int]) -> Told:
        return (
            (figure(delivery.queue), _processor(delivery))
            for delivery in self._of(signal)
            if delivery.queue.capacity
        )

    def _processed(self, signal: Signal) -> Told:
        for delivery in self._of(signal):
            queue, component = delivery.queue, _processor(delivery)
            if queue.capacity:
                yield queue.processed, component
            yield from (
                (count, {**component, "error.type": cause}) for cause, count in queue.dropped.items() if count
            )

    def _inflight(self, signal: Signal) -> Told:
        return ((delivery.inflight, _exporter(delivery)) for delivery in self._of(signal))

    def _exported(self, signal: Signal) -> Told:
        for delivery in self._of(signal):
            component = _exporter(delivery)
            yield delivery.exported, component
            yield from (
                (count, {**component, "error.type": cause})
                for cause, count in delivery.failures.copy().items()
            )


_PROCESSORS: Mapping[Signal, tuple[Metric, Metric, Metric]] = {
    "traces": (
        catalogue.OTEL_SDK_PROCESSOR_SPAN_QUEUE_SIZE,
        catalogue.OTEL_SDK_PROCESSOR_SPAN_QUEUE_CAPACITY,
        catalogue.OTEL_SDK_PROCESSOR_SPAN_PROCESSED,
    ),
    "logs": (
        catalogue.OTEL_SDK_PROCESSOR_LOG_QUEUE_SIZE,
        catalogue.OTEL_SDK_PROCESSOR_LOG_QUEUE_CAPACITY,
        catalogue.OTEL_SDK_PROCESSOR_LOG_PROCESSED,
    ),
}
_EXPORTERS: Mapping[Signal, tuple[Metric, Metric]] = {
    "traces": (catalogue.OTEL_SDK_EXPORTER_SPAN_INFLIGHT, catalogue.OTEL_SDK_EXPORTER_SPAN_EXPORTED),
    "logs": (catalogue.OTEL_SDK_EXPORTER_LOG_INFLIGHT, catalogue.OTEL_SDK_EXPORTER_LOG_EXPORTED),
    "metrics": (
        catalogue.OTEL_SDK_EXPORTER_METRIC_DATA_POINT_INFLIGHT,
        catalogue.OTEL_SDK_EXPORTER_METRIC_DATA_POINT_EXPORTED,
    ),
}


def _processor(delivery: Delivery) -> dict[str, Any]:
    kind = "batching_span_processor" if delivery.signal == "traces" else "batching_log_processor"
    return {"otel.component.type": kind, "otel.component.name": f"{kind}/{delivery.number}"}


def _exporter(delivery: Delivery) -> dict[str, Any]:
    told = {
        "otel.component.type": delivery.component,
        "otel.component.name": f"{delivery.component}/{delivery.number}",
    }
    if delivery.address:
        return {**told, "server.address": delivery.address, "server.port": delivery.port}
    return told


def _reader(delivery: Delivery) -> dict[str, Any]:
    return {
        "otel.component.type": "periodic_metric_reader",
        "otel.component.name": f"periodic_metric_reader/{delivery.number}",
    }


def _record(
    record: Callable[[float, Attributes], None],
    waiting: deque[tuple[float, str, int]],
    component: Mapping[str, Any],
) -> None:
    while waiting:
        seconds, cause, status = waiting.popleft()
        told = {**component, "http.response.status_code": status} if status else component
        record(seconds, {**told, "error.type": cause} if cause else told)


def _callback(tell: Callable[[], Told]) -> Callable[[CallbackOptions], list[Observation]]:
    return lambda _: [Observation(value, attributes) for value, attributes in tell()]
