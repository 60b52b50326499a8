"""Label budgets of the service: each worker keeps its own, and what they admit together may be more than the
budget.

The values that were admitted first stay, everywhere the same ones, since every worker says when it admitted
what. The others are folded in the reading, as a single worker folds them when it measures; totals stay exact.
In what is taken over from workers that are gone they are folded for good, so that it stays as small as the
budgets are: what is past the budget now is past it ever after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from operator import add
from typing import TypeVar

from bext_otel.apps import Budgets
from bext_otel.catalogue import LABEL_KEYS, LABEL_OVERFLOW, OVERFLOW, Metric
from bext_otel.declarations import label_of
from bext_otel.metrics.merging.sum import Tally
from bext_otel.metrics.merging.wire import Labels, Publication, Row

__all__ = ["apply_budgets", "apply_budgets_for_good"]

R = TypeVar("R")


def apply_budgets(tally: Tally, budgets: Budgets) -> None:
    """Fold, in place, the values that are past the budget of the service, and count them."""
    tally.attribute_limits = budgets.overrides
    _fold(tally, {key: lost for key in tally.admitted if (lost := _losers(tally.admitted, key, budgets))})


def apply_budgets_for_good(
    tally: Tally, budgets: Budgets, others: Callable[[], Iterable[Publication]]
) -> None:
    """Fold, in place, and forget the values that are past the budget of the service, of which `others` are
    the rest.

    They are asked only if what there is here is past it by itself; whether a value is shown then depends on
    when any of them admitted it.
    """
    tally.attribute_limits = budgets.overrides
    over = [key for key in tally.admitted if _losers(tally.admitted, key, budgets)]
    if not over:
        return
    everybodys = Tally(tally.now)
    everybodys.admit(tally.admitted)
    for contribution in others():
        for each in (contribution, contribution.base):
            if each is not None:
                everybodys.admit({key: dict(values) for key, values in each.admitted.items()})
    losers = {key: _losers(everybodys.admitted, key, budgets) & tally.admitted[key].keys() for key in over}
    _fold(tally, losers)
    for key, lost in losers.items():
        tally.admitted[key] = {
            value: since for value, since in tally.admitted[key].items() if value not in lost
        }


def _fold(tally: Tally, losers: Mapping[str, Set[str]]) -> None:
    if not losers:
        return
    for name, series in tally.series.items():
        tally.series[name] = _folded(series, tally.rows.get(name), losers, add)
    rates = tally.rates
    rates |= {name: _folded(held, tally.rows.get(name), losers, add) for name, held in rates.items()}
    tally.rows[LABEL_OVERFLOW.exported] = LABEL_OVERFLOW
    counts = tally.series.setdefault(LABEL_OVERFLOW.exported, {})
    for key, lost in losers.items():
        label = (getattr(label_of(key), "name", key),)
        counts[label] = [*counts.get(label, ()), Row(label, len(lost))]


def _losers(admitted: Mapping[str, Mapping[str, float]], key: str, budgets: Budgets) -> frozenset[str]:
    """The values past the limit, in the order of their admission; of two admitted at once the first by name
    stays."""
    values, label = admitted[key], label_of(key)
    if label is None or label.values is not None or len(values) <= (limit := budgets.of(label).limit):
        return frozenset()
    return frozenset(sorted(values, key=lambda value: (values[value], value))[limit:])


def _folded(
    held: Mapping[Labels, R], metric: Metric | None, losers: Mapping[str, Set[str]], plus: Callable[[R, R], R]
) -> dict[Labels, R]:
    folding = [
        (position, losers[key])
        for position, label in enumerate(metric.labels if metric is not None else ())
        if (key := LABEL_KEYS.get(label, "")) in losers
    ]
    found: dict[Labels, R] = {}
    for labels, row in held.items():
        shown = _shown(labels, folding)
        before = found.get(shown)
        found[shown] = row if before is None else plus(before, row)
    return found


def _shown(labels: Labels, folding: Iterable[tuple[int, Set[str]]]) -> Labels:
    shown = list(labels)
    for position, lost in folding:
        if shown[position] in lost:
            shown[position] = OVERFLOW
    return tuple(shown)
