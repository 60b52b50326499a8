"""Values as the SDK's data points, and back: adding and subtracting is done by the values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from operator import add
from typing import Any

from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
)

from bext_otel.metrics.exponential import MAX_OTLP_BUCKETS, Buckets
from bext_otel.metrics.values import Distribution, Histogram

__all__ = ["difference", "point_of", "sum_of", "value_of"]


def point_of(value: float | Distribution | Histogram, common: Mapping[str, Any]) -> Any:
    """A data point; `common` has its attributes, times and exemplars."""
    if isinstance(value, Histogram):
        return HistogramDataPoint(
            explicit_bounds=value.bounds, bucket_counts=value.counts, **_totals(value), **common
        )
    if isinstance(value, Distribution):
        life = value.life
        return ExponentialHistogramDataPoint(
            scale=life.scale,
            zero_count=value.zeros,
            positive=_theirs(life),
            negative=_theirs(Buckets()),
            flags=0,
            **_totals(value),
            **common,
        )
    return NumberDataPoint(value=value, **common)


def value_of(point: Any) -> float | Histogram:
    """What a snapshot shows of a data point."""
    if isinstance(point, NumberDataPoint):
        return point.value
    if isinstance(point, HistogramDataPoint):
        return Histogram(tuple(point.explicit_bounds), tuple(point.bucket_counts), point.sum, point.count)
    # An exponential histogram reads as an explicit one whose bounds are those of its buckets; what is not
    # above zero stands before them.
    not_above = sum(point.negative.bucket_counts) + point.zero_count
    buckets = _ours(point.scale, point.positive).bounds()
    bounds = (0.0, *(bound for bound, _ in buckets))
    return Histogram(bounds, (not_above, *(count for _, count in buckets), 0), point.sum, point.count)


def sum_of(before: Any, point: Any) -> Any:
    """Two points of one series as one that spans both intervals."""
    start = before.start_time_unix_nano
    if isinstance(point, NumberDataPoint):
        # Not `replace`, which takes four times as long.
        return NumberDataPoint(
            point.attributes, start, point.time_unix_nano, before.value + point.value, point.exemplars
        )
    if isinstance(point, HistogramDataPoint) and before.explicit_bounds != point.explicit_bounds:
        return point  # a view was changed under way: the newest holds
    if isinstance(point, HistogramDataPoint) and None not in (before.min, before.max, point.min, point.max):
        return HistogramDataPoint(  # as above
            point.attributes,
            start,
            point.time_unix_nano,
            before.count + point.count,
            before.sum + point.sum,
            tuple(map(add, before.bucket_counts, point.bucket_counts)),
            point.explicit_bounds,
            min(before.min, point.min),
            max(before.max, point.max),
            point.exemplars,
        )
    value = _explicit(before).plus(_explicit(point))
    if isinstance(point, HistogramDataPoint):
        return replace(point, start_time_unix_nano=start, bucket_counts=value.counts, **_totals(value))
    positive, negative = (_added(before, point, sign) for sign in ("positive", "negative"))
    zeros = before.zero_count + point.zero_count
    changed = {**_both(positive, negative, point.scale), **_totals(value)}
    return replace(point, start_time_unix_nano=start, zero_count=zeros, **changed)


def difference(before: Any, point: Any) -> Any | None:
    """The newer total less the older; None if the points are not of one life, which has begun anew then."""
    if type(before) is not type(point):
        return None
    value = _explicit(point).minus(_explicit(before))
    if value is None:
        return None
    if isinstance(point, HistogramDataPoint):
        return replace(point, bucket_counts=value.counts, **_totals(value))
    zeros = point.zero_count - before.zero_count
    positive, negative = (
        _ours(point.scale, getattr(point, sign)).minus(_ours(before.scale, getattr(before, sign)))
        for sign in ("positive", "negative")
    )
    if positive is None or negative is None or zeros < 0:
        return None
    return replace(
        point, zero_count=zeros, positive=_theirs(positive), negative=_theirs(negative), **_totals(value)
    )


def _added(before: Any, point: Any, sign: str) -> Buckets:
    """Never more buckets than the SDK would have: between values of two collections there may be millions."""
    both = [_ours(each.scale, getattr(each, sign)) for each in (before, point)]
    return Buckets.merged(both, max(MAX_OTLP_BUCKETS, *[len(each.counts) for each in both]))


def _explicit(point: Any) -> Histogram:
    """Count, sum and extremes of any histogram, with the buckets of an explicit one."""
    if isinstance(point, HistogramDataPoint):
        bounds, counts = tuple(point.explicit_bounds), tuple(point.bucket_counts)
    else:
        bounds, counts = (), (point.count,)
    least, most = math.inf if point.min is None else point.min, -math.inf if point.max is None else point.max
    return Histogram(bounds, counts, point.sum, point.count, least, most)


def _totals(value: Distribution | Histogram) -> dict[str, Any]:
    """An extreme that is not known is None."""
    return {
        "count": value.count,
        "sum": value.sum,
        "min": value.minimum if math.isfinite(value.minimum) else None,
        "max": value.maximum if math.isfinite(value.maximum) else None,
    }


def _both(positive: Buckets, negative: Buckets, otherwise: int) -> dict[str, Any]:
    """Buckets of both signs at one scale, which is `otherwise` where there are none: then a point's scale is
    arbitrary."""
    scale = min([each.scale for each in (positive, negative) if each.packed], default=otherwise)
    return {
        "scale": scale,
        "positive": _theirs(positive.coarsened(scale)),
        "negative": _theirs(negative.coarsened(scale)),
    }


def _ours(scale: int, buckets: sdk.Buckets) -> Buckets:
    return Buckets.dense(scale, buckets.offset, buckets.bucket_counts)


def _theirs(buckets: Buckets) -> sdk.Buckets:
    return sdk.Buckets(offset=buckets.offset, bucket_counts=buckets.counts.tolist())
