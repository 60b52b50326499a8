"""OTLP data points of every kind, brought to one shape."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from opentelemetry.proto.metrics.v1 import metrics_pb2

from bext_otel.metrics.exponential import Buckets
from bext_otel.metrics.values import Histogram
from bext_otel.viewer.limits import Limits
from bext_otel.viewer.quantiles import Exponential, SentHistogram, bucket_count
from bext_otel.viewer.values import Allowance, shortened

__all__ = ["DataPoint", "Kind", "Labels", "label_bytes", "points"]

Kind = Literal["counter", "gauge", "distribution"]
Labels = tuple[tuple[str, str], ...]

_DELTA = metrics_pb2.AGGREGATION_TEMPORALITY_DELTA
# Scales that the data model's base function is defined for with doubles; an SDK stays within -10 to 20.
_SCALES = range(-11, 53)

_POINT_BYTES = 700
# Bound and count of a bucket: two numbers and where they are held.
_BUCKET_BYTES = 100
_PAIR_BYTES = 64


@dataclass(frozen=True)
class DataPoint:
    """A data point: a counter's or gauge's `value`; a distribution's `count`, `sum` and `histogram` or
    ready-made `quantiles`.

    Times in Unix nanoseconds. `delta` says that it holds what came since the last one, not since `start_ns`.
    `low` and `high` are the smallest and largest value known.
    """

    kind: Kind
    labels: Labels
    start_ns: int
    time_ns: int
    delta: bool
    value: float = 0.0
    count: int = 0
    sum: float = 0.0
    histogram: SentHistogram | None = None
    quantiles: dict[float, float] = field(default_factory=dict)
    low: float = -math.inf
    high: float = math.inf

    @property
    def size(self) -> int:
        """What it takes in memory, in bytes, but for its labels."""
        numbers = len(self.quantiles) + bucket_count(self.histogram)
        return _POINT_BYTES + numbers * _BUCKET_BYTES


def label_bytes(labels: Labels) -> int:
    """What labels take in memory, in bytes."""
    return sum(_PAIR_BYTES + sys.getsizeof(key) + sys.getsizeof(value) for key, value in labels)


def points(metric: metrics_pb2.Metric, limits: Limits) -> Iterator[DataPoint | None]:
    """The metric's points; None for one that is not usable: no recorded value, too many labels or buckets, a
    scale that is none."""
    kind = metric.WhichOneof("data")
    if kind == "gauge":
        yield from (_number(point, "gauge", False, limits) for point in metric.gauge.data_points)
    elif kind == "sum":
        delta = metric.sum.aggregation_temporality == _DELTA
        name: Kind = "counter" if metric.sum.is_monotonic else "gauge"
        yield from (_number(point, name, delta, limits) for point in metric.sum.data_points)
    elif kind == "histogram":
        delta = metric.histogram.aggregation_temporality == _DELTA
        yield from (_explicit(point, delta, limits) for point in metric.histogram.data_points)
    elif kind == "exponential_histogram":
        delta = metric.exponential_histogram.aggregation_temporality == _DELTA
        yield from (_exponential(point, delta, limits) for point in metric.exponential_histogram.data_points)
    elif kind == "summary":
        yield from (_summary(point, limits) for point in metric.summary.data_points)


def _number(point: metrics_pb2.NumberDataPoint, kind: Kind, delta: bool, limits: Limits) -> DataPoint | None:
    which = point.WhichOneof("value")
    if which is None or _unusable(point, limits):
        return None
    return _point(point, kind, delta, limits, value=float(getattr(point, which)))


def _explicit(point: metrics_pb2.HistogramDataPoint, delta: bool, limits: Limits) -> DataPoint | None:
    if _unusable(point, limits) or max(len(point.bucket_counts), len(point.explicit_bounds)) > limits.buckets:
        return None
    bounds, counts = tuple(point.explicit_bounds), tuple(point.bucket_counts)
    if counts and (len(counts) != len(bounds) + 1 or list(bounds) != sorted(bounds)):
        return None
    histogram = Histogram(bounds, counts, point.sum, point.count) if counts else None
    return _point(point, "distribution", delta, limits, histogram=histogram, **_distribution(point))


def _exponential(
    point: metrics_pb2.ExponentialHistogramDataPoint, delta: bool, limits: Limits
) -> DataPoint | None:
    size = len(point.positive.bucket_counts) + len(point.negative.bucket_counts)
    if _unusable(point, limits) or size > limits.buckets or point.scale not in _SCALES:
        return None
    # Buckets that are joined hold no more than 64 bits.
    if sum((*point.positive.bucket_counts, *point.negative.bucket_counts)) >> 64:
        return None
    positive, negative = (
        Buckets.dense(point.scale, buckets.offset, buckets.bucket_counts)
        for buckets in (point.positive, point.negative)
    )
    histogram = Exponential(point.zero_count, positive, negative)
    return _point(point, "distribution", delta, limits, histogram=histogram, **_distribution(point))


def _summary(point: metrics_pb2.SummaryDataPoint, limits: Limits) -> DataPoint | None:
    if _unusable(point, limits) or len(point.quantile_values) > limits.buckets:
        return None
    quantiles = {at.quantile: at.value for at in point.quantile_values}
    more: dict[str, Any] = {"count": point.count, "sum": point.sum, "quantiles": quantiles}
    return _point(point, "distribution", False, limits, **more)


def _distribution(
    point: metrics_pb2.HistogramDataPoint | metrics_pb2.ExponentialHistogramDataPoint,
) -> dict[str, Any]:
    return {
        "count": point.count,
        "sum": point.sum,
        "low": point.min if point.HasField("min") else -math.inf,
        "high": point.max if point.HasField("max") else math.inf,
    }


_AnyPoint = (
    metrics_pb2.NumberDataPoint
    | metrics_pb2.HistogramDataPoint
    | metrics_pb2.ExponentialHistogramDataPoint
    | metrics_pb2.SummaryDataPoint
)


def _point(point: _AnyPoint, kind: Kind, delta: bool, limits: Limits, **more: Any) -> DataPoint:
    held = Allowance(limits).attributes(point.attributes)
    labels = tuple(sorted((key, shortened(str(value), limits.name)) for key, value in held.items()))
    return DataPoint(kind, labels, point.start_time_unix_nano, point.time_unix_nano, delta, **more)


def _unusable(point: _AnyPoint, limits: Limits) -> bool:
    """A point that only says that its series ended, or one with so many labels that some would be lost:
    without them, it would be another series' point."""
    unrecorded = point.flags & metrics_pb2.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
    return bool(unrecorded) or len(point.attributes) > limits.labels
