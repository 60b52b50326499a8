"""Several rows of one series as one, whatever their order.

Floats are added exactly and rounded once, at the end. Added one after another they would differ in the last
digit by the order, which is another one in each worker, and Prometheus takes a counter that falls by one
digit for one that has begun anew. For the same reason what is taken over from workers that are gone keeps a
sum as a few floats whose exact sum it is (Shewchuk's partials), each in a row of its own.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from operator import itemgetter
from typing import TypeAlias, TypeVar

from bext_otel.metrics.exponential import Scaled
from bext_otel.metrics.merging.wire import (
    Exemplified,
    ForeignExemplar,
    HistogramRow,
    Labels,
    NumberRow,
    SummaryRow,
    ThirdPartyRow,
)
from bext_otel.metrics.numbers import exact
from bext_otel.metrics.window import Recent

__all__ = [
    "compact_histograms",
    "compact_numbers",
    "compact_summaries",
    "compact_third_party",
    "newest_exemplar",
    "partials",
    "recent",
    "sum_histograms",
    "sum_third_party",
    "total",
]

Bucketed: TypeAlias = tuple[tuple[float, ...], tuple[int, ...], float, int]
_measured_at = itemgetter(1)
T = TypeVar("T", NumberRow, HistogramRow, SummaryRow)

# Windows end on steps that are a fifth of their length, so of one length no more than six are under way. Of
# several, that many are kept.
_MOST_WINDOWS = 8

# Bounds of other libraries' exponential histograms, whose buckets move: more than this say nothing that is
# worth their room.
_MOST_BOUNDS = 640


def total(values: Sequence[float]) -> float:
    """The sum, rounded once; an int of ints."""
    plain = sum(values)
    if isinstance(plain, int) or not math.isfinite(plain):
        return exact(plain)
    return math.fsum(values)


def partials(values: Sequence[float]) -> list[float]:
    """A few floats whose exact sum is that of the values; one int of ints."""
    plain = sum(values)
    if isinstance(plain, int) or not math.isfinite(plain):
        return [exact(plain)]
    found: list[float] = []
    for value in values:
        high, kept = float(value), 0
        for part in found:
            large, small = (high, part) if abs(high) >= abs(part) else (part, high)
            high = large + small
            if lost := small - (high - large):
                found[kept] = lost
                kept += 1
        found[kept:] = [high]
    # The largest first: that one alone is the sum, but for the last digit.
    return found[::-1]


def newest_exemplar(rows: Iterable[T]) -> Exemplified:
    """The exemplar that was measured last."""
    told = [row.exemplar for row in rows if row.exemplar is not None]
    return max(told, key=_measured_at) if told else None


def recent(rows: Sequence[SummaryRow], now: float) -> Recent | None:
    """The windows of several rows of one series, together; None if all of them are over."""
    windows = [window for row in rows if (window := row.recent(now)) is not None]
    return Recent.merged(windows) if windows else None


def compact_numbers(labels: Labels, rows: Sequence[NumberRow]) -> list[NumberRow]:
    """As few rows as say exactly the same."""
    exemplar = newest_exemplar(rows)
    return [
        NumberRow(labels, value, exemplar if not position else None)
        for position, value in enumerate(partials([row.value for row in rows]))
    ]


def sum_histograms(rows: Sequence[HistogramRow]) -> HistogramRow:
    """The row of what they count together; the bounds are the catalogue's, the same in every worker of one
    version."""
    first = rows[0]
    if len(rows) == 1:
        return first
    alike = [row for row in rows if len(row.counts) == len(first.counts)]
    return HistogramRow(
        first.labels,
        tuple(map(sum, zip(*[row.counts for row in alike], strict=True))),
        total([row.sum for row in alike]),
        sum(row.count for row in alike),
        newest_exemplar(alike),
    )


def compact_histograms(labels: Labels, rows: Sequence[HistogramRow]) -> list[HistogramRow]:
    """As few rows as say exactly the same: the first has the counts."""
    first = sum_histograms(rows)
    largest, *more = partials([row.sum for row in rows if len(row.counts) == len(first.counts)])
    nothing = (0,) * len(first.counts)
    return [
        HistogramRow(labels, first.counts, largest, first.count, first.exemplar),
        *[HistogramRow(labels, nothing, part, 0) for part in more],
    ]


def compact_summaries(labels: Labels, rows: Sequence[SummaryRow], now: float) -> list[SummaryRow]:
    """As few rows as say the same: the first has the life, and each a window with an end of its own, so that
    all of it fades in time."""
    life = Scaled()
    for row in rows:
        life.merge(row.lifetime())
    largest, *more = partials([row.sum for row in rows])
    totals = (
        sum(row.count for row in rows),
        largest,
        sum(row.zeros for row in rows),
        min(row.minimum for row in rows),
        max(row.maximum for row in rows),
    )
    none = (0.0, Recent.merged([]))
    (end, window), *windows = _by_end(rows, now) or [none]
    found = [SummaryRow.of(labels, totals, life, window, end, newest_exemplar(rows))]
    for position in range(max(len(more), len(windows))):
        part = more[position] if position < len(more) else 0.0
        end, window = windows[position] if position < len(windows) else none
        found.append(SummaryRow.of(labels, (0, part, 0, math.inf, -math.inf), Scaled(), window, end))
    return found


def _by_end(rows: Iterable[SummaryRow], now: float) -> list[tuple[float, Recent]]:
    """Windows that are not over, by when they are."""
    held: dict[float, list[Recent]] = {}
    for row in rows:
        if (window := row.recent(now)) is not None:
            held.setdefault(row.empty_at, []).append(window)
    windows = [(end, Recent.merged(held[end])) for end in sorted(held)]
    while len(windows) > _MOST_WINDOWS:
        # The two that end nearest to each other, at the earlier end: nothing may stay for longer than it
        # would have.
        near = min(range(len(windows) - 1), key=lambda at: windows[at + 1][0] - windows[at][0])
        windows[near : near + 2] = [
            (windows[near][0], Recent.merged([windows[near][1], windows[near + 1][1]]))
        ]
    return windows


def sum_third_party(rows: Sequence[ThirdPartyRow]) -> ThirdPartyRow:
    """The row of what they count together."""
    first = rows[0]
    if len(rows) == 1:
        return first
    measured = [row.histogram for row in rows if row.histogram is not None]
    told = max((row.time_unix for row in rows if row.time_unix is not None), default=None)
    if measured:
        bounds, counts = _bucketed(measured)
        alike = [row for row in rows if row.histogram is None or row.histogram[0] == bounds]
        one = (bounds, counts, total([each[2] for each in measured]), sum(each[3] for each in measured))
        return ThirdPartyRow(first.labels, None, one, _newest_exemplars(alike), told)
    return ThirdPartyRow(
        first.labels,
        total([row.number for row in rows if row.number is not None]),
        None,
        _newest_exemplars(rows),
        told,
    )


def _newest_exemplars(rows: Iterable[ThirdPartyRow]) -> tuple[ForeignExemplar, ...]:
    """Of each bucket the exemplar that was measured last; one without a time is older than all that have
    one."""
    found: dict[int, ForeignExemplar] = {}
    for row in rows:
        for exemplar in row.exemplars:
            before = found.get(exemplar[0])
            if before is None or not before[2] >= exemplar[2]:
                found[exemplar[0]] = exemplar
    return tuple(found.values())


def compact_third_party(rows: Sequence[ThirdPartyRow]) -> list[ThirdPartyRow]:
    """As few rows as say exactly the same."""
    one = sum_third_party(rows)
    if one.histogram is None:
        largest, *more = partials([row.number for row in rows if row.number is not None])
        return [
            ThirdPartyRow(one.labels, largest, None, one.exemplars, one.time_unix),
            *[ThirdPartyRow(one.labels, part) for part in more],
        ]
    bounds, counts, _, count = one.histogram
    largest, *more = partials([row.histogram[2] for row in rows if row.histogram is not None])
    nothing = (0,) * len(counts)
    return [
        ThirdPartyRow(one.labels, None, (bounds, counts, largest, count), one.exemplars, one.time_unix),
        *[ThirdPartyRow(one.labels, None, (bounds, nothing, part, 0)) for part in more],
    ]


def _bucketed(rows: Sequence[Bucketed]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Bounds and counts of several. Bounds that differ are those of exponential histograms: each count stays
    below its own bound."""
    if len({bounds for bounds, *_ in rows}) == 1:
        return rows[0][0], tuple(map(sum, zip(*[counts for _, counts, *_ in rows], strict=True)))
    bounds = sorted({bound for row in rows for bound in row[0]})
    while len(bounds) > _MOST_BOUNDS:
        bounds = bounds[1::2]
    found = [0] * (len(bounds) + 1)
    for own, counts, *_ in rows:
        for bound, count in zip_longest(own, counts, fillvalue=math.inf):
            found[bisect_left(bounds, bound)] += int(count)
    return tuple(bounds), tuple(found)
