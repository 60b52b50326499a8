"""Quantiles of histograms as senders tell them, whose buckets are those of `bext_otel.metrics`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from bext_otel.metrics.exponential import Buckets
from bext_otel.metrics.values import Histogram

__all__ = ["Cell", "Exponential", "SentHistogram", "bucket_count", "cells", "quantile", "since"]

Cell: TypeAlias = tuple[float, float, int]
"""A bucket: values above `low`, up to `high`, and how many there are."""


@dataclass(frozen=True)
class Exponential:
    """Exponential buckets of both signs, those below zero mirrored, and how many values are zero."""

    zeros: int
    positive: Buckets
    negative: Buckets

    def minus(self, earlier: Exponential) -> Exponential | None:
        """What came since `earlier`, or None if that can't be this one's past."""
        positive = _since(self.positive, earlier.positive)
        negative = _since(self.negative, earlier.negative)
        if positive is None or negative is None or self.zeros < earlier.zeros:
            return None
        return Exponential(self.zeros - earlier.zeros, positive, negative)


SentHistogram: TypeAlias = "Histogram | Exponential"


def bucket_count(histogram: SentHistogram | None) -> int:
    """How many buckets are held."""
    if histogram is None:
        return 0
    if isinstance(histogram, Histogram):
        return len(histogram.counts)
    return len(histogram.positive.packed) + len(histogram.negative.packed)


def since(later: SentHistogram, earlier: SentHistogram) -> SentHistogram | None:
    """What came since `earlier`, or None if that can't be the past of `later`."""
    kept: Any = later
    return kept.minus(earlier) if type(earlier) is type(later) else None


def _since(later: Buckets, earlier: Buckets) -> Buckets | None:
    scale = min(later.scale, earlier.scale)
    return later.coarsened(scale).minus(earlier.coarsened(scale))


def cells(histogram: SentHistogram) -> list[Cell]:
    """Buckets that hold something, in ascending order."""
    if isinstance(histogram, Histogram):
        edges = (-math.inf, *histogram.bounds, math.inf)
        return [(edges[at], edges[at + 1], count) for at, count in enumerate(histogram.counts) if count]
    below = [(-high, -low, count) for low, high, count in reversed(_edged(histogram.negative))]
    zero = [(0.0, 0.0, histogram.zeros)] if histogram.zeros else []
    return below + zero + _edged(histogram.positive)


def _edged(buckets: Buckets) -> list[Cell]:
    return [
        (_edge(index, buckets.scale), _edge(index + 1, buckets.scale), count)
        for index, count in buckets.items()
    ]


def _edge(index: int, scale: int) -> float:
    exponent = math.ldexp(index, -scale)
    return math.inf if exponent >= 1024 else 2.0**exponent


def quantile(
    held: Sequence[Cell], q: float, *, low: float = -math.inf, high: float = math.inf, log: bool = False
) -> float | None:
    """The value below which a share `q` (0 to 1) of what these cells hold lies; None if they hold nothing.

    The rank is ceil(q * n); inside its cell values are taken as evenly spread, on a logarithmic scale with
    `log`, as befits exponential buckets. A cell that is open on one side answers with its closed one. The
    result lies within `low` and `high`, the smallest and largest value known.
    """
    total = sum(count for _, _, count in held)
    if not total:
        return None
    rank = max(1, math.ceil(q * total))
    seen = 0
    for below, above, count in held:
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
    if log and (below > 0 or above < 0):
        return float(below * (above / below) ** share)
    return below + (above - below) * share
