"""The cells of each kind of instrument: what they hold, and how that grows."""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from bext_otel.catalogue import Kind
from bext_otel.metrics.exponential import MAX_OTLP_BUCKETS, Buckets, counted
from bext_otel.metrics.merging.wire import Row
from bext_otel.metrics.numbers import GREATEST, exact
from bext_otel.metrics.store.cell import EXEMPLAR_TRIES, Cell
from bext_otel.metrics.store.extremes import Intervals, widened
from bext_otel.metrics.values import Distribution, Histogram
from bext_otel.metrics.window import Window

__all__ = [
    "CELLS",
    "CounterCell",
    "GaugeCell",
    "HistogramCell",
    "NumberCell",
    "SummaryCell",
    "UpDownCounterCell",
    "add_at_once",
    "drain_all",
]

# A total up to this needs no second look at whether it fits in 64 bits. A float: those are compared with
# large ints at length.
_ORDINARY = 2.0**62

# Since Python 3.11 signal handlers run after calls and at jumps back only, so that a few plain steps in a row
# are as good as one.
_STEADY = sys.hexversion >= 0x030B0000


class NumberCell(Cell):
    """A series whose value is a number."""

    __slots__ = ("value",)

    value: float
    _none: ClassVar[float] = 0

    def reset(self) -> None:
        super().reset()
        self.value = self._none

    def read(self, now: float | None = None) -> float:
        return self.value

    def _plus(self, batch: list[Any], total: float, low: float, now: float) -> tuple[float]:
        return (exact(self.value + total),)

    def _hold(self, found: tuple[Any, ...]) -> None:
        (self.value,) = found


class CounterCell(NumberCell):
    """A sum that only grows. `value` is the total since start."""

    __slots__ = ()


class UpDownCounterCell(NumberCell):
    """A sum that may fall."""

    __slots__ = ()

    @property
    def _least(self) -> float:
        return -GREATEST


class GaugeCell(NumberCell):
    """The newest value."""

    __slots__ = ()
    _none = math.nan

    @property
    def _least(self) -> float:
        return -GREATEST

    def _plus(self, batch: list[Any], total: float, low: float, now: float) -> tuple[float]:
        return (exact(batch[-1]),)


class SummaryCell(Cell):
    """The whole life's exponential buckets, coarsened to what OTLP takes, and the recent window's at full
    resolution."""

    __slots__ = ("count", "intervals", "life", "maximum", "minimum", "sum", "window", "zeros")

    def reset(self) -> None:
        super().reset()
        self.life = Buckets()
        self.count = self.zeros = 0
        self.sum = 0.0
        self.minimum, self.maximum = math.inf, -math.inf
        self.intervals: Intervals = None
        self.window = Window(self.stream.window_seconds)

    def read(self, now: float | None = None) -> Distribution:
        windows = (self.window.recent(now),) if now is not None else ()
        return Distribution(
            self.count, self.sum, self.zeros, self.minimum, self.maximum, (self.life,), windows
        )

    def row(self, now: float) -> Row:
        if 0 < self.window.changes_at() <= now:
            self.published = None
        return super().row(now)

    def _plus(self, batch: list[Any], total: float, low: float, now: float) -> tuple[Any, ...]:
        least, most = float(low), float(max(batch))
        positive = batch if low > 0 else [value for value in batch if value > 0]
        counts = counted(positive)
        zeros = len(batch) - len(positive)
        life = self.life.plus_counted(counts, MAX_OTLP_BUCKETS)
        extremes = min(self.minimum, least), max(self.maximum, most)
        intervals = widened(self.intervals, least, most)
        recent = self.window.plus(counts, zeros, least, most, now)
        count, whole = self.count + len(batch), self.sum + float(total)
        return life, count, self.zeros + zeros, whole, *extremes, intervals, recent

    def _hold(self, found: tuple[Any, ...]) -> None:
        self.life, self.count, self.zeros, self.sum, self.minimum, self.maximum, self.intervals, recent = (
            found
        )
        self.window.put(*recent)


class HistogramCell(Cell):
    """Counts between fixed bounds; `counts[i]` are the values up to and including `bounds[i]`, the last the
    values above them all."""

    __slots__ = ("count", "counts", "intervals", "maximum", "minimum", "sum")

    def reset(self) -> None:
        super().reset()
        self.counts = [0] * (len(self.stream.bounds) + 1)
        self.count = 0
        self.sum = 0.0
        self.minimum, self.maximum = math.inf, -math.inf
        self.intervals: Intervals = None

    def read(self, now: float | None = None) -> Histogram:
        return Histogram(
            self.stream.bounds, tuple(self.counts), self.sum, self.count, self.minimum, self.maximum
        )

    def _plus(self, batch: list[Any], total: float, low: float, now: float) -> tuple[Any, ...]:
        bounds, counts = self.stream.bounds, self.counts.copy()
        for value in batch:
            counts[bisect_left(bounds, value)] += 1
        least, most = float(low), float(max(batch))
        extremes = min(self.minimum, least), max(self.maximum, most)
        intervals = widened(self.intervals, least, most)
        return counts, self.count + len(batch), self.sum + float(total), *extremes, intervals

    def _hold(self, found: tuple[Any, ...]) -> None:
        self.counts, self.count, self.sum, self.minimum, self.maximum, self.intervals = found


# Counters, which need no more than what `drain_all` does.
_AT_ONCE: set[type] = {CounterCell}


def add_at_once(kind: type[CounterCell]) -> None:
    """Cells of this class are counters with nothing more to them."""
    _AT_ONCE.add(kind)


def drain_all(cells: Iterable[Cell], now: float) -> None:
    """Drain each. A counter that was added to once, as most of many were, is done here, without a call for
    each."""
    for cell in cells:
        if _STEADY and type(cell) in _AT_ONCE:
            counter: Any = cell
            pending = cell.pending
            # Flag first, look second, as in `Cell.drain`: what comes in from here on makes it dirty again.
            cell.dirty = False
            if len(pending) == 1:
                amount = pending[0]
                kind = type(amount)
                if (
                    (kind is int or kind is float)
                    and 0 <= amount <= _ORDINARY
                    and (total := counter.value + amount) <= _ORDINARY
                ):
                    del pending[0]
                    counter.value = total
                    cell.published = None
                    cell.live = True
                    cell.exemplar_tries = EXEMPLAR_TRIES
                    continue
        cell.drain(now)


CELLS: Mapping[Kind, Callable[..., Cell]] = {
    "counter": CounterCell,
    "up_down_counter": UpDownCounterCell,
    "gauge": GaugeCell,
    "summary": SummaryCell,
    "histogram": HistogramCell,
}
