"""Exponential buckets, a frozen value: counts whose merge is adding, packed as they are published.

Bucket `i` holds the values in `(base ** i, base ** (i + 1)]`, as in OpenTelemetry's exponential histogram,
with `base = 2 ** 2 ** -scale`. A step down in scale merges pairs of neighbours (perfect subsetting), so that
no value is lost.
"""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import ceil, log2
from operator import add

import msgspec

__all__ = ["MAX_OTLP_BUCKETS", "SCALE", "Buckets", "bucket_index", "counted", "quantiles"]

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


_SMALLEST = sys.float_info.min


def bucket_index(value: float, scale: int) -> int:
    """The bucket of a positive finite number at a scale, as OpenTelemetry's SDKs compute it: exact for powers
    of two."""
    fraction, exponent = math.frexp(max(value, _SMALLEST))
    if fraction == 0.5:  # a power of two is the upper bound of its bucket
        exponent -= 2
        return (((exponent + 1) << scale) - 1) if scale > 0 else exponent >> -scale
    if scale <= 0:
        return (exponent - 1) >> -scale
    return math.floor(math.log(value) * (2.0**scale / _LN2))


_LN2 = math.log(2.0)


class Buckets(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Counts of neighbouring buckets: the first is bucket `offset`. The first and the last hold something, so
    equal counts are equal.

    `packed` has them as machine integers of type `width`, as narrow as they go, in native order: nobody but a
    process of the same host reads them.
    """

    scale: int = SCALE
    offset: int = 0
    width: str = "B"
    packed: bytes = b""

    @classmethod
    def dense(cls, scale: int, offset: int, counts: Iterable[int]) -> Buckets:
        """The buckets whose counts from `offset` on are `counts`, none of them negative."""
        held = list(counts)
        filled = [position for position, count in enumerate(held) if count]
        if not filled:
            return cls(scale)
        return _packed(scale, offset + filled[0], held[filled[0] : filled[-1] + 1])

    @classmethod
    def merged(cls, parts: Iterable[Buckets], at_most: int | None = None) -> Buckets:
        """The sum of several, at the coarsest of their scales, or at the finest below it that has no more
        than `at_most` buckets."""
        filled = [part for part in parts if part.packed]
        if len(filled) <= 1:
            return filled[0].fitting(at_most) if filled else cls()
        scale = min([part.scale for part in filled])
        held = [part.coarsened(scale) for part in filled]
        low, high = min([part.offset for part in held]), max([part.last for part in held])
        if down := _steps_to_fit(low, high, at_most):
            return cls.merged([part.coarsened(scale - down) for part in held])
        total = [0] * (high - low + 1)
        for part in held:
            start, counts = part.offset - low, part._counts
            end = start + len(counts)
            total[start:end] = map(add, total[start:end], counts)
        return _packed(scale, low, total)

    @property
    def counts(self) -> array[int]:
        """The counts from `offset` on, as a copy."""
        return array(self.width, self.packed)

    def items(self) -> list[tuple[int, int]]:
        """Bucket index and count of those that hold something, ascending."""
        return [(index, count) for index, count in enumerate(self._counts, self.offset) if count]

    def bounds(self) -> list[tuple[float, int]]:
        """Upper bound and count of those that hold something, ascending; no bound is above the greatest
        number that is finite."""
        step = 2.0**-self.scale
        return [(_power((index + 1) * step), count) for index, count in self.items()]

    def lower_bounds(self) -> list[tuple[float, int]]:
        """Lower bound and count of those that hold something, ascending."""
        step = 2.0**-self.scale
        return [(_power(index * step), count) for index, count in self.items()]

    def plus(self, other: Buckets) -> Buckets:
        """The sum, at the coarser of both scales."""
        return Buckets.merged((self, other))

    def plus_counted(self, more: Mapping[int, int], at_most: int | None = None) -> Buckets:
        """The sum with counts by bucket index at `SCALE`; as `merged`, but quick for a few values, as it runs
        for each batch of them."""
        if not more:
            return self
        if self.scale != SCALE:
            more = _shifted(more.items(), SCALE - self.scale)
        low, high = min(more), max(more)
        if self.packed:
            low, high = min(low, self.offset), max(high, self.last)
        if down := _steps_to_fit(low, high, at_most):
            return self.coarsened(self.scale - down)._plus(
                _shifted(more.items(), down), low >> down, high >> down
            )
        return self._plus(more, low, high)

    def minus(self, earlier: Buckets) -> Buckets | None:
        """What came since, at this scale, since a life only ever gets coarser; None if `earlier` can't be the
        past of these."""
        if not earlier.packed:
            return self
        if earlier.scale < self.scale:
            return None
        before = earlier.coarsened(self.scale)
        if before.offset < self.offset or before.last > self.last:
            return None
        counts = self.counts.tolist()
        for index, count in before.items():
            counts[index - self.offset] -= count
        return Buckets.dense(self.scale, self.offset, counts) if min(counts) >= 0 else None

    def coarsened(self, scale: int) -> Buckets:
        """The same values at a scale that is at most this one's."""
        shift = self.scale - scale
        if not shift:
            return self
        if not self.packed:
            return Buckets(scale)
        low, total = self.offset >> shift, [0] * ((self.last >> shift) - (self.offset >> shift) + 1)
        for index, count in enumerate(self._counts, self.offset):
            total[(index >> shift) - low] += count
        return _packed(scale, low, total)

    def fitting(self, at_most: int | None) -> Buckets:
        """The same values at the finest scale at which there are no more than `at_most` buckets."""
        return self.coarsened(self.scale - _steps_to_fit(self.offset, self.last, at_most))

    @property
    def last(self) -> int:
        """The index of the last bucket."""
        return self.offset + len(self.packed) // _SIZES[self.width] - 1

    @property
    def _counts(self) -> Sequence[int]:
        """The same as `counts`, for a look."""
        return self.packed if self.width == "B" else array(self.width, self.packed)

    def _plus(self, more: Mapping[int, int], low: int, high: int) -> Buckets:
        """The sum with counts at this scale; both together reach from `low` to `high`."""
        counts, size = self.counts, _SIZES[self.width]
        if not self.packed:
            counts.frombytes(bytes(high - low + 1))
        else:
            if low < self.offset:
                counts = array(self.width, bytes((self.offset - low) * size)) + counts
            counts.frombytes(bytes((high - low + 1 - len(counts)) * size))
        for index, count in more.items():
            try:
                counts[index - low] += count
            except OverflowError:
                counts = array(_width_for(counts[index - low] + count), counts)
                counts[index - low] += count
        return Buckets(self.scale, low, counts.typecode, counts.tobytes())


_SIZES = {code: array(code).itemsize for code in _WIDTHS}
_LIMITS = [(code, 1 << 8 * size) for code, size in _SIZES.items()]


def _width_for(largest: int) -> str:
    return next(code for code, limit in _LIMITS if largest < limit)


def _packed(scale: int, offset: int, counts: Sequence[int]) -> Buckets:
    """Buckets whose first and last hold something."""
    width = _width_for(max(counts))
    return Buckets(scale, offset, width, bytes(counts) if width == "B" else array(width, counts).tobytes())


def _steps_to_fit(low: int, high: int, at_most: int | None) -> int:
    """How many steps down in scale there are no more than so many buckets from `low` to `high`."""
    steps = 0
    while at_most is not None and (high >> steps) - (low >> steps) >= at_most:
        steps += 1
    return steps


def _shifted(items: Iterable[tuple[int, int]], shift: int) -> dict[int, int]:
    merged: dict[int, int] = {}
    for index, count in items:
        merged[index >> shift] = merged.get(index >> shift, 0) + count
    return merged


def _power(exponent: float) -> float:
    return 2.0**exponent if exponent < sys.float_info.max_exp else sys.float_info.max


def quantiles(
    qs: Sequence[float], buckets: Buckets, zeros: int, smallest: float, largest: float
) -> tuple[tuple[float, float], ...]:
    """Pairs of `q` and the `ceil(q * n)`-th smallest of the values counted, within 0.54 % at `SCALE`; NaN of
    none.

    `smallest` and `largest` of the values bound the answer, so a constant comes back exactly. Each `q` is
    within (0, 1].
    """
    cumulative = list(accumulate(buckets._counts, initial=zeros))
    count = cumulative[-1]
    if not count:
        return tuple((q, math.nan) for q in qs)
    step, found = 2.0**-buckets.scale, []
    for q in qs:
        # Position 0 stands for the zeros, position k for bucket `offset + k - 1`.
        position = bisect_left(cumulative, ceil(q * count))
        middle = _power((buckets.offset + position - 0.5) * step) if position else 0.0
        found.append((q, min(max(middle, smallest), largest)))
    return tuple(found)
