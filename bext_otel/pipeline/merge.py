"""Several workers as one service: what is counted adds up, what is held adds up over those alive, what is recent is put together.

Merging is associative and commutative (tests hold it to that), so it does not matter who reads whom first, nor whether a worker's counts
come from itself or from the one that took them over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import add
from typing import TypeAlias

from bext_otel.catalogue import METRICS, Merge
from bext_otel.pipeline.contribution import Contribution, ForeignPart, ForeignRow, HistogramRow, Labels, NumberRow, SummaryRow
from bext_otel.pipeline.exact import exact
from bext_otel.pipeline.exponential import Scaled
from bext_otel.pipeline.windows import Recent

__all__ = ["Shared", "Tally", "compacted", "plus_histogram", "plus_number"]

Figures: TypeAlias = Mapping[str, "int | float | str"]

# Gauges of prometheus_client's default collectors of which each worker has its own, and of which no sum means anything.
_NOT_ADDED = frozenset({"process_max_fds", "process_start_time_seconds", "python_info"})

_ROWS = {row.exported: row for row in METRICS}


class Shared:
    """A contribution and whether who made it is alive. The dead hold nothing any more, but what they counted happened."""

    __slots__ = ("alive", "contribution")

    def __init__(self, contribution: Contribution, *, alive: bool) -> None:
        self.contribution = contribution
        self.alive = alive


class Tally:
    """Adds contributions up. `now` is monotonic seconds: windows that are over by then are left out."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.started = now
        self.started_unix: float | None = None
        self.numbers: dict[str, dict[Labels, NumberRow]] = {}
        self.shared: dict[str, dict[tuple[Labels, str], tuple[float, NumberRow]]] = {}
        self.summaries: dict[str, dict[Labels, list[SummaryRow]]] = {}
        self.histograms: dict[str, dict[Labels, HistogramRow]] = {}
        self.rates: dict[str, dict[Labels, float]] = {}
        self.admitted: dict[str, dict[str, float]] = {}
        self.foreign: dict[str, ForeignPart] = {}
        self.system: dict[str, float] = {}
        self.telemetry: dict[str, int | float | str] = {}
        self._newest: dict[tuple[str, Labels], float] = {}

    def add(self, contribution: Contribution, *, alive: bool) -> None:
        """Add one worker's, with what it took over."""
        if contribution.started < self.started or self.started_unix is None:
            self.started, self.started_unix = min(self.started, contribution.started), contribution.started_unix
        for name, numbers in contribution.numbers.items():
            self._add_numbers(name, numbers, contribution.published, alive=alive)
        for name, summaries in contribution.summaries.items():
            held = self.summaries.setdefault(name, {})
            for summary in summaries:
                held.setdefault(summary.labels, []).append(summary)
        for name, histograms in contribution.histograms.items():
            self._add_histograms(name, histograms)
        for name, admitted in contribution.admitted.items():
            first = self.admitted.setdefault(name, {})
            for value, since in admitted:
                first[value] = min(first.get(value, since), since)
        for part in contribution.foreign:
            self._add_foreign(part, alive=alive)
        if alive:
            self._add_present(contribution)
        if contribution.base is not None:
            self.add(contribution.base, alive=False)

    def _add_numbers(self, name: str, rows: Iterable[NumberRow], published: float, *, alive: bool) -> None:
        metric = _ROWS.get(name)
        if metric is None or (metric.kind != "counter" and not alive):
            return
        rule: Merge = "sum" if metric.kind == "counter" else metric.merge
        held = self.numbers.setdefault(name, {})
        for row in rows:
            before = held.get(row.labels)
            if row.source:
                self._add_shared(name, row, published)
            elif before is None:
                held[row.labels] = row
            elif rule == "sum":
                held[row.labels] = plus_number(row.labels, before, row)
            elif self._newest.get((name, row.labels), 0.0) <= published:
                held[row.labels] = row
            if rule != "sum":
                self._newest[name, row.labels] = max(published, self._newest.get((name, row.labels), 0.0))

    def _add_shared(self, name: str, row: NumberRow, published: float) -> None:
        """What several workers look at counts once: as the newest of them saw it."""
        held = self.shared.setdefault(name, {})
        key = (row.labels, row.source)
        if key not in held or held[key][0] <= published:
            held[key] = (published, row)

    def settle(self) -> None:
        """Add what is shared to what each holds. Once, when everybody's contribution is in."""
        for name, rows in self.shared.items():
            held = self.numbers.setdefault(name, {})
            for (labels, _), (_, row) in rows.items():
                before = held.get(labels)
                held[labels] = row if before is None else plus_number(labels, before, row)
        self.shared = {}

    def _add_histograms(self, name: str, rows: Iterable[HistogramRow]) -> None:
        held = self.histograms.setdefault(name, {})
        for row in rows:
            before = held.get(row.labels)
            held[row.labels] = row if before is None else plus_histogram(row.labels, before, row)

    def _add_foreign(self, part: ForeignPart, *, alive: bool) -> None:
        additive = part.type in {"counter", "histogram", "summary"}
        if not (alive or additive):
            return
        before = self.foreign.get(part.name)
        if before is None or before.type != part.type:
            self.foreign.setdefault(part.name, part)
            return
        if part.name in _NOT_ADDED:
            return
        held = {row.labels: row for row in before.rows}
        for row in part.rows:
            held[row.labels] = _plus_foreign(held.get(row.labels), row)
        self.foreign[part.name] = ForeignPart(part.name, part.type, part.description, tuple(held.values()))

    def _add_present(self, contribution: Contribution) -> None:
        for name, rates in contribution.rates.items():
            held = self.rates.setdefault(name, {})
            for labels, rate in rates:
                held[labels] = held.get(labels, 0.0) + rate
        for name, figure in contribution.system.items():
            self.system[name] = round(self.system.get(name, 0.0) + figure, 1)
        add_figures(self.telemetry, contribution.telemetry)


def plus_number(labels: Labels, one: NumberRow, other: NumberRow) -> NumberRow:
    """Two rows as the one of `labels`."""
    return NumberRow(labels, exact(one.value + other.value), one.exemplar or other.exemplar)


def plus_histogram(labels: Labels, one: HistogramRow, other: HistogramRow) -> HistogramRow:
    """Two rows as the one of `labels`; the bounds are the catalogue's, the same in every worker of one version."""
    if len(one.counts) != len(other.counts):
        return other
    return HistogramRow(labels, tuple(map(add, one.counts, other.counts)), one.sum + other.sum, one.count + other.count)


def add_figures(held: dict[str, int | float | str], more: Figures) -> None:
    """Add what workers say of their telemetry: numbers add up; of words, one that is not `ok` stays."""
    for name, value in more.items():
        before = held.get(name)
        if isinstance(value, str) or isinstance(before, str):
            held[name] = value if before in {None, "ok"} else before
        else:
            held[name] = (before or 0) + value


def recent(rows: Sequence[SummaryRow], now: float) -> Recent | None:
    """The windows of several rows of one series, together; None if all of them are over."""
    windows = [window for row in rows if (window := row.recent(now)) is not None]
    return Recent.merged(windows) if windows else None


def one_summary(labels: Labels, rows: Sequence[SummaryRow], now: float) -> SummaryRow:
    """Several rows of one series as one."""
    if len(rows) == 1:
        return rows[0]
    life = Scaled()
    for row in rows:
        life.merge(row.lifetime())
    totals = (
        sum(row.count for row in rows),
        sum(row.sum for row in rows),
        sum(row.zeros for row in rows),
        min(row.minimum for row in rows),
        max(row.maximum for row in rows),
    )
    window = recent(rows, now) or Recent.merged([])
    return SummaryRow.of(labels, totals, life, window, max(row.empty_at for row in rows))


def compacted(contributions: Iterable[Contribution], now: float) -> Contribution:
    """What workers that are gone had counted, as one contribution without a base of its own."""
    tally = Tally(now)
    for contribution in contributions:
        tally.add(contribution, alive=False)
    return Contribution(
        started=tally.started,
        started_unix=tally.started_unix or 0.0,
        published=now,
        numbers={
            name: [*tally.numbers.get(name, {}).values(), *(row for _, row in tally.shared.get(name, {}).values())]
            for name in {*tally.numbers, *tally.shared}
        },
        summaries={name: [one_summary(labels, rows, now) for labels, rows in held.items()] for name, held in tally.summaries.items()},
        histograms={name: list(rows.values()) for name, rows in tally.histograms.items()},
        admitted={name: list(values.items()) for name, values in tally.admitted.items()},
        foreign=list(tally.foreign.values()),
    )


def _plus_foreign(before: ForeignRow | None, row: ForeignRow) -> ForeignRow:
    if before is None:
        return row
    if before.number is not None and row.number is not None:
        return ForeignRow(row.labels, before.number + row.number)
    if before.histogram is None or row.histogram is None or before.histogram[0] != row.histogram[0]:
        return row
    counts = tuple(map(add, before.histogram[1], row.histogram[1]))
    return ForeignRow(
        row.labels, None, (row.histogram[0], counts, before.histogram[2] + row.histogram[2], before.histogram[3] + row.histogram[3])
    )
