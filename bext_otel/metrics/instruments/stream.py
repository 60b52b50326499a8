"""One stream of an instrument: its series, found by the attributes of a measurement, and no more of them than
its limit."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from opentelemetry.context import Context
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel._compat import InstrumentKind, prometheus_name, unit_word
from bext_otel.apps import clean
from bext_otel.metrics.instruments.cells import CELLS, MeterCell, with_reservoir
from bext_otel.metrics.instruments.plan import Plan, Shape
from bext_otel.metrics.merging.wire import BLOCK, ThirdPartyFamily, ThirdPartyRow, packed_rows
from bext_otel.metrics.numbers import GREATEST, exact, finite
from bext_otel.metrics.pacing import AT_ONCE, slices
from bext_otel.metrics.snapshot import (
    Exemplar,
    Family,
    FamilyType,
    GaugeMerge,
    LabelSet,
    Numbers,
    Point,
    Series,
)
from bext_otel.metrics.store.columns import Columns
from bext_otel.metrics.store.streams import Streams

__all__ = ["OVERFLOW", "MeterStream"]

_log = logging.getLogger("bext_otel")

OVERFLOW = "otel.metric.overflow"
"""The attribute of the point for what is past the limit."""

_PAST_LIMIT = ((OVERFLOW,), (("bool", "True"),))

# How many ways to write the attributes of a series are remembered, on average: in another order, or 200 as
# well as "200".
_SPELLINGS = 4

_TYPES: Mapping[Shape, FamilyType] = {
    "counter": "counter",
    "up_down_counter": "gauge",
    "gauge": "gauge",
    "histogram": "histogram",
    "exponential": "histogram",
}
# Instruments that take no negative amounts.
_POSITIVE = frozenset({"counter", "histogram"})

Attributes: TypeAlias = "Mapping[str, Any] | None"


class MeterStream(Columns):
    """A stream. `labels` are those that tell its scope; `least` is the least amount that its instrument
    takes.

    `shapes` has the series whose attributes are text, by their names and then by their values, both in the
    order that they are given in: who measures looks there first.
    """

    def __init__(
        self, plan: Plan, kind: InstrumentKind, scope: InstrumentationScope, labels: LabelSet, parent: Streams
    ) -> None:
        super().__init__()
        self.plan, self.kind, self.scope = plan, kind, scope
        self.label_names: tuple[str, ...] = ()
        self.bounds = plan.bounds
        self.window_seconds = parent.window_seconds
        self.clock = parent.clock
        self.rejected = 0
        self.folded = 0
        self.least = 0.0 if kind in _POSITIVE else -GREATEST
        self.is_observed = kind.startswith("observable_")
        self.exported = prometheus_name(plan.name, plan.unit, counter=plan.shape == "counter")
        self.labels = labels
        self._parent = parent
        self._word = unit_word(plan.unit)
        made = CELLS[plan.shape]
        self._make_cell: Callable[..., MeterCell] = made if plan.reservoirs is None else with_reservoir(made)
        # What observers said last, and what each series was at the fork.
        self.observed: dict[MeterCell, Any] = {}
        self._inherited: dict[MeterCell, float] = {}
        self._bound: dict[MeterCell, None] = {}
        self._begin()

    def _begin(self) -> None:
        self.shapes: dict[tuple[str, ...], dict[tuple[Any, ...], MeterCell]] = {}
        # The order of names that each set of them was given in first.
        self._orders: dict[frozenset[str], tuple[str, ...]] = {}
        # Likewise of any attributes, with the types of values since 1 == True == 1.0; and by what they come
        # to.
        self._typed: dict[Any, MeterCell] = {}
        self._odd: dict[Any, MeterCell] = {}
        self._all: list[MeterCell] = []
        self._aliases = 0
        self._blocks: list[tuple[list[ThirdPartyRow], bytes]] = []
        self.bare: MeterCell | None = None
        self._overflow: MeterCell | None = None
        self.forget_columns()

    def held(self) -> Collection[MeterCell]:
        """See `Columns`."""
        return self._all

    def now(self) -> int:
        """The time that is told to backends (nanoseconds since 1970)."""
        return self._parent.now()

    def mark_dirty(self, cell: Any) -> None:
        """A cell has something to drain."""
        self._parent.mark_dirty(cell)

    def drain_if_idle(self) -> None:
        """Some list has grown long: drain now, unless somebody is at it."""
        self._parent.drain(wait=False)

    # --- Series
    # -----------------------------------------------------------------------------------------------

    def cell(self, attributes: Attributes) -> MeterCell:
        """The series of these attributes, made when it is first asked for."""
        if not attributes:
            return self.bare or self._found({}, None)
        try:
            names, values = tuple(attributes), tuple(attributes.values())
            spelled = names, values, tuple(map(type, values))
            found = self._typed.get(spelled) or self.shapes.get(names, {}).get(values)
        except (TypeError, AttributeError):  # a list among the values; or no mapping
            spelled, found = None, None
        return found if found is not None else self._found(attributes, spelled)

    def bind(self, attributes: Attributes) -> MeterCell:
        """The same, and it stays: in a forked child, too, it is what measures."""
        cell = self.cell(self.kept(attributes))
        self._bound[cell] = None
        return cell

    def kept(self, attributes: Attributes) -> Attributes:
        """Those of the attributes that the stream keeps."""
        keys = self.plan.keys
        if keys is None or not attributes:
            return attributes
        return {name: value for name, value in attributes.items() if name in keys}

    def take(self, amount: float, attributes: Attributes, context: Context | None) -> None:
        """Take a measurement, whatever the stream makes of its attributes."""
        kept = self.kept(attributes)
        if kept is attributes or not attributes:
            self.cell(attributes).add(amount, context)
            return
        dropped = tuple([(name, value) for name, value in attributes.items() if name not in (kept or ())])
        self.cell(kept).offer(amount, context, dropped)

    def _found(self, attributes: Any, spelled: Any) -> MeterCell:
        if not isinstance(attributes, Mapping):
            self.rejected += 1  # what nobody can read says nothing; the amount counts all the same
            attributes = {}
        given = tuple([name for name in attributes if isinstance(name, str) and name])
        names = self._orders.setdefault(frozenset(given), given)
        values = tuple([_frozen(attributes[name]) for name in names])
        key = tuple(map(clean, values, names))
        if key == values:
            key = values  # held once
        plain = all(type(value) is str for value in values)
        table: dict[Any, MeterCell] = self.shapes.setdefault(names, {}) if plain else self._odd
        told: Any = (
            values if plain else (names, tuple([(type(value).__name__, str(value)) for value in values]))
        )
        cell = table.get(told)
        if cell is None:
            if len(self._all) >= self.plan.limit and names:
                return self._past_limit()
            cell = self._made(names, key, None if key == values else values)
            # Known to those who read before anybody can measure with it; of two made at once one stays empty.
            self._all.append(cell)
            cell = table.setdefault(told, cell)
        if not names:
            self.bare = cell
        self._remember(spelled, told, cell, plain=plain)
        return cell

    def _remember(self, spelled: Any, told: Any, cell: MeterCell, *, plain: bool) -> None:
        """Find the series next time by what was asked for."""
        if spelled is None or self._aliases > _SPELLINGS * len(self._all):
            return
        names, values, types = spelled
        if plain and all(kind is str for kind in types):
            if names != cell.names:
                self.shapes.setdefault(names, {})[values] = cell
                self._aliases += 1
        elif all(kind in _HASHABLE for kind in types) and values == values:  # noqa: PLR0124  no NaN equals itself
            self._typed[spelled] = cell
            self._aliases += 1

    def _made(self, names: tuple[str, ...], key: tuple[str, ...], typed: Any) -> MeterCell:
        if self.labels:
            series = Series.of(
                (*names, *[name for name, _ in self.labels]), (*key, *[value for _, value in self.labels])
            )
        else:
            series = Series.of(names, key)
        return self._make_cell(self, names, key, series, typed)

    def _past_limit(self) -> MeterCell:
        self.folded += 1
        if self._overflow is None:
            made = self._made((OVERFLOW,), ("true",), (True,))
            self._all.append(made)
            self._overflow = self._odd.setdefault(_PAST_LIMIT, made)  # somebody else may have made it now
            _log.warning(
                "metric %s of %s has more than %d attribute sets ([metrics] series_limit): further ones are "
                "counted together, with %s=true; use attributes with fewer values",
                self.plan.name,
                self.scope.name,
                self.plan.limit,
                OVERFLOW,
            )
        return self._overflow

    # --- What is observed
    # -------------------------------------------------------------------------------------

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
        self.observed = found
        if len(found) < len(self._all):
            self._forget_others(found)

    def _since_fork(self, cell: MeterCell, value: float) -> float:
        before = self._inherited.get(cell, 0)
        if value < before:  # it has begun anew, as what counts for a process does in a new one
            self._inherited.pop(cell, None)
            return value
        return exact(value - before)

    def _forget_others(self, kept: Mapping[MeterCell, Any]) -> None:
        """Of one-off jobs there may be any number in the life of a process."""
        self.shapes = {names: left for names, held in self.shapes.items() if (left := _only(held, kept))}
        self._orders = {frozenset(cell.names): cell.names for cell in kept}
        self._typed, self._odd = _only(self._typed, kept), _only(self._odd, kept)
        self._aliases = len(self._typed)
        self.bare = self.bare if self.bare in kept else None
        self._overflow = self._overflow if self._overflow in kept else None
        self._all = [cell for cell in self._all if cell in kept]
        self.forget_columns()

    def reset(self) -> None:
        """Forget everything measured, as a forked child does. What was observed of a counter is its
        parent's."""
        observed, bound = self.observed, self._bound
        if self.is_observed:
            self._inherited = {
                cell: value for cell, value in observed.items() if self.plan.shape == "counter"
            }
            self.observed = {}
            for cell in self._all:
                cell.began = 0
            return
        self._begin()
        for cell in bound:
            cell.reset()
            self._orders[frozenset(cell.names)] = cell.names
            values = cell.key if cell.typed is None else cell.typed
            self._all.append(cell)
            if all(type(value) is str for value in values):
                self.shapes.setdefault(cell.names, {})[values] = cell
            else:
                told = cell.names, tuple([(type(value).__name__, str(value)) for value in values])
                self._odd[told] = cell
            if not cell.names:
                self.bare = cell

    # --- What is shown
    # ----------------------------------------------------------------------------------------

    def points(self) -> Sequence[tuple[MeterCell, Any]]:
        """Every series that holds something, and what that is: a number, or a cell with a histogram."""
        if self.is_observed:
            return list(self.observed.items())
        return [(cell, cell) for cell in self.cells()]  # type: ignore[misc]  # cells of ours

    def family(self) -> Family | None:
        """As a snapshot shows it; None while it holds nothing. Called under the reading's lock."""
        points: Sequence[Point]
        if self.plan.shape in {"histogram", "exponential"}:
            points = [
                Point(cell.series, held.read(), exemplars=cell.exemplars) for cell, held in self.points()
            ]
        else:
            points = self._numbers()
        if not points:
            return None
        return self._family(points)

    def _family(self, points: Sequence[Point]) -> Family:
        plan = self.plan
        return Family(
            self.exported, _TYPES[plan.shape], plan.description, self._word, points, merge=self._merge
        )

    @property
    def _merge(self) -> GaugeMerge:
        # What adds up over attributes adds up over workers too; of what is merely looked at the newest look
        # holds.
        return "livemostrecent" if self.plan.shape == "gauge" else "livesum"

    def _numbers(self) -> Numbers:
        if self.is_observed:
            return Numbers([cell.series for cell in self.observed], list(self.observed.values()))
        cells, series = self.columns()
        values: array[Any] = array("d")
        exemplars: dict[int, Exemplar] = {}
        numbers: Any = []
        for part in slices(cells):
            for position, cell in enumerate(part, len(numbers)):
                if cell.exemplar is not None or self.plan.reservoirs is not None:
                    for _, exemplar in cell.exemplars[-1:]:  # type: ignore[attr-defined]  # cells of ours
                        exemplars[position] = exemplar
            numbers += [cell.value for cell in part]  # type: ignore[attr-defined]  # of numbers
        if all(type(number) is float for number in numbers):
            values.extend(numbers)
            numbers = values
        return Numbers(series, numbers, exemplars)

    def part(self, now: float) -> ThirdPartyFamily | None:
        """What there is to say for the other workers; None while there is nothing. Under the reading's
        lock."""
        rows: list[ThirdPartyRow] = []
        for part in slices(self.points(), AT_ONCE):
            for cell, held in part:
                if held is cell:
                    rows.append(cell.foreign_row(now))
                else:
                    value = held.read() if isinstance(held, MeterCell) else held
                    rows.append(cell.row_of(value, self.clock()))
        if not rows:
            return None
        plan = self.plan
        return ThirdPartyFamily(
            self.exported,
            _TYPES[plan.shape],
            plan.description,
            tuple(rows),
            self._word,
            self._merge,
            self.labels,
            plan.limit,
            self._packed(rows),
        )

    def _packed(self, rows: list[ThirdPartyRow]) -> tuple[bytes, ...]:
        """The rows as bytes, those that have not changed as they were: of many series few do within a
        second."""
        before, blocks = self._blocks, []
        for start in range(0, len(rows), BLOCK):
            part, number = rows[start : start + BLOCK], start // BLOCK
            known = number < len(before) and before[number][0] == part
            blocks.append(before[number] if known else (part, packed_rows(part)[0]))
        self._blocks = blocks
        return tuple([packed for _, packed in blocks])


_HASHABLE = frozenset({str, int, bool, float, bytes, type(None)})


def _frozen(value: Any) -> Any:
    """A value of an attribute, as it is now: who measures may change a list afterwards."""
    if type(value) in _HASHABLE:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (bool, int, float, bytes)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple([_frozen(each) for each in value])
    if isinstance(value, Mapping):
        return {str(name): _frozen(each) for name, each in value.items()}
    return clean(value)


def _only(held: Mapping[Any, MeterCell], kept: Mapping[MeterCell, Any]) -> dict[Any, MeterCell]:
    return {key: cell for key, cell in held.items() if cell in kept}
