"""Values as the SDK's data points, and back: adding and subtracting is done by the values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
)

from bext_otel.metrics.exponential import Buckets
from bext_otel.metrics.values import Distribution, Histogram

__all__ = ["difference", "exponential_point", "point_of"]


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


def exponential_point(
    value: Histogram, scale: int, zeros: int, positive: Buckets, negative: Buckets, common: Mapping[str, Any]
) -> Any:
    """The data point of exponential buckets of both signs; `value` has their totals."""
    return ExponentialHistogramDataPoint(
        scale=scale,
        zero_count=zeros,
        positive=_theirs(positive),
        negative=_theirs(negative),
        flags=0,
        **_totals(value),
        **common,
    )


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


def _ours(scale: int, buckets: sdk.Buckets) -> Buckets:
    return Buckets.dense(scale, buckets.offset, buckets.bucket_counts)


def _theirs(buckets: Buckets) -> sdk.Buckets:
    return sdk.Buckets(offset=buckets.offset, bucket_counts=buckets.counts.tolist())
