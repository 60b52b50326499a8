"""The limit of a metric's series, for the service: each worker keeps its own first ones, and all of them
together may be more.

The series that began first stay, everywhere the same ones, since every worker says when each began. The
others are one, `otel.metric.overflow="true"`, as a single worker has it; totals stay exact. In what is taken
over from workers that are gone they are folded for good, so that it stays as small as the limit is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from msgspec.structs import replace

from bext_otel.catalogue import OVERFLOW
from bext_otel.metrics.merging.totals import sum_third_party
from bext_otel.metrics.merging.wire import ThirdPartyFamily, ThirdPartyRow

__all__ = ["OVERFLOW_LABELS", "within_budgets", "within_limit"]

OVERFLOW_LABELS = ((OVERFLOW, "true"),)


def within_limit(family: ThirdPartyFamily, rows: Sequence[ThirdPartyRow]) -> Sequence[ThirdPartyRow]:
    """The rows, those past the limit as one."""
    limit = family.limit
    if not limit or len(rows) <= limit:
        return rows
    # Without attributes there is one at most, which is not counted.
    counted = [row for row in rows if row.labels and row.labels != OVERFLOW_LABELS]
    if len(counted) <= limit:
        return rows
    counted.sort(key=lambda row: (row.began, row.labels))
    kept = {row.labels for row in counted[:limit]}
    past = [row for row in rows if row.labels and row.labels not in kept]
    others = [row for row in rows if not row.labels or row.labels in kept]
    return [*others, replace(_together(family, past), labels=OVERFLOW_LABELS)]


def within_budgets(
    family: ThirdPartyFamily, rows: Sequence[ThirdPartyRow], limits: Mapping[str, int]
) -> Sequence[ThirdPartyRow]:
    """The rows of an instrument of the API's; of an attribute with more values than its limit, those that
    began last are one."""
    for name, limit in limits.items() if family.limit else ():
        first: dict[str, float] = {}
        for row in rows:
            for label, value in row.labels:
                if label == name and value != OVERFLOW:
                    first[value] = min(first.get(value, row.began), row.began)
        if len(first) > limit:
            past = frozenset(sorted(first, key=lambda value: (first[value], value))[limit:])
            rows = _folded(family, rows, name, past)
    return rows


def _folded(
    family: ThirdPartyFamily, rows: Sequence[ThirdPartyRow], name: str, past: Set[str]
) -> list[ThirdPartyRow]:
    alike: dict[tuple[tuple[str, str], ...], list[ThirdPartyRow]] = {}
    for row in rows:
        labels = tuple(
            [(label, OVERFLOW if label == name and value in past else value) for label, value in row.labels]
        )
        alike.setdefault(labels, []).append(row)
    return [
        held[0]
        if len(held) == 1 and held[0].labels == labels
        else replace(_together(family, held), labels=labels)
        for labels, held in alike.items()
    ]


def _together(family: ThirdPartyFamily, rows: Sequence[ThirdPartyRow]) -> ThirdPartyRow:
    if family.merge == "livemostrecent":  # of gauges one value holds: the newest
        return max(rows, key=lambda row: (row.set_at, row.labels))
    return sum_third_party([replace(row, exemplars=()) for row in rows])
