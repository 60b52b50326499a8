"""Exponential buckets at one fixed scale: sparse counts whose merge is adding.

Bucket `i` holds the values in `(base ** i, base ** (i + 1)]`, as in OpenTelemetry's exponential histogram, with `base = 2 ** 2 ** -SCALE`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil, log2

__all__ = ["MAX_OTLP_BUCKETS", "SCALE", "Buckets", "add_values", "dense", "downscaled", "quantile"]

SCALE = 6
"""At scale 6 a bucket is 1.09 % wide, so the middle of a value's bucket is at most 0.54 % away from the value."""

MAX_OTLP_BUCKETS = 160
"""Most buckets of an exported data point; the OpenTelemetry SDK's own default."""

Buckets = Counter[int]
"""Bucket index to how many values it holds."""

_times_per_octave = float(1 << SCALE).__mul__


def add_values(buckets: Buckets, values: Iterable[float]) -> None:
    """Count positive finite values. One pass of C-level iterators: this runs for every recorded value."""
    # Ceil minus one makes a bucket's upper bound inclusive; the minus one is applied once, when an index is read (`_lower`).
    buckets.update(map(ceil, map(_times_per_octave, map(log2, values))))


def quantile(q: float, buckets: Mapping[int, int], zeros: int, smallest: float, largest: float) -> float:
    """The `ceil(q * n)`-th smallest of the values counted in `buckets` and `zeros`, within 0.54 %; NaN of none.

    `smallest` and `largest` of the values bound the answer, so a constant comes back exactly. `q` is within (0, 1].
    """
    count = zeros + sum(buckets.values())
    if not count:
        return math.nan
    rank = ceil(q * count) - zeros
    if rank <= 0:
        return 0.0
    for index in sorted(buckets):
        rank -= buckets[index]
        if rank <= 0:
            middle: float = 2.0 ** ((index - 0.5) / (1 << SCALE))
            return min(max(middle, smallest), largest)
    return largest


def downscaled(buckets: Mapping[int, int], most: int = MAX_OTLP_BUCKETS) -> tuple[int, int, list[int]]:
    """The scale, offset and dense counts of an OpenTelemetry data point with at most `most` buckets.

    Each step down halves the resolution by merging pairs of neighbours, as the specification's perfect subsetting says.
    """
    if not buckets:
        return SCALE, 0, []
    low, high, scale = min(buckets) - 1, max(buckets) - 1, SCALE
    while high - low >= most:
        low, high, scale = low >> 1, high >> 1, scale - 1
    counts = [0] * (high - low + 1)
    for index, count in buckets.items():
        counts[((index - 1) >> (SCALE - scale)) - low] += count
    return scale, low, counts


def dense(scale: int, offset: int, counts: Iterable[int]) -> list[tuple[float, int]]:
    """Upper bounds and counts of a data point's non-empty buckets, ascending."""
    step = 2.0**-scale
    return [(2.0 ** ((offset + position + 1) * step), count) for position, count in enumerate(counts) if count]
