from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.metrics.v1.metrics_pb2 import Histogram as HistogramData
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
    Summary,
    SummaryDataPoint,
)

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.points import DataPoint, points
from bext_otel.viewer.series import StoredSeries
from tests.viewer.otlp import SECOND, counter, exponential, gauge


def read(metric: Metric) -> list[DataPoint]:
    return [point for point in points(metric, Limits()) if point is not None]


def fed(*metrics: Metric, source_last: float = 0, keep: int = 100) -> StoredSeries:
    series = StoredSeries(keep)
    for metric in metrics:
        for point in read(metric):
            series.add(point, source_last_ns=int(source_last * SECOND))
    return series


def column(series: StoredSeries, index: int = 1) -> Sequence[float | None]:
    return [row[index] for row in series.rows]


def test_a_counter_shows_its_rate() -> None:
    series = fed(counter("c", [(2, 10), (4, 30), (5, 30)], start=1))
    assert [10.0, 10.0, 0.0] == column(series)
    assert 30 == series.total


def test_a_counter_that_restarted_counts_from_zero() -> None:
    went_back = fed(counter("c", [(2, 10)], start=1), counter("c", [(4, 6)], start=3))
    assert [10.0, 6.0] == column(went_back)
    started_later = fed(counter("c", [(2, 10)], start=1), counter("c", [(4, 30)], start=3))
    assert [10.0, 30.0] == column(started_later)


def test_a_series_that_appears_later_began_after_what_its_sender_last_told() -> None:
    """Otherwise the first request to a new route, an hour after the start, would be a rate of nearly
    nothing."""
    assert [5.0] == column(fed(counter("c", [(3602, 10)], start=1), source_last=3600))


def test_increases_are_shown_as_they_come_and_add_up() -> None:
    series = fed(counter("c", [(2, 10), (4, 30)], start=1, delta=True))
    assert [10.0, 15.0] == column(series)
    assert 40 == series.total


def test_a_point_that_comes_twice_counts_once() -> None:
    series = StoredSeries(10)
    (point,) = read(counter("c", [(2, 10)], delta=True))
    assert series.add(point, source_last_ns=0)
    assert not series.add(point, source_last_ns=0)
    assert 10 == series.total


def test_a_gauge_shows_its_value() -> None:
    assert [3.0, -1.0] == column(fed(gauge("g", [(1, 3), (2, -1)])))


def test_a_sum_that_may_fall_shows_its_value() -> None:
    point = NumberDataPoint(time_unix_nano=SECOND, as_int=4)
    assert [4.0] == column(fed(Metric(name="g", sum=Sum(data_points=[point], aggregation_temporality=2))))


def test_increases_of_a_sum_that_may_fall_add_up() -> None:
    up = NumberDataPoint(time_unix_nano=SECOND, as_int=4)
    down = NumberDataPoint(time_unix_nano=2 * SECOND, as_int=-1)
    assert [4.0, 3.0] == column(
        fed(Metric(name="g", sum=Sum(data_points=[up, down], aggregation_temporality=1)))
    )


def test_quantiles_are_of_what_came_since_the_last_point() -> None:
    """Bucket 8 of scale 3 is (2, 2.18], bucket 24 (8, 8.72]."""
    series = fed(
        exponential("h", 2, {8: 100}),
        exponential("h", 3, {8: 100, 24: 4}),
        exponential("h", 4, {8: 100, 24: 4}),
    )
    first, second, third = column(series, 3)
    assert first is not None
    assert second is not None
    assert 2 < first <= 2.19
    assert 8 < second <= 8.73
    assert third is None
    assert [100.0, 4.0, 0.0] == column(series, 1)


def test_a_summary_brings_its_own_quantiles() -> None:
    at = [
        SummaryDataPoint.ValueAtQuantile(quantile=0.5, value=2.1),
        SummaryDataPoint.ValueAtQuantile(quantile=0.99, value=float("nan")),
    ]
    point = SummaryDataPoint(
        start_time_unix_nano=SECOND, time_unix_nano=3 * SECOND, count=4, sum=10.0, quantile_values=at
    )
    series = fed(Metric(name="s", summary=Summary(data_points=[point])))
    assert [(3000.0, 2.0, 2.5, 2.1, None, None)] == list(series.rows)


def test_a_histogram_without_buckets_still_has_a_mean() -> None:
    point = HistogramDataPoint(start_time_unix_nano=SECOND, time_unix_nano=2 * SECOND, count=2, sum=5.0)
    series = fed(Metric(name="h", histogram=HistogramData(data_points=[point], aggregation_temporality=2)))
    assert [(2000.0, 2.0, 2.5, None, None, None)] == list(series.rows)


def test_numbers_that_json_lacks_are_gaps() -> None:
    assert [None] == column(fed(gauge("g", [(1, float("nan"))])))
    assert [None] == column(fed(counter("c", [(2, float("inf"))])))


def test_only_the_newest_points_stay() -> None:
    assert [3.0, 4.0] == column(fed(gauge("g", [(1, 2), (2, 3), (3, 4)]), keep=2))
