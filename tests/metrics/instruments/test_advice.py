"""Buckets of the semantic conventions, where the maker of a histogram says nothing."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from bext_otel.apps import Budgets
from bext_otel.metrics.instruments.plan import DEFAULT_BOUNDS
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.store.streams import Streams

DATABASE = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)


def bounds(name: str, unit: str, *, advice: Any = None, views: tuple[View, ...] = ()) -> tuple[float, ...]:
    """The bounds of a histogram's one point."""
    reader = InMemoryMetricReader()
    provider = BextMeterProvider(Streams(Budgets({})), Resource({}), views=views, metric_readers=[reader])
    provider.get_meter("db").create_histogram(name, unit, explicit_bucket_boundaries_advisory=advice).record(
        0.002
    )
    data: Any = reader.get_metrics_data()
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    provider.shutdown()
    return tuple(metric.data.data_points[0].explicit_bounds)


def test_a_query_s_duration_has_the_buckets_of_the_conventions() -> None:
    assert DATABASE == bounds("db.client.operation.duration", "s")


@pytest.mark.parametrize(
    ("name", "unit"), [("db.client.operation.duration", "ms"), ("db.client.operations", "s")]
)
def test_what_has_another_unit_or_name_is_another_instrument(name: str, unit: str) -> None:
    assert DEFAULT_BOUNDS == bounds(name, unit)


def test_whoever_says_which_buckets_has_those() -> None:
    """None at all included."""
    assert (1, 2) == bounds("db.client.operation.duration", "s", advice=[1, 2])
    assert () == bounds("db.client.operation.duration", "s", advice=[])
    view = View(instrument_name="db.*", aggregation=ExplicitBucketHistogramAggregation(boundaries=[3]))
    assert (3,) == bounds("db.client.operation.duration", "s", views=(view,))
