"""Several workers as one service: what is counted adds up, what is held adds up over those alive, what is
recent is put together.

Merging is associative and commutative (tests hold it to that), so it does not matter who reads whom first,
nor whether a worker's counts come from itself or from the one that took them over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import TypeAlias

from msgspec.structs import replace

from bext_otel.catalogue import Metric
from bext_otel.metrics.merging.gauges import Gauges
from bext_otel.metrics.merging.row_keys import key_of, known_row
from bext_otel.metrics.merging.series_limit import within_budgets, within_limit
from bext_otel.metrics.merging.totals import one_row, sum_third_party
from bext_otel.metrics.merging.wire import (
    BLOCK,
    Block,
    Labels,
    Publication,
    Row,
    Shared,
    ThirdPartyFamily,
    ThirdPartyRow,
    blocks,
)
from bext_otel.metrics.pacing import AT_ONCE, slices
from bext_otel.metrics.snapshot import FamilyType

__all__ = ["Shared", "Tally", "compacted"]

Figures: TypeAlias = Mapping[str, "int | float | str"]

_ADDED: frozenset[FamilyType] = frozenset({"counter", "histogram", "summary"})

# What the figures of telemetry end in that count since a worker's start: these happened, also when it is
# gone.
_COUNTS = ("_exported", "_failed", "_dropped", "_lost", "_cut", "_folded", "_wrong")


class _Added:
    """A family of another library whose workers are added up: what each says of each series."""

    def __init__(self, part: ThirdPartyFamily) -> None:
        self.part = part
        self._rows: dict[tuple[tuple[str, str], ...], list[ThirdPartyRow]] = {}

    def add(self, part: ThirdPartyFamily, _: Shared) -> None:
        for row in part.rows:
            self._rows.setdefault(row.labels, []).append(row)

    def rows(self) -> list[ThirdPartyRow]:
        return [sum_third_party(rows) for rows in self._rows.values()]

    kept = rows


class Tally:
    """Puts contributions together: the rows of each series, whose total is the service's. `now` is monotonic
    seconds."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.started = now
        self.started_unix: float | None = None
        # By exported name, the rows that there is something of.
        self.rows: dict[str, Metric] = {}
        self.series: dict[str, dict[Labels, list[Row]]] = {}
        self.shared: dict[str, dict[tuple[Labels, str], tuple[float, Row]]] = {}
        self._rates: list[Mapping[str, Iterable[tuple[Labels, float]]]] = []
        self.admitted: dict[str, dict[str, float]] = {}
        # How many values an attribute of an instrument of the API's may have, by its name.
        self.attribute_limits: Mapping[str, int] = {}
        self._foreign: dict[tuple[object, ...], _Added | Gauges] = {}
        self.system: dict[str, float] = {}
        self.telemetry: dict[str, int | float | str] = {}

    def add(self, contribution: Publication, *, alive: bool) -> None:
        """Add one worker's, with what it took over."""
        if contribution.started < self.started or self.started_unix is None:
            self.started, self.started_unix = (
                min(self.started, contribution.started),
                contribution.started_unix,
            )
        for name, series in contribution.series.items():
            self._add_series(name, series, contribution.published, alive=alive)
        self.admit({key: dict(values) for key, values in contribution.admitted.items()})
        for family in contribution.foreign:
            self._add_foreign(family, Shared(contribution, alive=alive))
        if alive:
            self._add_present(contribution)
        else:
            add_figures(
                self.telemetry,
                {name: figure for name, figure in contribution.telemetry.items() if name.endswith(_COUNTS)},
            )
        if contribution.base is not None:
            self.add(contribution.base, alive=False)

    def admit(self, admitted: Mapping[str, Mapping[str, float]]) -> None:
        """Note since when which values of labels are shown, by the label's key: it counts who had a value
        first."""
        for key, values in admitted.items():
            first = self.admitted.setdefault(key, {})
            for value, since in values.items():
                first[value] = min(first.get(value, since), since)

    def _add_series(self, key: str, series: Sequence[Block], published: float, *, alive: bool) -> None:
        known = known_row(key)
        if known is None or (known.kind in {"gauge", "up_down_counter"} and not alive):
            return
        name, arranged = known.row.exported, known.arranged
        self.rows[name] = known.row
        held = self.series.setdefault(name, {})
        for part in slices(series, AT_ONCE // BLOCK):
            for row in chain.from_iterable([block.rows for block in part]):
                if arranged is not None:
                    row = replace(row, labels=arranged(row.labels))  # noqa: PLW2901  as we have it
                if row.source:
                    self._add_shared(name, row, published)
                elif (before := held.get(row.labels)) is None:
                    held[row.labels] = [row]
                else:
                    before.append(row)

    def _add_shared(self, name: str, row: Row, published: float) -> None:
        """What several workers look at counts once: as the newest of them saw it."""
        held = self.shared.setdefault(name, {})
        key = (row.labels, row.source)
        if key not in held or held[key][0] <= published:
            held[key] = (published, row)

    def settle(self) -> None:
        """Add what is shared. Once, when everybody's contribution is in."""
        for name, rows in self.shared.items():
            held = self.series.setdefault(name, {})
            for (labels, _), (_, row) in rows.items():
                held[labels] = [*held.get(labels, ()), row]
        self.shared = {}

    @property
    def foreign(self) -> list[ThirdPartyFamily]:
        """Families of other libraries, none with more series than its limit."""
        return [
            held.part.with_rows(self._bounded(held.part, rows))
            for held in self._foreign.values()
            if (rows := held.rows())
        ]

    def foreign_kept(self) -> list[ThirdPartyFamily]:
        """The same of workers that are gone, to be kept: in as few rows as say it exactly."""
        return [
            held.part.with_rows(self._bounded(held.part, rows))
            for held in self._foreign.values()
            if (rows := held.kept())
        ]

    def _bounded(self, part: ThirdPartyFamily, rows: Sequence[ThirdPartyRow]) -> Sequence[ThirdPartyRow]:
        return within_limit(part, within_budgets(part, rows, self.attribute_limits))

    def _add_foreign(self, part: ThirdPartyFamily, whose: Shared) -> None:
        held = self._foreign.get(part.key)
        if held is None:
            held = self._foreign[part.key] = _Added(part) if part.type in _ADDED else Gauges(part)
        held.add(part, whose)

    @cached_property
    def rates(self) -> dict[str, dict[Labels, float]]:
        """Increases per second, by exported name and labels; computed at the first look."""
        found: dict[str, dict[Labels, float]] = {}
        for told in self._rates:
            for key, rates in told.items():
                known = known_row(key)
                if known is None:
                    continue
                name = known.row.exported
                held = found.setdefault(name, {})
                for labels, rate in rates:
                    held[labels] = held.get(labels, 0.0) + rate
        return found

    def _add_present(self, contribution: Publication) -> None:
        self._rates.append(contribution.rates)
        for name, figure in contribution.system.items():
            self.system[name] = round(self.system.get(name, 0.0) + figure, 1)
        add_figures(self.telemetry, contribution.telemetry)


# Of words, the graver one stays: a worker that has not been answered yet says nothing of one that has.
_GRAVITY: Mapping[object, int] = {None: 0, "trying": 1, "ok": 2}
_GRAVE = 3


def add_figures(held: dict[str, int | float | str], more: Figures) -> None:
    """Add what workers say of their telemetry: numbers add up; of words, the gravest stays."""
    for name, value in more.items():
        before = held.get(name)
        if isinstance(value, str) or isinstance(before, str):
            graver = _GRAVITY.get(before, _GRAVE) < _GRAVITY.get(value, _GRAVE)
            held[name] = value if graver or before is None else before
        else:
            held[name] = (before or 0) + value


def compacted(
    contributions: Iterable[Publication], now: float, fold: Callable[[Tally], object] = lambda _: None
) -> Publication:
    """What workers that are gone had counted, as one contribution without a base of its own. `fold` is done
    before, to what they say."""
    tally = Tally(now)
    for contribution in contributions:
        tally.add(contribution, alive=False)
    fold(tally)
    series = {
        key_of(tally.rows[name]): [one_row(labels, rows, now) for labels, rows in held.items()]
        for name, held in tally.series.items()
    }
    for name, shared in tally.shared.items():
        series.setdefault(key_of(tally.rows[name]), []).extend(row for _, row in shared.values())
    return Publication(
        started=tally.started,
        started_unix=tally.started_unix or 0.0,
        published=now,
        series={name: blocks(rows) for name, rows in series.items()},
        admitted={name: list(values.items()) for name, values in tally.admitted.items()},
        foreign=tally.foreign_kept(),
        telemetry=tally.telemetry,
    )
