"""Cells: where measurements are kept, one for each series.

A measurement appends to its cell's list and does nothing else: `list.append` is atomic, takes no lock that a fork could leave locked, and
is safe in a signal handler. Whoever reads drains the lists, one at a time, under the reading's lock. No code of a user runs in here.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context

from bext_otel.catalogue import Kind, Metric
from bext_otel.pipeline.contribution import HistogramRow, Labels, NumberRow, Row, SummaryRow, encode_row, exemplar_row
from bext_otel.pipeline.exponential import Scaled, counted
from bext_otel.pipeline.snapshot import Exemplar, Series
from bext_otel.pipeline.windows import Window

__all__ = [
    "CELLS",
    "Cell",
    "CounterCell",
    "GaugeCell",
    "HistogramCell",
    "Home",
    "NumberCell",
    "SummaryCell",
    "UpDownCounterCell",
    "drain_all",
]

# Whoever makes a list this long, or a multiple of it, drains it, so that it stays small also when nobody reads. A power of two less one:
# only one measurement in so many tries, for while a thread drains the others would all try in vain.
_RELIEF = 4096 - 1


# Adding up amounts of this size comes to no infinity.
_ORDINARY = 1e200


class Home(Protocol):
    """The stream that a cell belongs to, as far as the cell knows it."""

    metric: Metric
    rejected: int
    window_seconds: float
    clock: Callable[[], float]

    def touched(self, cell: Cell) -> None:
        """It has something to drain."""

    def relieve(self) -> None:
        """Some list has grown long: drain now, unless somebody is at it."""


class Cell:
    """One series: what was measured and not yet drained, and what was drained.

    `key` has its label values in the catalogue's order, `live` is False until the first measurement; after a fork it is False again in
    the child. `encoded` is what was published of it, and None when that is out of date.
    """

    __slots__ = ("dirty", "encoded", "exemplar", "hungry", "key", "live", "pending", "series", "stream", "typed")

    def __init__(self, stream: Home, key: Labels, series: Series, typed: tuple[Any, ...] | None = None) -> None:
        self.stream = stream
        self.key = key
        self.series = series
        self.typed = typed
        self.reset()

    @property
    def attributes(self) -> dict[str, Any]:
        """Its attributes for OTLP: the label values, as the types that `typed` has where they are not all text."""
        values = self.key if self.typed is None else self.typed
        return {name: value for name, value in zip(self.stream.metric.label_names, values, strict=True) if value is not None}

    def reset(self) -> None:
        """Forget everything measured; in a forked child that was the parent's."""
        self.pending: list[Any] = []
        self.dirty = False
        self.live = False
        self.hungry = True
        self.exemplar: Exemplar | None = None
        self.encoded: msgspec.Raw | None = None

    def add(self, amount: float, context: Context | None = None) -> None:
        """Take one measurement."""
        pending = self.pending
        pending.append(amount)
        # Append first, look second: a drain clears the flag before it takes the list, so nothing is left behind unflagged.
        if not self.dirty:
            self.dirty = True
            self.stream.touched(self)
        elif not len(pending) & _RELIEF:
            self.stream.relieve()
        if self.hungry:
            self._taste(amount, context)

    def _taste(self, amount: float, context: Context | None) -> None:
        """Keep the first measurement of a tick as exemplar, if it was made inside a sampled span."""
        self.hungry = False
        span = trace.get_current_span(context).get_span_context()
        if span.trace_flags & trace.TraceFlags.SAMPLED and span.is_valid:
            self.exemplar = Exemplar(amount, self.stream.clock(), trace.format_trace_id(span.trace_id), trace.format_span_id(span.span_id))

    def drain(self, now: float) -> None:
        """Move what is pending into what is kept. Called under the reading's lock; `now` is monotonic seconds."""
        self.dirty = False
        pending = self.pending
        taken = len(pending)
        batch = pending[:taken]
        del pending[:taken]
        self.encoded = None
        self.live = True
        self.hungry = True
        try:
            self._keep(batch, now)
        except (TypeError, ValueError, OverflowError):  # something in the batch is no number: keep the rest, one by one
            for amount in batch:
                try:
                    self._keep([amount], now)
                except (TypeError, ValueError, OverflowError):
                    self.stream.rejected += 1

    def row(self, now: float) -> Row:
        """What there is to say of this series, for the other workers."""
        raise NotImplementedError

    def encoded_row(self, now: float) -> msgspec.Raw:
        """The same as bytes, made when it has changed."""
        if self.encoded is None:
            self.encoded = encode_row(self.row(now))
        return self.encoded

    def _keep(self, batch: list[Any], now: float) -> None:
        raise NotImplementedError


class NumberCell(Cell):
    """A series whose value is a number."""

    __slots__ = ("value",)

    value: float

    def row(self, now: float) -> NumberRow:
        return NumberRow(self.key, self.value, exemplar_row(self.exemplar))


class CounterCell(NumberCell):
    """A sum that only grows. `value` is the total since start."""

    __slots__ = ()

    def reset(self) -> None:
        super().reset()
        self.value = 0

    def _keep(self, batch: list[Any], now: float) -> None:
        total = sum(batch)
        if not (min(batch, default=0) >= 0 and math.isfinite(total)):
            if len(batch) == 1:
                raise ValueError("a counter takes finite amounts that are not negative")
            raise TypeError("look at each")
        self.value += total


class UpDownCounterCell(NumberCell):
    """A sum that may fall."""

    __slots__ = ()

    def reset(self) -> None:
        super().reset()
        self.value = 0

    def _keep(self, batch: list[Any], now: float) -> None:
        total = sum(batch)
        if not math.isfinite(total):
            raise ValueError("an up-down counter takes finite amounts")
        self.value += total


class GaugeCell(NumberCell):
    """The newest value."""

    __slots__ = ()

    def reset(self) -> None:
        super().reset()
        self.value = math.nan

    def _keep(self, batch: list[Any], now: float) -> None:
        if batch:
            self.value = float(batch[-1]) if not isinstance(batch[-1], int) else batch[-1]


class SummaryCell(Cell):
    """The whole life's exponential buckets, coarsened to what OTLP takes, and the recent window's at full resolution."""

    __slots__ = ("buckets", "count", "maximum", "minimum", "sum", "window", "zeros")

    def reset(self) -> None:
        super().reset()
        self.buckets = Scaled()
        self.count = self.zeros = 0
        self.sum = 0.0
        self.minimum, self.maximum = math.inf, -math.inf
        self.window = Window(self.stream.window_seconds)

    def encoded_row(self, now: float) -> msgspec.Raw:
        if 0 < self.window.changes_at() <= now:
            self.encoded = None
        return super().encoded_row(now)

    def row(self, now: float) -> SummaryRow:
        totals = (self.count, self.sum, self.zeros, self.minimum, self.maximum)
        return SummaryRow.of(self.key, totals, self.buckets, self.window.recent(now), self.window.empty_at(), exemplar_row(self.exemplar))

    def _keep(self, batch: list[Any], now: float) -> None:
        if not batch:
            return
        low, high, total = min(batch), max(batch), float(sum(batch))
        if not (low >= 0 and high < math.inf and total >= 0):  # the sum finds a NaN that min and max pass over
            raise ValueError("a summary takes finite values that are not negative")
        positive = batch if low > 0 else [value for value in batch if value > 0]
        counts = counted(positive)
        zeros = len(batch) - len(positive)
        self.buckets.add(counts)
        self.count += len(batch)
        self.zeros += zeros
        self.sum += total
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self.window.add(counts, zeros, low, high, now)


class HistogramCell(Cell):
    """Counts between fixed bounds; `counts[i]` are the values up to and including `bounds[i]`, the last the values above them all."""

    __slots__ = ("count", "counts", "maximum", "minimum", "sum")

    def reset(self) -> None:
        super().reset()
        self.counts = [0] * (len(self.stream.metric.bounds) + 1)
        self.count = 0
        self.sum = 0.0
        self.minimum, self.maximum = math.inf, -math.inf

    def row(self, now: float) -> HistogramRow:
        return HistogramRow(self.key, tuple(self.counts), self.sum, self.count, exemplar_row(self.exemplar))

    def _keep(self, batch: list[Any], now: float) -> None:
        total = float(sum(batch))
        if not math.isfinite(total):
            raise ValueError("a histogram takes finite values")
        bounds, counts = self.stream.metric.bounds, self.counts
        for value in batch:
            counts[bisect_left(bounds, value)] += 1
        self.count += len(batch)
        self.sum += total
        if batch:
            self.minimum, self.maximum = min(self.minimum, *batch), max(self.maximum, *batch)


def drain_all(cells: Iterable[Cell], now: float) -> None:
    """Drain each. A counter that was added to once, as most of many were, is done here, without a call for each."""
    for cell in cells:
        if type(cell) is not CounterCell:
            cell.drain(now)
            continue
        pending = cell.pending
        # Flag first, look second, as in `Cell.drain`: what comes in from here on makes it dirty again.
        cell.dirty = False
        try:
            amount = pending[0] if len(pending) == 1 else -1
            small = 0 <= amount <= _ORDINARY
        except TypeError:
            small = False
        if not small:
            cell.drain(now)
            continue
        del pending[0]
        cell.value += amount
        cell.encoded = None
        cell.live = cell.hungry = True


CELLS: Mapping[Kind, Callable[..., Cell]] = {
    "counter": CounterCell,
    "up_down_counter": UpDownCounterCell,
    "gauge": GaugeCell,
    "summary": SummaryCell,
    "histogram": HistogramCell,
}
