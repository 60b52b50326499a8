"""Streams: the cells of one catalogue row, found by the attributes of a measurement."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import chain, repeat
from math import isnan
from operator import attrgetter, methodcaller, sub, truediv
from threading import RLock
from typing import Any, TypeAlias

from bext_otel.apps import Budgets, clean
from bext_otel.catalogue import OVERFLOW, Metric
from bext_otel.metrics.asking import tell_of_failure
from bext_otel.metrics.merging.wire import Labels
from bext_otel.metrics.numbers import finite
from bext_otel.metrics.pacing import AT_ONCE, slices
from bext_otel.metrics.snapshot import Series
from bext_otel.metrics.store.cell import Cell
from bext_otel.metrics.store.cells import CELLS, drain_all
from bext_otel.metrics.store.columns import Columns
from bext_otel.metrics.store.rates import RateWindow, floats
from bext_otel.metrics.timeline import Timeline
from bext_otel.operation import SHARED

__all__ = ["Observer", "Stream", "Streams"]

Observer: TypeAlias = Callable[[], Iterable[tuple[float, Mapping[str, Any]]]]
"""Asked at each reading for pairs of a value and its attributes."""

# Series of one metric. Budgets bound each label; this bounds their product.
_MAX_SERIES = 200_000

# How many ways to write the labels of a series are remembered, on average: 200 is 200.0, and a member of an
# enumeration.
_SPELLINGS = 4
_SPELLED_BITS = 64

_value, _release = attrgetter("value"), methodcaller("release")

Turn: TypeAlias = "list[bool | None]"
"""Whether the lock was taken; and None behind it when it was given back."""

_UNLIKE = object()


def _spelled(value: Any, text: str | None) -> Any:
    """`value`, if it is a number or of an enumeration; the text if it is that; or else `_UNLIKE`."""
    kind = type(value)
    if kind is str or value is None:
        return text if value == text else _UNLIKE
    if kind is int:
        return value if value.bit_length() < _SPELLED_BITS else _UNLIKE  # a long one is cut when it is shown
    if kind is float:
        return (
            value if value and not isnan(value) else _UNLIKE
        )  # no NaN equals another, and -0.0 is not shown as 0.0
    return value if kind is bool or isinstance(value, Enum) else _UNLIKE


class Stream(Columns):
    """One metric's series. Attributes that the catalogue does not declare are left out."""

    def __init__(self, metric: Metric, parent: Streams) -> None:
        super().__init__()
        self.metric = metric
        self.label_names = metric.label_names
        self.bounds = metric.bounds
        self.rejected = 0
        self._failing = False
        # What observers said last, and whether they have been asked and do not answer.
        self.said: Mapping[Cell, Mapping[str, float]] = {}
        self.hangs = False
        self.observers: list[Observer] = []
        self.window_seconds = parent.window_seconds
        self.clock = parent.clock
        self.rates: RateWindow | None = (
            RateWindow(parent.rate_seconds, parent.started) if metric.recent else None
        )
        self._parent = parent
        self._cells: dict[Labels, Cell] = {}
        # From the raw attribute values, with their types since 1 == True == 1.0, to the cell; only for values
        # within their budgets, and only where some are numbers or members of an enumeration: where all are
        # the text that is shown, `_cells` has it already, and of anything else there may be any number of
        # values that are shown alike.
        self._known: dict[tuple[Any, ...], Cell] = {}
        # Series that other workers have and this one has not.
        self._others: dict[Labels, Series] = {}
        self._create = CELLS[metric.kind]

    def cell(self, attributes: Mapping[str, Any] | None) -> Cell:
        """The cell of these attributes, made when it is first asked for."""
        get = (attributes or {}).get
        values = tuple([get(name) for name in self.metric.label_names])
        try:
            found = (
                self._known.get((*values, *map(type, values))) if self._known else None
            ) or self._cells.get(values)
        except TypeError:  # a value that cannot be hashed is shown as text, like any other
            return self._make(values)[0]
        if found is not None:
            return found
        cell, exact = self._make(values)
        if exact and cell.key != values and len(self._known) < _SPELLINGS * len(self._cells):
            own = list(map(_spelled, values, cell.key))
            if all(value is not _UNLIKE for value in own):
                typed = (*own, *map(type, values))
                self._known[typed] = cell
        return cell

    def now(self) -> int:
        """The time that is told to backends (nanoseconds since 1970)."""
        return self._parent.now()

    def series(self, key: Labels) -> Series:
        """The series with these label values, the same object each time: text that was rendered for it is
        kept in it."""
        cell = self._cells.get(key)
        if cell is not None:
            return cell.series
        found = self._others.get(key)
        if found is None:
            found = Series.of(self.metric.label_names, key)
            if len(self._others) < _MAX_SERIES:
                self._others[key] = found
        return found

    def held(self) -> Collection[Cell]:
        """See `Columns`."""
        return self._cells.values()

    def mark_dirty(self, cell: Cell) -> None:
        """A cell has something to drain."""
        self._parent.mark_dirty(cell)

    def drain_if_idle(self) -> None:
        """Some list has grown long: drain now, unless somebody is at it."""
        self._parent.drain(wait=False)

    def mark(self, now: float) -> None:
        """Counters are about to grow."""
        if self.rates is not None:
            self.rates.mark(now, lambda: self.totals()[1])

    def totals(self) -> tuple[list[Cell], array[float]]:
        """All cells of a counter, in an order in which new ones come last, and their totals."""
        cells, totals = self.every(), array("d")
        for part in slices(cells):
            totals.extend(floats(map(_value, part)))
        return cells, totals

    def grown(self, cells: Sequence[Cell], now: float) -> array[float]:
        """Increases of these cells per second, over the rate window; empty while nothing is known of it."""
        base, seconds = (None, 1.0) if self.rates is None else self.rates.base(now)
        if base is None:
            return array("d")
        every, totals = self.totals()
        grown, before = array("d"), chain(base, repeat(0.0))
        for part in slices(totals):
            grown.extend(map(truediv, map(sub, part, before), repeat(seconds)))
        if len(every) == len(cells):
            return grown
        by_cell = dict(zip(every, grown, strict=True))
        return array("d", [by_cell[cell] for cell in cells])

    def observed(self) -> Iterator[tuple[Cell, float, str]]:
        """What the observers say now: series, value, and the source if that is shared. One that fails says
        nothing more, and is counted, as are values that are no finite numbers."""
        for observer in tuple(self.observers):
            try:
                for value, attributes in observer():
                    number = finite(value)
                    if number is None:
                        self.rejected += 1
                    else:
                        yield self.cell(attributes), number, str(attributes.get(SHARED, ""))
            except Exception as error:  # a callback of the application is broken
                self.rejected += 1
                failing, self._failing = self._failing, True
                tell_of_failure(self.metric.name, error, again=failing)

    def reset(self) -> None:
        """Forget everything measured, in place, as handles point to the cells."""
        for cell in self._cells.values():
            cell.reset()
        self.forget_columns()
        self.said, self.hangs = {}, False
        if self.rates is not None:
            self.rates = RateWindow(self._parent.rate_seconds, self._parent.started)

    def _make(self, values: tuple[Any, ...]) -> tuple[Cell, bool]:
        """The cell for these values, and whether it is theirs alone, with none of them folded."""
        budgets = self._parent.budgets
        given = [
            None if value is None else clean(value, name)
            for value, name in zip(values, self.metric.label_names, strict=True)
        ]
        shown = [
            None if text is None else budgets.of(label).admit(text)
            for label, text in zip(self.metric.labels, given, strict=True)
        ]
        exact = shown == given
        if tuple(shown) not in self._cells and len(self._cells) >= _MAX_SERIES:
            shown, exact = [None if text is None else OVERFLOW for text in shown], False
        key = tuple(shown)
        cell = self._cells.get(key)
        if cell is None:
            # An integer (a status code) stays one in OTLP, as the semantic conventions have it.
            pairs = zip(values, key, strict=True)
            typed = tuple(
                [
                    value if isinstance(value, int) and not isinstance(value, bool) and exact else text
                    for value, text in pairs
                ]
            )
            cell = self._cells.setdefault(
                key, self._create(self, key, self.series(key), None if typed == key else typed)
            )
        return cell, exact


class Streams:
    """Every stream of a process, and the lock under which they are drained.

    `window_seconds` is the length of the window for quantiles, `rate_seconds` of that for rates; `clock` is
    Unix seconds, `monotonic` seconds that never jump. `wake` is called when there is something to drain; it
    is False where it has to be called at each measurement.
    """

    def __init__(
        self,
        budgets: Budgets,
        *,
        window_seconds: float = 300.0,
        rate_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budgets = budgets
        self.window_seconds = window_seconds
        self.rate_seconds = rate_seconds
        self.clock = clock
        self.monotonic = monotonic
        self.started = monotonic()
        self.timeline = Timeline(clock, monotonic)
        self.wake: Callable[[], bool] = lambda: True
        # Reentrant: a signal handler may flush in the middle of a drain.
        self.lock = RLock()
        self._streams: dict[Metric, Stream] = {}
        self._dirty: list[Cell] = []
        # The turn of who drains.
        self._draining: Turn | None = None
        # How many drains, whoever's, have found something.
        self.changes = 0

    def now(self) -> int:
        """The time that is told to backends (nanoseconds since 1970)."""
        return self.timeline.now()

    def __iter__(self) -> Iterator[Stream]:
        return iter(list(self._streams.values()))

    def stream(self, metric: Metric) -> Stream:
        """The stream of a row."""
        found = self._streams.get(metric)
        return found if found is not None else self._streams.setdefault(metric, Stream(metric, self))

    def mark_dirty(self, cell: Cell) -> None:
        """A cell has something to drain."""
        self._dirty.append(cell)
        if not self.wake():
            cell.dirty = False  # there is no thread that will look, so the next measurement tells again

    def drain(self, *, wait: bool = True) -> bool:
        """Drain every cell that has something; whether there was any. `wait=False` gives up if somebody is
        draining."""
        lock = self.lock
        turn: Turn = []
        back = map(_release, (lock,))
        try:
            try:
                return self._drain(lock, turn, wait=wait)
            finally:
                # No call but the last one: a handler that raises, and be it one after another, then finds no
                # gap since Python 3.11.
                if self._draining is turn:
                    self._draining = None
                if turn == [True]:
                    turn.extend(back)
        except BaseException:  # a signal handler's; Python 3.10 runs those inside of `finally` too
            if self._draining is turn:
                self._draining = None
            if turn == [True]:
                turn.extend(back)
            raise

    def _drain(self, lock: RLock, turn: Turn, *, wait: bool) -> bool:
        # One step of C, so that no signal handler raises between taking the lock and noting that it is taken.
        turn.extend(map(lock.acquire, (wait,)))
        # Somebody else drains. Or this is a signal handler, in the middle of a drain of this very thread:
        # what is taken out there might be taken twice, and what the handler measured is drained next time.
        if not turn[0] or self._draining is not None:
            return True
        self._draining = turn
        cells = self._dirty[:]
        self.changes += bool(cells)
        now = self.monotonic()
        for stream in self if cells else ():
            stream.mark(now)
        done = 0
        try:
            for part in slices(cells, AT_ONCE):
                drain_all(part, now)
                done += len(part)
        finally:  # a handler that raises leaves the others for the next time; to drain one twice does no harm
            del self._dirty[:done]
        return bool(cells)

    def reset(self) -> None:
        """Start over, as a forked child does: the parent's counts, and a lock that some thread of it may have
        held, are not ours."""
        self.lock = RLock()
        self._draining = None
        self.started = self.monotonic()
        self.timeline = Timeline(self.clock, self.monotonic)
        self._dirty = []
        for stream in self._streams.values():
            stream.reset()
