"""Values of a series, one shape each: what a cell yields is what workers publish, what a snapshot shows and
what OTLP converts.

A number is Python's own. Everything else is a frozen struct that adds up (`plus`, and `merged` for many),
that an earlier one is taken from (`minus`, None where that cannot be its past), and that can be made coarser.
Adding is associative and commutative (tests hold it to that).

Sums of floats are exact and rounded once. Added one after another they would differ in the last digit by the
order, which is another one in each worker, and Prometheus takes a counter that falls by one digit for one
that has begun anew. So a `sum` has what rounding took from it beside it, as a few floats (`lost`) that are
added up with it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias, TypeVar, Union, cast

import msgspec
from msgspec.structs import replace

from bext_otel.catalogue import QUANTILES
from bext_otel.metrics.exponential import MAX_OTLP_BUCKETS, Buckets, quantiles

__all__ = [
    "Distribution",
    "Histogram",
    "Quantiles",
    "Recent",
    "Summary",
    "Total",
    "Value",
    "merged",
    "minus",
    "plain",
    "total",
]

Quantiles: TypeAlias = tuple[tuple[float, float], ...]
"""Pairs of a quantile and its value."""

# Windows end on steps that are a fifth of their length, so of one length no more than six are under way. Of
# several, that many are kept.
_MOST_WINDOWS = 8

# Bounds of other libraries' exponential histograms, whose buckets move: more than this say nothing that is
# worth their room.
_MOST_BOUNDS = 640

_LEAST_WHOLE, _GREATEST_WHOLE = -(1 << 63), (1 << 63) - 1


def total(values: Sequence[float]) -> float:
    """The sum, rounded once; an int of ints, if it fits in 64 bits."""
    plain_sum = sum(values)
    if isinstance(plain_sum, int):
        return plain_sum if _LEAST_WHOLE <= plain_sum <= _GREATEST_WHOLE else float(plain_sum)
    return math.fsum(values) if math.isfinite(plain_sum) else plain_sum


def _exactly(values: list[float]) -> tuple[float, tuple[float, ...]]:
    """The sum, and what rounding took from it: each float is what is left of the exact sum, rounded, so that
    equal sums are equal."""
    rounded = total(values)
    if isinstance(rounded, int) or not math.isfinite(rounded):
        return rounded, ()
    lost: list[float] = []
    left = [*values, -rounded]
    while more := math.fsum(left):
        lost.append(more)
        left.append(-more)
    return rounded, tuple(lost)


class Total(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="t"):
    """A number whose exact sum takes more than one float."""

    sum: float
    lost: tuple[float, ...]


class Histogram(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="h"):
    """Explicit buckets. `counts` are not cumulative, and one longer than `bounds`: the last one is everything
    above the last bound.

    `minimum` and `maximum` of the values are infinite where they are not known.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float
    count: int
    minimum: float = math.inf
    maximum: float = -math.inf
    lost: tuple[float, ...] = ()

    @classmethod
    def merged(cls, parts: Sequence[Histogram]) -> Histogram:
        """The sum of several. Bounds that differ are those of exponential histograms: each count stays below
        its own bound."""
        if len(parts) == 1:
            return parts[0]
        bounds = parts[0].bounds
        if any(part.bounds != bounds for part in parts):
            found = sorted({bound for part in parts for bound in part.bounds})
            while len(found) > _MOST_BOUNDS:
                found = found[1::2]
            bounds = tuple(found)
        counts = tuple(map(sum, zip(*[part.coarsened(bounds).counts for part in parts], strict=True)))
        exact, lost = _sum_of(parts)
        return cls(bounds, counts, exact, sum([part.count for part in parts]), *_extremes(parts), lost)

    def plus(self, other: Histogram) -> Histogram:
        """The sum."""
        return Histogram.merged((self, other))

    def minus(self, earlier: Histogram) -> Histogram | None:
        """What came since; None if `earlier` can't be the past of this. An extreme is known only if it is a
        new one."""
        if self.bounds != earlier.bounds or len(self.counts) != len(earlier.counts):
            return None
        counts = tuple([now - then for now, then in zip(self.counts, earlier.counts, strict=True)])
        if min(counts) < 0:
            return None
        exact, lost = _difference(self, earlier)
        return Histogram(
            self.bounds, counts, exact, self.count - earlier.count, *_new_extremes(self, earlier), lost
        )

    def coarsened(self, bounds: tuple[float, ...]) -> Histogram:
        """The same values in other buckets: each count goes where its own bound lies."""
        if bounds == self.bounds:
            return self
        counts = [0] * (len(bounds) + 1)
        for bound, count in zip_longest(self.bounds, self.counts, fillvalue=math.inf):
            counts[bisect_left(bounds, bound)] += int(count)
        return replace(self, bounds=bounds, counts=tuple(counts))


class Summary(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="s"):
    """What another library says of values that it has not kept: their count and sum, and quantiles, which
    nobody can add up."""

    count: int
    sum: float
    told: Quantiles = ()
    lost: tuple[float, ...] = ()

    @classmethod
    def merged(cls, parts: Sequence[Summary]) -> Summary:
        """The sum of several; the quantiles are those of the busiest."""
        if len(parts) == 1:
            return parts[0]
        exact, lost = _sum_of(parts)
        return cls(
            sum([part.count for part in parts]), exact, max(parts, key=lambda part: part.count).told, lost
        )

    def plus(self, other: Summary) -> Summary:
        """The sum; the quantiles are those of the busier one."""
        return Summary.merged((self, other))

    def minus(self, earlier: Summary) -> Summary | None:
        """What came since; None if `earlier` can't be the past of this. The quantiles stay."""
        if self.count < earlier.count:
            return None
        exact, lost = _difference(self, earlier)
        return Summary(self.count - earlier.count, exact, self.told, lost)

    def quantiles(self) -> Quantiles:
        """Those that it came with."""
        return self.told


class Recent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The values of a window: counts by bucket, how many were zero, the least and the greatest.

    From `empty_at` on (monotonic seconds, which all processes of a Linux host share) nothing of it is recent
    any more.
    """

    buckets: Buckets = Buckets()
    zeros: int = 0
    low: float = math.inf
    high: float = -math.inf
    empty_at: float = 0.0

    @classmethod
    def merged(cls, parts: Sequence[Recent]) -> Recent:
        """Of several windows together: those of frames, or those of workers."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            Buckets.merged([part.buckets for part in parts]),
            sum([part.zeros for part in parts]),
            min([part.low for part in parts], default=math.inf),
            max([part.high for part in parts], default=-math.inf),
            max([part.empty_at for part in parts], default=0.0),
        )

    def quantiles(self) -> Quantiles:
        """Those of the catalogue; NaN where the window is empty."""
        return quantiles(QUANTILES, self.buckets, self.zeros, self.low, self.high)


class Distribution(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="d"):
    """Values counted in exponential buckets: those of a whole life, coarsened to what OTLP takes, and recent
    ones at full resolution.

    `lives` and `windows` are parts whose sum is meant: adding puts parts beside each other, and what is asked
    for adds those up. A worker's own has one of each; `compacted` has one life, and as many windows as end at
    different times.
    """

    count: int = 0
    sum: float = 0.0
    zeros: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    lives: tuple[Buckets, ...] = ()
    windows: tuple[Recent, ...] = ()
    lost: tuple[float, ...] = ()

    @classmethod
    def merged(cls, parts: Sequence[Distribution]) -> Distribution:
        """The sum of several."""
        if len(parts) == 1:
            return parts[0]
        exact, lost = _sum_of(parts)
        return cls(
            sum([part.count for part in parts]),
            exact,
            sum([part.zeros for part in parts]),
            *_extremes(parts),
            tuple([life for part in parts for life in part.lives]),
            tuple([window for part in parts for window in part.windows]),
            lost,
        )

    def plus(self, other: Distribution) -> Distribution:
        """The sum."""
        return Distribution.merged((self, other))

    def minus(self, earlier: Distribution) -> Distribution | None:
        """What came since; None if `earlier` can't be the past of this. An extreme is known only if it is a
        new one; windows stay."""
        life = self.life.minus(earlier.life)
        if life is None or self.count < earlier.count or self.zeros < earlier.zeros:
            return None
        exact, lost = _difference(self, earlier)
        extremes = _new_extremes(self, earlier)
        return Distribution(
            self.count - earlier.count,
            exact,
            self.zeros - earlier.zeros,
            *extremes,
            (life,),
            self.windows,
            lost,
        )

    def coarsened(self, scale: int) -> Distribution:
        """The same values, with the life at a scale that is at most its own; windows stay."""
        return replace(self, lives=(self.life.coarsened(scale),))

    def compacted(self, now: float) -> Distribution:
        """The same in few parts, without what is not recent any more at `now` (monotonic seconds)."""
        return replace(self, lives=(self.life,), windows=_by_end(self.recent_at(now).windows))

    def recent_at(self, now: float) -> Distribution:
        """The same, without windows that are over at `now`."""
        if all(window.empty_at > now for window in self.windows):
            return self
        return replace(self, windows=tuple([window for window in self.windows if window.empty_at > now]))

    @property
    def life(self) -> Buckets:
        """All values, in no more than `MAX_OTLP_BUCKETS`, at the finest scale at which they fit."""
        return Buckets.merged(self.lives, MAX_OTLP_BUCKETS)

    @property
    def recent(self) -> Recent:
        """All recent values."""
        return Recent.merged(self.windows)

    def quantiles(self) -> Quantiles:
        """Those of the catalogue, of the recent values; NaN where there are none."""
        return self.recent.quantiles()


# Evaluated by msgspec, which cannot read the text of a type on Python 3.10.
Value: TypeAlias = Union[int, float, Total, Histogram, Summary, Distribution]  # noqa: UP007

_PLAIN = frozenset({int, float})

_Measured: TypeAlias = "Histogram | Summary | Distribution"
V = TypeVar("V", bound=Value)


def merged(values: Sequence[V]) -> V:
    """The sum of values of one kind; numbers that take more than one float are a `Total`."""
    first = values[0]
    if len(values) == 1:
        return first
    if isinstance(first, (Histogram, Summary, Distribution)):
        kind: Any = type(first)
        return cast("V", kind.merged([value for value in values if type(value) is kind]))
    plains: Any = values if _PLAIN.issuperset(map(type, values)) else list(_parts(values))
    exact, lost = _exactly(plains)
    return cast("V", Total(exact, lost) if lost else exact)


def minus(value: V, earlier: Value) -> V | None:
    """What came since; None if `earlier` can't be the past of `value`."""
    if isinstance(value, (Histogram, Summary, Distribution)):
        later: Any = value
        return cast("V | None", later.minus(earlier)) if type(earlier) is type(value) else None
    if isinstance(earlier, (Histogram, Summary, Distribution)):
        return None
    now, then = plain(cast("float", value)), plain(earlier)
    return cast("V", now - then) if now >= then else None


def plain(value: float | Total) -> float:
    """A number, rounded."""
    return value.sum if isinstance(value, Total) else value


def _parts(values: Iterable[Any]) -> Iterable[float]:
    for value in values:
        if isinstance(value, Total):
            yield value.sum
            yield from value.lost
        elif isinstance(value, (int, float)):
            yield value


def _sum_of(parts: Sequence[_Measured]) -> tuple[float, tuple[float, ...]]:
    return _exactly([number for part in parts for number in (part.sum, *part.lost)])


def _difference(value: _Measured, earlier: _Measured) -> tuple[float, tuple[float, ...]]:
    return _exactly([value.sum, *value.lost, -earlier.sum, *[-number for number in earlier.lost]])


def _extremes(parts: Sequence[Histogram] | Sequence[Distribution]) -> tuple[float, float]:
    return min([part.minimum for part in parts], default=math.inf), max(
        [part.maximum for part in parts], default=-math.inf
    )


def _new_extremes(value: Histogram | Distribution, earlier: Histogram | Distribution) -> tuple[float, float]:
    return (
        value.minimum if value.minimum < earlier.minimum else math.inf,
        value.maximum if value.maximum > earlier.maximum else -math.inf,
    )


def _by_end(windows: Sequence[Recent]) -> tuple[Recent, ...]:
    """As many windows as end at different times, so that all of them fade as if they had never been put
    together."""
    held: dict[float, list[Recent]] = {}
    for window in windows:
        held.setdefault(window.empty_at, []).append(window)
    found = [Recent.merged(held[end]) for end in sorted(held)]
    while len(found) > _MOST_WINDOWS:
        # The two that end nearest to each other, at the earlier end: nothing may stay for longer than it
        # would have.
        near = min(range(len(found) - 1), key=lambda at: found[at + 1].empty_at - found[at].empty_at)
        joined = Recent.merged(found[near : near + 2])
        found[near : near + 2] = [replace(joined, empty_at=found[near].empty_at)]
    return tuple(found)
