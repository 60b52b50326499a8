"""The one reading: ticks while there is work, and hands out an immutable snapshot of the service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from opentelemetry.sdk.metrics.export import Metric as SdkMetric
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel.catalogue import LABEL_OVERFLOW
from bext_otel.pipeline.cells import Cell, CounterCell, GaugeCell, HistogramCell, SummaryCell
from bext_otel.pipeline.foreign import ForeignReader
from bext_otel.pipeline.snapshot import Family, Histogram, LabelSet, Numbers, Point, Snapshot, Summary
from bext_otel.pipeline.streams import Stream, Streams
from bext_otel.pipeline.system import System
from bext_otel.pipeline.ticker import Ticker

__all__ = ["Reading"]

Telemetry = Mapping[str, "int | float | str"]


def _nothing() -> None:
    pass


class Reading:
    """Reads the cells of the catalogue and what other libraries measure.

    `telemetry` tells how export fares, `resource` is the resource's attributes, `tick_seconds` how often cells are drained while busy;
    `on_start` is called in the ticker's thread when the first measurement has started it.
    """

    def __init__(
        self,
        streams: Streams,
        foreign: ForeignReader | None = None,
        *,
        resource: Mapping[str, str] | None = None,
        telemetry: Callable[[], Telemetry] = dict,
        include_process: bool = True,
        tick_seconds: float = 1.0,
        on_start: Callable[[], object] = _nothing,
    ) -> None:
        self.streams = streams
        self.foreign = foreign
        self._resource = resource or {}
        self._telemetry = telemetry
        self._include_process = include_process
        self._ticker = Ticker(streams.drain, tick_seconds, on_start)
        streams.wake = self._ticker.wake
        streams.stream(LABEL_OVERFLOW).observers.append(
            lambda: [(count, {"label": name}) for name, count in streams.budgets.overflowed().items()]
        )
        self.reset(drop=False)

    def reset(self, *, drop: bool = True) -> None:
        """Begin a life: as of now, and after a fork (`drop`) without what the parent counted."""
        self.started_unix = self.streams.clock()
        self._started = self.streams.monotonic()
        self._system = System() if self._include_process else None
        if drop:
            self._ticker.reset()
            self.streams.reset()
            if self.foreign is not None:
                self.foreign.reset()

    def stop(self) -> None:
        """Tick no more."""
        self._ticker.stop()

    def snapshot(self) -> Snapshot:
        """A fresh picture of everything."""
        # Callbacks of the application run before the lock is taken: one that measures, or waits, must not meet it.
        self.collect_foreign()
        foreign = self.foreign.families() if self.foreign is not None else []
        observed = self.observed()
        with self.streams.lock:
            self.streams.drain()
            now = self.streams.monotonic()
            families = [family for stream, values in observed.items() if (family := _family(stream, values, now)) is not None]
            rates = {stream.metric.exported: _rates(stream, now) for stream in observed if stream.rates is not None}
        taken = {family.name for family in families}
        return Snapshot(
            time_unix=self.streams.clock(),
            started_unix=self.started_unix,
            uptime_seconds=now - self._started,
            families=(*families, *(family for family in foreign if family.name not in taken)),
            rates=rates,
            system=self._system.figures() if self._system is not None else {},
            telemetry={**self._telemetry(), "series": sum(len(family.points) for family in families)},
            resource=self._resource,
        )

    def observed(self) -> dict[Stream, dict[Cell, float]]:
        """Every stream, with what observers say of its series now; two observers that speak of the same one add up."""
        return {stream: _observed(stream) for stream in self.streams}

    def collect_foreign(self) -> list[tuple[InstrumentationScope, SdkMetric]]:
        """What other libraries measured, as of now, with cumulative temporality."""
        if self.foreign is None:
            return []
        self.foreign.collect()
        return self.foreign.totals()


def _family(stream: Stream, observed: Mapping[Cell, float], now: float) -> Family | None:
    """A stream as a family; None before its first measurement."""
    metric = stream.metric
    cells = [*stream.cells(), *(cell for cell in observed if not cell.live)]
    if not cells:
        return None
    points: Sequence[Point]
    if metric.kind in {"counter", "gauge"}:
        numbers = [cell.value for cell in _numeric(cells)]
        if observed:
            numbers = [observed.get(cell, 0) + (cell.value if cell.live else 0) for cell in _numeric(cells)]
        exemplars = {position: cell.exemplar for position, cell in enumerate(cells) if cell.exemplar is not None}
        points = Numbers([cell.series for cell in cells], numbers, exemplars)
    else:
        points = tuple(Point(cell.series, _value(cell, now), cell.exemplar) for cell in cells)
    return Family(metric.exported, metric.kind, metric.description, metric.unit, points, metric)


def _numeric(cells: list[Cell]) -> Iterator[CounterCell | GaugeCell]:
    return (cell for cell in cells if isinstance(cell, (CounterCell, GaugeCell)))


def _observed(stream: Stream) -> dict[Cell, float]:
    values: dict[Cell, float] = {}
    for cell, value in stream.observed():
        values[cell] = values.get(cell, 0) + value
    return values


def _value(cell: Cell, now: float) -> Summary | Histogram:
    if isinstance(cell, SummaryCell):
        return Summary(cell.count, cell.sum, cell.window.recent(now).quantiles())
    assert isinstance(cell, HistogramCell)
    return Histogram(cell.stream.metric.bounds, tuple(cell.counts), cell.sum, cell.count)


def _rates(stream: Stream, now: float) -> dict[LabelSet, float]:
    assert stream.rates is not None
    return {cell.series.labels: rate for cell, rate in stream.rates.rates(now).items()}


