"""Exponential buckets at one fixed scale: counts whose merge is adding.

Bucket `i` holds the values in `(base ** i, base ** (i + 1)]`, as in OpenTelemetry's exponential histogram,
with `base = 2 ** 2 ** -SCALE`.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import ceil, log2
from operator import add

__all__ = ["MAX_OTLP_BUCKETS", "SCALE", "Buckets", "Scaled", "counted", "dense", "quantiles"]

SCALE = 6
"""At scale 6 a bucket is 1.09 % wide, so the middle of a value's bucket is at most 0.54 % away from the
value."""

MAX_OTLP_BUCKETS = 160
"""Most buckets of an exported data point; the OpenTelemetry SDK's own default."""

_times_per_octave = float(1 << SCALE).__mul__

# Unsigned integers of 1, 2, 4 and 8 bytes: most buckets of a short time hold less than 256 values.
_WIDTHS = "BHIQ"


def counted(values: Iterable[float]) -> Counter[int]:
    """Bucket index to how many of the positive finite `values` it holds. C-level iterators: this runs for
    every recorded value."""
    # Ceil instead of floor makes a bucket's upper bound inclusive, which is OpenTelemetry's way; its index is
    # one less.
    found: Counter[int] = Counter()
    found.update(map(ceil, map(_times_per_octave, map(log2, values))))
    return Counter({index - 1: count for index, count in found.items()})


class Buckets:
    """Counts of neighbouring buckets, as narrow as they go: `counts[k]` is that of bucket `offset + k`."""

    __slots__ = ("counts", "offset")

    def __init__(self, offset: int = 0, counts: array[int] | None = None) -> None:
        self.offset = offset
        self.counts: array[int] = array("B") if counts is None else counts

    def copy(self) -> Buckets:
        """The same counts, to be added to."""
        return Buckets(self.offset, self.counts[:])

    def become(self, other: Buckets) -> None:
        """Have the other's counts, which has no other use: objects that live on cost the garbage collector
        less than new ones."""
        self.offset, self.counts = other.offset, other.counts

    def add(self, more: Mapping[int, int]) -> None:
        """Add counts by bucket index."""
        if not more:
            return
        self._reach(min(more), max(more))
        counts, offset = self.counts, self.offset
        for index, count in more.items():
            try:
                counts[index - offset] += count
            except OverflowError:
                counts = self._widen(counts[index - offset] + count)
                counts[index - offset] += count

    @classmethod
    def merged(cls, parts: Iterable[Buckets]) -> Buckets:
        """The sum of several."""
        filled = [part for part in parts if part.counts]
        if len(filled) <= 1:
            return filled[0] if filled else cls()
        low = min(part.offset for part in filled)
        high = max(part.offset + len(part.counts) for part in filled)
        total = [0] * (high - low)
        for part in filled:
            start, end = part.offset - low, part.offset - low + len(part.counts)
            total[start:end] = map(add, total[start:end], part.counts)
        return cls(low, array(_width_for(max(total)), total))

    def items(self) -> list[tuple[int, int]]:
        """Bucket index and count of those that hold something, ascending."""
        return [(index, count) for index, count in enumerate(self.counts, self.offset) if count]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Buckets) and self.items() == other.items()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Buckets({dict(self.items())!r})"

    def _reach(self, low: int, high: int) -> None:
        """Make room for buckets `low` to `high`."""
        if not self.counts:
            self.offset = low
            self.counts.frombytes(bytes(high - low + 1))
            return
        code, size = self.counts.typecode, self.counts.itemsize
        if low < self.offset:
            self.counts = array(code, bytes((self.offset - low) * size)) + self.counts
            self.offset = low
        if (missing := high - self.offset - len(self.counts) + 1) > 0:
            self.counts.frombytes(bytes(missing * size))

    def _widen(self, largest: int) -> array[int]:
        self.counts = array(_width_for(largest), self.counts)
        return self.counts


def _width_for(largest: int) -> str:
    return next(code for code in _WIDTHS if largest < 1 << 8 * array(code).itemsize)


def quantiles(
    qs: Sequence[float], buckets: Buckets, zeros: int, smallest: float, largest: float
) -> tuple[tuple[float, float], ...]:
    """Pairs of `q` and the `ceil(q * n)`-th smallest of the values counted, within 0.54 %; NaN of none.

    `smallest` and `largest` of the values bound the answer, so a constant comes back exactly. Each `q` is
    within (0, 1].
    """
    cumulative = list(accumulate(buckets.counts, initial=zeros))
    count = cumulative[-1]
    if not count:
        return tuple((q, math.nan) for q in qs)
    found = []
    for q in qs:
        # Position 0 stands for the zeros, position k for bucket `offset + k - 1`.
        position = bisect_left(cumulative, ceil(q * count))
        middle = 2.0 ** ((buckets.offset + position - 0.5) / (1 << SCALE)) if position else 0.0
        found.append((q, min(max(middle, smallest), largest)))
    return tuple(found)


class Scaled:
    """Buckets for life: never more than `MAX_OTLP_BUCKETS`, at the finest scale at which they fit, as
    OpenTelemetry exports them.

    A step down merges pairs of neighbours (perfect subsetting), so that adding never loses a value.
    """

    __slots__ = ("buckets", "scale")

    def __init__(self, scale: int = SCALE, buckets: Buckets | None = None) -> None:
        self.scale = scale
        self.buckets = Buckets() if buckets is None else buckets

    def copy(self) -> Scaled:
        """The same counts, to be added to."""
        return Scaled(self.scale, self.buckets.copy())

    def become(self, other: Scaled) -> None:
        """Have the other's counts; see `Buckets.become`."""
        self.scale = other.scale
        self.buckets.become(other.buckets)

    def add(self, more: Mapping[int, int], scale: int = SCALE) -> None:
        """Add counts by bucket index at `scale`, which is not coarser than the coarsest of the two
        afterwards."""
        if not more:
            return
        self._coarsen(min(scale, self.scale))
        low, high = min(more) >> (scale - self.scale), max(more) >> (scale - self.scale)
        if self.buckets.counts:
            low, high = (
                min(low, self.buckets.offset),
                max(high, self.buckets.offset + len(self.buckets.counts) - 1),
            )
        fitting = self.scale
        while high - low >= MAX_OTLP_BUCKETS:
            low, high, fitting = low >> 1, high >> 1, fitting - 1
        self._coarsen(fitting)
        self.buckets.add(_shifted(more.items(), scale - self.scale))

    def merge(self, other: Scaled) -> None:
        """Add another's counts."""
        self.add(dict(other.buckets.items()), other.scale)

    def _coarsen(self, scale: int) -> None:
        if scale < self.scale:
            held, shift = self.buckets.items(), self.scale - scale
            self.buckets, self.scale = Buckets(), scale
            self.buckets.add(_shifted(held, shift))


def _shifted(items: Iterable[tuple[int, int]], shift: int) -> dict[int, int]:
    merged: dict[int, int] = {}
    for index, count in items:
        merged[index >> shift] = merged.get(index >> shift, 0) + count
    return merged


def dense(scale: int, offset: int, counts: Iterable[int]) -> list[tuple[float, int]]:
    """Upper bounds and counts of a data point's non-empty buckets, ascending."""
    step = 2.0**-scale
    return [
        (2.0 ** ((offset + position + 1) * step), count) for position, count in enumerate(counts) if count
    ]
