from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.points import points
from bext_otel.viewer.series import StoredSeries

BUCKETS = ExponentialHistogramDataPoint.Buckets


def explicit(point: HistogramDataPoint) -> Metric:
    return Metric(name="m", histogram=Histogram(data_points=[point], aggregation_temporality=2))


def exponential(point: ExponentialHistogramDataPoint) -> Metric:
    return Metric(
        name="m", exponential_histogram=ExponentialHistogram(data_points=[point], aggregation_temporality=2)
    )


@pytest.mark.parametrize(
    "metric",
    [
        Metric(name="m", gauge=Gauge(data_points=[NumberDataPoint()])),
        Metric(name="m", gauge=Gauge(data_points=[NumberDataPoint(as_int=1, flags=1)])),
        explicit(HistogramDataPoint(bucket_counts=[1, 2], explicit_bounds=[1.0, 2.0])),
        explicit(HistogramDataPoint(bucket_counts=[1, 2, 3], explicit_bounds=[2.0, 1.0])),
        explicit(HistogramDataPoint(bucket_counts=[1] * 101, explicit_bounds=[float(n) for n in range(100)])),
        exponential(ExponentialHistogramDataPoint(scale=1000)),
        exponential(ExponentialHistogramDataPoint(scale=-1000)),
        exponential(
            ExponentialHistogramDataPoint(
                scale=1, positive=BUCKETS(bucket_counts=[1] * 60), negative=BUCKETS(bucket_counts=[1] * 60)
            )
        ),
    ],
)
def test_a_point_that_cannot_be_used_is_none(metric: Metric) -> None:
    assert [None] == list(points(metric, Limits(buckets=100)))


def test_a_metric_without_data_has_no_points() -> None:
    assert [] == list(points(Metric(name="m"), Limits()))


_counts = st.lists(st.integers(0, 2**64 - 1), max_size=5)
_offsets = st.integers(-(2**31), 2**31 - 1)
_buckets = st.builds(BUCKETS, offset=_offsets, bucket_counts=_counts)
_exponential = st.builds(
    ExponentialHistogramDataPoint,
    time_unix_nano=st.integers(1, 2**64 - 1),
    start_time_unix_nano=st.integers(0, 2**64 - 1),
    scale=st.integers(-40, 80),
    count=st.integers(0, 2**64 - 1),
    zero_count=st.integers(0, 2**64 - 1),
    sum=st.floats(),
    min=st.floats(),
    max=st.floats(),
    positive=_buckets,
    negative=_buckets,
)
_explicit = st.builds(
    HistogramDataPoint,
    time_unix_nano=st.integers(1, 2**64 - 1),
    start_time_unix_nano=st.integers(0, 2**64 - 1),
    count=st.integers(0, 2**64 - 1),
    sum=st.floats(),
    min=st.floats(),
    max=st.floats(),
    bucket_counts=_counts,
    explicit_bounds=st.lists(st.floats(), max_size=4),
)


@given(st.lists(_exponential.map(exponential) | _explicit.map(explicit), max_size=6))
def test_no_histogram_is_too_strange_to_be_shown_or_refused(metrics: list[Metric]) -> None:
    series = StoredSeries(10)
    for metric in metrics:
        for point in points(metric, Limits()):
            if point is not None:
                series.add(point, source_last_ns=0)
    assert len(series.rows) <= len(metrics)
