"""The series of a stream, found by the attributes of a measurement, and no more of them than its limit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from itertools import count
from typing import Any, TypeAlias

from opentelemetry.context import Context
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel.apps import Budget, clean
from bext_otel.catalogue import OVERFLOW
from bext_otel.metrics.instruments.cells import CELLS, MeterCell, with_reservoir
from bext_otel.metrics.instruments.plan import Plan
from bext_otel.metrics.snapshot import LabelSet, Series
from bext_otel.metrics.store.columns import Columns
from bext_otel.redaction.policy import known_name, redact_attribute

__all__ = ["OVERFLOW", "Attributes", "SeriesTable"]

_log = logging.getLogger("bext_otel")

_PAST_LIMIT = ((OVERFLOW,), (("bool", "True"),))

# How many ways to write the attributes of a series are remembered, on average: in another order, or as
# numbers.
_SPELLINGS = 4

Attributes: TypeAlias = "Mapping[str, Any] | None"


class SeriesTable(Columns):
    """The series that a plan has. `labels` are those that tell its scope, `budgets` how many values
    attributes may have, by their names.

    `shapes` has the series whose attributes are text, by their names and then by their values, both in the
    order that they are given in: who measures looks there first. `bare` is the one without attributes.
    """

    def __init__(
        self,
        plan: Plan,
        scope: InstrumentationScope,
        labels: LabelSet,
        budgets: Mapping[str, Budget] | None = None,
    ) -> None:
        super().__init__()
        self._budgets = budgets or {}
        self.plan, self.scope, self.labels = plan, scope, labels
        self.rejected = 0
        self.folded = 0
        made = CELLS[plan.shape]
        self._make_cell: Callable[..., MeterCell] = made if plan.reservoirs is None else with_reservoir(made)
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
        # One for each series with attributes: of two threads that make the last one, one comes late.
        self._tickets = count()
        self.bare: MeterCell | None = None
        self._overflow: MeterCell | None = None
        self.forget_columns()

    def held(self) -> Collection[MeterCell]:
        """See `Columns`."""
        return self._all

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
        if not attributes:
            return attributes
        if keys is not None:
            return {name: value for name, value in attributes.items() if name in keys}
        if excluded := self.plan.excluded:
            return {name: value for name, value in attributes.items() if name not in excluded}
        return attributes

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
        attributes = _safe(attributes)
        attributes = self._within_budgets(attributes) if self._budgets else attributes
        given = tuple([name for name in attributes if isinstance(name, str) and name])
        names = self._orders.get(frozenset(given), given)
        values = tuple([_frozen(attributes[name]) for name in names])
        key = tuple(map(_text, values, names))
        if key == values:
            key = values  # held once
        plain = _TEXT.issuperset(map(type, values))
        table: Mapping[Any, MeterCell] = self.shapes.get(names, {}) if plain else self._odd
        told = _told(names, values, plain=plain)
        cell = table.get(told)
        if cell is None:
            if names and next(self._tickets) >= self.plan.limit:
                return self._past_limit()
            cell = self._made(names, key, None if key == values else values)
            # Known to those who read before anybody can measure with it; of two made at once one stays empty.
            self._all.append(cell)
            cell = self._table(names, plain=plain).setdefault(told, cell)
        if not names:
            self.bare = cell
        self._remember(spelled, told, cell, plain=plain)
        return cell

    def _within_budgets(self, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        """The attributes, with values past the budget of their name as one."""
        folded = {
            name: OVERFLOW
            for name, budget in self._budgets.items()
            if name in attributes and budget.admit(_text(attributes[name], name)) == OVERFLOW
        }
        return {**attributes, **folded} if folded else attributes

    def _table(self, names: tuple[str, ...], *, plain: bool) -> dict[Any, MeterCell]:
        """Where the series of these names are found, made for the first of them."""
        self._orders.setdefault(frozenset(names), names)
        return self.shapes.setdefault(names, {}) if plain else self._odd

    def _remember(self, spelled: Any, told: Any, cell: MeterCell, *, plain: bool) -> None:
        """Find the series next time by what was asked for."""
        if spelled is None or self._aliases > _SPELLINGS * len(self._all):
            return
        names, values, types = spelled
        if plain and _TEXT.issuperset(types):
            if names != cell.names or values != cell.key:
                self.shapes.setdefault(names, {})[values] = cell
                self._aliases += 1
        elif _HASHABLE.issuperset(types) and values == values:  # noqa: PLR0124  no NaN equals itself
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
                "metric %s of %s has more than %d attribute sets (the limit of its view, of a reader or "
                "[metrics] series_limit): further ones are counted together, with %s=true; use attributes "
                "with fewer values",
                self.plan.name,
                self.scope.name,
                self.plan.limit,
                OVERFLOW,
            )
        return self._overflow

    def _forget_others(self, kept: Mapping[MeterCell, Any]) -> None:
        """Of one-off jobs there may be any number in the life of a process."""
        self.shapes = {names: left for names, held in self.shapes.items() if (left := _only(held, kept))}
        self._orders = {frozenset(cell.names): cell.names for cell in kept}
        self._typed, self._odd = _only(self._typed, kept), _only(self._odd, kept)
        self._aliases = len(self._typed)
        self.bare = self.bare if self.bare in kept else None
        self._overflow = self._overflow if self._overflow in kept else None
        self._all = [cell for cell in self._all if cell in kept]
        self._tickets = count(len(self._all))
        self.forget_columns()

    def _keep_bound(self) -> None:
        """Have none but the series that somebody holds a handle of, who measures there in a forked child
        too."""
        self._begin()
        for cell in self._bound:
            cell.reset()
            self._all.append(cell)
            values = cell.key if cell.typed is None else cell.typed
            plain = _TEXT.issuperset(map(type, values))
            self._table(cell.names, plain=plain)[_told(cell.names, values, plain=plain)] = cell
            if not cell.names:
                self.bare = cell
        self._tickets = count(len(self._all))


def _safe(attributes: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Without secrets. This runs once for a series: who measures finds it by the attributes as given."""
    try:
        return {
            known_name(name) if isinstance(name, str) else name: redact_attribute(str(name), value)
            for name, value in attributes.items()
        }
    except Exception:  # a value's own code fails: as a label it is known by its type
        return {name: value if _is_plain(value) else _text(value, "") for name, value in attributes.items()}


def _text(value: Any, name: str) -> str:
    """As a label shows it; a value whose own code fails is known by its type."""
    try:
        return clean(value, name)
    except Exception:
        if _is_plain(value):  # no code of another's: a signal handler has raised
            raise
        return f"<{type(value).__name__}>"


def _is_plain(value: Any) -> bool:
    return type(value) in _HASHABLE or (type(value) in {list, tuple} and all(map(_is_plain, value)))


def _told(names: tuple[str, ...], values: tuple[Any, ...], *, plain: bool) -> Any:
    """What tells a series from others: where all values are text the values, or else names, types and
    values."""
    return values if plain else (names, tuple([(type(value).__name__, str(value)) for value in values]))


# Asked by `issuperset`, without a generator: what a signal handler raises while one is closed is lost.
_TEXT = frozenset({str})
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
    return _text(value, "")


def _only(held: Mapping[Any, MeterCell], kept: Mapping[MeterCell, Any]) -> dict[Any, MeterCell]:
    return {key: cell for key, cell in held.items() if cell in kept}
