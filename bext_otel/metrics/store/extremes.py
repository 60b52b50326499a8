"""The least and the greatest value of a series since somebody was told of them last.

Of a series' totals what came in an interval is the difference; of its extremes it is not. So a cell keeps
those of the interval for each account of deltas that has been told of it, and none for those who want totals,
as nearly all do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias
from weakref import ref

__all__ = ["NONE_YET", "Extremes", "Intervals", "Told", "begin_interval", "both", "widened"]

Extremes: TypeAlias = tuple[float, float]
"""The least value and the greatest; infinite where there is none."""

Intervals: TypeAlias = "Mapping[ref[Any], Extremes] | None"
"""By whom they are told to, who may be gone. Never changed, but replaced: by who drains, or reads, under the
reading's lock."""

NONE_YET: Extremes = (math.inf, -math.inf)


class Told(Protocol):
    """A cell that keeps them."""

    intervals: Intervals


def both(one: Extremes, other: Extremes) -> Extremes:
    """Of two intervals."""
    return min(one[0], other[0]), max(one[1], other[1])


def widened(intervals: Intervals, least: float, most: float) -> Intervals:
    """With values from `least` to `most` that have come."""
    if not intervals:
        return None
    return {
        account: both(extremes, (least, most))
        for account, extremes in intervals.items()
        if account() is not None
    }


def begin_interval(cell: Told, account: ref[Any]) -> Extremes | None:
    """Those since this was called last for this account; None at the first time."""
    intervals = cell.intervals or {}
    cell.intervals = {**intervals, account: NONE_YET}
    return intervals.get(account)
