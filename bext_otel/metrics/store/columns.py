"""The cells of a stream as lists that stay the same ones as long as nothing is new."""

from __future__ import annotations

from collections.abc import Collection
from operator import attrgetter

from bext_otel.metrics.pacing import slices
from bext_otel.metrics.snapshot import Series
from bext_otel.metrics.store.cell import Cell

__all__ = ["Columns"]

_is_live = attrgetter("live")


class Columns:
    """What a stream keeps of its cells, for those who read them all."""

    def __init__(self) -> None:
        self.forget_columns()

    def held(self) -> Collection[Cell]:
        """The cells there are, new ones last."""
        raise NotImplementedError

    def forget_columns(self) -> None:
        """Cells may hold nothing any more, or be others."""
        self._every: list[Cell] = []
        self._live: list[Cell] = []
        self._live_series: list[Series] = []

    def every(self) -> list[Cell]:
        """All cells, new ones last; not to be changed. The same list as long as there are no new ones.

        Python's garbage collector looks at whatever is in a young list, which holds up a request for 5 ms if
        these are 100,000 cells. An old list it leaves alone.
        """
        held = self.held()
        if len(self._every) != len(held):
            self._every = list(held)
        return self._every

    def cells(self) -> list[Cell]:
        """All cells that hold a measurement; not to be changed, and kept likewise."""
        every = self.every()
        number = sum([sum(map(_is_live, part)) for part in slices(every)])
        if number != len(self._live):  # once it holds something, a cell goes on to
            self._live = (
                every
                if number == len(every)
                else [cell for part in slices(every) for cell in part if cell.live]
            )
        return self._live

    def columns(self) -> tuple[list[Cell], list[Series]]:
        """The same, and their series."""
        cells = self.cells()
        if len(self._live_series) != len(cells):
            self._live_series = [cell.series for part in slices(cells) for cell in part]
        return cells, self._live_series
