"""Histograms subtracted, and quantiles read from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Cell", "Explicit", "Exponential", "Histogram", "quantile"]

Cell = tuple[float, float, int]
"""A bucket: values above `low`, up to `high`, and how many there are."""


@dataclass(frozen=True)
class Explicit:
    """A histogram with given bounds: `counts` has one more than `bounds`, the last for values above all of
    them."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def buckets(self) -> int:
        """How many buckets are held."""
        return len(self.counts)

    def minus(self, earlier: Histogram) -> Explicit | None:
        """What came since `earlier`, or None if that can't be this histogram's past."""
        if (
            not isinstance(earlier, Explicit)
            or self.bounds != earlier.bounds
            or len(self.counts) != len(earlier.counts)
        ):
            return None
        counts = tuple(now - then for now, then in zip(self.counts, earlier.counts, strict=True))
        return None if any(count < 0 for count in counts) else Explicit(self.bounds, counts)

    def cells(self) -> list[Cell]:
        """Buckets that hold something, in ascending order."""
        edges = (-math.inf, *self.bounds, math.inf)
        return [(edges[index], edges[index + 1], count) for index, count in enumerate(self.counts) if count]


@dataclass(frozen=True)
class Exponential:
    """A histogram whose bucket of index i holds values in (base^i, base^(i+1)], base = 2^(2^-scale); the same
    below zero, mirrored.

    From the metrics data model of OpenTelemetry ("ExponentialHistogram").
    """

    scale: int
    zero: int
    positive: Mapping[int, int]
    negative: Mapping[int, int]

    @property
    def buckets(self) -> int:
        """How many buckets are held."""
        return len(self.positive) + len(self.negative)

    def at(self, scale: int) -> Exponential:
        """The same values in coarser buckets: `scale` is at most this one's. Each step down joins buckets 2i
        and 2i+1."""
        shift = self.scale - scale
        return (
            Exponential(scale, self.zero, _joined(self.positive, shift), _joined(self.negative, shift))
            if shift
            else self
        )

    def minus(self, earlier: Histogram) -> Exponential | None:
        """What came since `earlier`, or None if that can't be this histogram's past."""
        if not isinstance(earlier, Exponential):
            return None
        scale = min(self.scale, earlier.scale)
        now, then = self.at(scale), earlier.at(scale)
        positive, negative = _less(now.positive, then.positive), _less(now.negative, then.negative)
        if positive is None or negative is None or now.zero < then.zero:
            return None
        return Exponential(scale, now.zero - then.zero, positive, negative)

    def cells(self) -> list[Cell]:
        """Buckets that hold something, in ascending order."""
        below = [
            (-self._edge(i + 1), -self._edge(i), n)
            for i, n in sorted(self.negative.items(), reverse=True)
            if n
        ]
        zero = [(0.0, 0.0, self.zero)] if self.zero else []
        above = [(self._edge(i), self._edge(i + 1), n) for i, n in sorted(self.positive.items()) if n]
        return below + zero + above

    def _edge(self, index: int) -> float:
        exponent = math.ldexp(index, -self.scale)
        return math.inf if exponent >= 1024 else 2.0**exponent


Histogram = Explicit | Exponential


def quantile(
    cells: Sequence[Cell], q: float, *, low: float = -math.inf, high: float = math.inf, log: bool = False
) -> float | None:
    """The value below which a share `q` (0 to 1) of what the cells hold lies; None if they hold nothing.

    The rank is ceil(q * n); inside its cell values are taken as evenly spread, on a logarithmic scale with
    `log`, as befits exponential buckets. A cell that is open on one side answers with its closed one. The
    result lies within `low` and `high`, the smallest and largest value known.
    """
    total = sum(count for _, _, count in cells)
    if not total:
        return None
    rank = max(1, math.ceil(q * total))
    seen = 0
    for below, above, count in cells:
        if seen + count >= rank:
            return min(max(_inside(below, above, (rank - seen) / count, log=log), low), high)
        seen += count
    return None


def _inside(below: float, above: float, share: float, *, log: bool) -> float:
    if math.isinf(above):
        return below if math.isfinite(below) else 0.0
    if math.isinf(below):
        # The first bucket of a histogram of durations or sizes starts at zero, although its lower bound is
        # open.
        below = min(0.0, above)
    if log and below > 0:
        return float(below * (above / below) ** share)
    if log and above < 0:
        return float(below * (above / below) ** share)
    return below + (above - below) * share


def _joined(buckets: Mapping[int, int], shift: int) -> dict[int, int]:
    joined: dict[int, int] = {}
    for index, count in buckets.items():
        joined[index >> shift] = joined.get(index >> shift, 0) + count
    return joined


def _less(now: Mapping[int, int], then: Mapping[int, int]) -> dict[int, int] | None:
    rest = dict(now)
    for index, count in then.items():
        rest[index] = rest.get(index, 0) - count
    return (
        None
        if any(count < 0 for count in rest.values())
        else {index: count for index, count in rest.items() if count}
    )
