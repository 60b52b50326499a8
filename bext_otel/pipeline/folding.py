"""Label budgets of the service: each worker keeps its own, and what they admit together may be more than the budget.

The values that were admitted first stay, everywhere the same ones, since every worker says when it admitted what. The others are folded in
the reading, as a single worker folds them when it measures; totals stay exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from bext_otel.apps import Budgets
from bext_otel.catalogue import LABEL_OVERFLOW, METRICS, OVERFLOW, Label, Metric
from bext_otel.pipeline.contribution import Labels, NumberRow
from bext_otel.pipeline.merge import Tally, plus_histogram, plus_number

__all__ = ["fold"]

R = TypeVar("R")

_ROWS = {row.exported: row for row in METRICS}
_OPEN: Mapping[str, Label] = {label.name: label for row in METRICS for label in row.labels if label.values is None}


def fold(tally: Tally, budgets: Budgets) -> None:
    """Fold, in place, the values that are past the budget of the service, and count them."""
    losers = {
        name: lost for name, values in tally.admitted.items() if name in _OPEN and (lost := _losers(values, budgets.of(_OPEN[name]).limit))
    }
    if not losers:
        return
    for name, numbers in tally.numbers.items():
        tally.numbers[name] = _folded(numbers, _ROWS[name], losers, plus_number)
    for name, histograms in tally.histograms.items():
        tally.histograms[name] = _folded(histograms, _ROWS[name], losers, plus_histogram)
    for name, summaries in tally.summaries.items():
        tally.summaries[name] = _folded(summaries, _ROWS[name], losers, lambda _, one, other: [*one, *other])
    for name, rates in tally.rates.items():
        tally.rates[name] = _folded(rates, _ROWS[name], losers, lambda _, one, other: one + other)
    counts = tally.numbers.setdefault(LABEL_OVERFLOW.exported, {})
    for name, lost in losers.items():
        before = counts.get((name,))
        counts[name,] = NumberRow((name,), len(lost) + (before.value if before is not None else 0))


def _losers(values: Mapping[str, float], limit: int) -> frozenset[str]:
    """The values past the limit, in the order of their admission; of two admitted at once the first by name stays."""
    if len(values) <= limit:
        return frozenset()
    return frozenset(sorted(values, key=lambda value: (values[value], value))[limit:])


def _folded(
    held: Mapping[Labels, R], metric: Metric, losers: Mapping[str, frozenset[str]], plus: Callable[[Labels, R, R], R]
) -> dict[Labels, R]:
    folding = [(position, losers[name]) for position, name in enumerate(metric.label_names) if name in losers]
    found: dict[Labels, R] = {}
    for labels, row in held.items():
        shown = _shown(labels, folding)
        before = found.get(shown)
        found[shown] = row if before is None else plus(shown, before, row)
    return found


def _shown(labels: Labels, folding: Iterable[tuple[int, frozenset[str]]]) -> Labels:
    shown = list(labels)
    for position, lost in folding:
        if shown[position] in lost:
            shown[position] = OVERFLOW
    return tuple(shown)
