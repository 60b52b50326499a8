"""One stream of an instrument: its series, and what its observers said last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel._compat import InstrumentKind
from bext_otel.metrics.instruments.cells import MeterCell
from bext_otel.metrics.instruments.plan import Plan
from bext_otel.metrics.instruments.series import Attributes, SeriesTable
from bext_otel.metrics.merging.wire import ThirdPartyRow
from bext_otel.metrics.numbers import GREATEST, exact, finite
from bext_otel.metrics.prometheus_names import prometheus_name, unit_word
from bext_otel.metrics.snapshot import LabelSet
from bext_otel.metrics.store.streams import Streams

__all__ = ["MeterStream"]

# Instruments that take no negative amounts.
_POSITIVE = frozenset({"counter", "histogram"})


class MeterStream(SeriesTable):
    """A stream. `labels` are those that tell its scope, `exported` and `word` its name and its unit on our
    page; `least` is the least amount that its instrument takes.

    `observed` is what observers said last; `blocks` are the rows that were published last, and their bytes.
    """

    def __init__(
        self,
        plan: Plan,
        kind: InstrumentKind,
        scope: InstrumentationScope,
        labels: LabelSet,
        parent: Streams,
        *,
        total_suffix: bool = True,
    ) -> None:
        self._parent = parent
        self.kind = kind
        self.label_names: tuple[str, ...] = ()
        self.bounds = plan.bounds
        self.window_seconds = parent.window_seconds
        self.clock = parent.clock
        self.least = 0.0 if kind in _POSITIVE else -GREATEST
        self.is_observed = kind.startswith("observable_")
        self.exported = prometheus_name(
            plan.name, plan.unit, counter=plan.shape == "counter", total=total_suffix
        )
        self.word = unit_word(plan.unit)
        self.observed: dict[MeterCell, Any] = {}
        # When observers were asked last, or else this was made.
        self._asked_at = parent.now()
        self.blocks: list[tuple[list[ThirdPartyRow], bytes]] = []
        # What each series was at the fork.
        self._inherited: dict[MeterCell, float] = {}
        super().__init__(plan, scope, labels, parent.budgets.of_attributes())

    def now(self) -> int:
        """The time that is told to backends (nanoseconds since 1970)."""
        return self._parent.now()

    def mark_dirty(self, cell: Any) -> None:
        """A cell has something to drain."""
        self._parent.mark_dirty(cell)

    def drain_if_idle(self) -> None:
        """Some list has grown long: drain now, unless somebody is at it."""
        self._parent.drain(wait=False)

    def observe(self, told: Iterable[tuple[Any, Attributes]]) -> None:
        """What observers say now is all there is: a series of which they say nothing is gone."""
        found: dict[MeterCell, Any] = {}
        counted: dict[MeterCell, list[float]] = {}
        adds = self.plan.shape in {"counter", "up_down_counter"}
        for value, attributes in told:
            number = finite(value)
            if number is None:
                self.rejected += 1
                continue
            cell = self.cell(self.kept(attributes))
            if adds:
                found[cell] = exact(found.get(cell, 0) + number)
            elif self.plan.shape == "gauge":
                found[cell] = number
            else:
                counted.setdefault(cell, []).append(number)
        for cell, numbers in counted.items():
            fresh = self._made(cell.names, cell.key, cell.typed)  # type: ignore[arg-type]  # text only
            fresh.pending += numbers
            fresh.drain(0.0)
            found[cell] = fresh
        if self._inherited and self.plan.shape == "counter":
            found = {cell: self._since_fork(cell, value) for cell, value in found.items()}
        for cell in found.keys() - self.observed.keys():
            # What is seen first has come since nobody saw it (metrics SDK, "Start timestamps").
            cell.began = self._asked_at
        self._asked_at = self.now()
        self.observed = found
        if len(found) < len(self._all):
            self._forget_others(found)

    def _since_fork(self, cell: MeterCell, value: float) -> float:
        before = self._inherited.get(cell, 0)
        if value < before:  # it has begun anew, as what counts for a process does in a new one
            self._inherited.pop(cell, None)
            return value
        return exact(value - before)

    def reset(self) -> None:
        """Forget everything measured, as a forked child does. What was observed of a counter is its
        parent's."""
        self.blocks = []
        if not self.is_observed:
            self._keep_bound()
            return
        self._inherited = dict(self.observed) if self.plan.shape == "counter" else {}
        self.observed = {}
        self._asked_at = self.now()
        for cell in self._all:
            cell.began = 0

    def points(self) -> Sequence[tuple[MeterCell, Any]]:
        """Every series that holds something, and what that is: a number, or a cell with a histogram."""
        if self.is_observed:
            return list(self.observed.items())
        return [(cell, cell) for cell in self.cells()]  # type: ignore[misc]  # cells of ours
