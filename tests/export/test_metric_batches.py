"""Metrics in several requests: nothing twice, nothing lost, and deltas settled by what has arrived."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel.apps import Budgets
from bext_otel.export.delivery import Delivery
from bext_otel.export.metric_batches import batches_of
from bext_otel.export.periodic import MetricExport
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.store.streams import Streams
from tests.specification.programs import running


def data(*scopes: list[int]) -> MetricsData:
    """Gauges by the number of their points, in scopes."""
    return MetricsData(
        [
            sdk.ResourceMetrics(
                Resource({}),
                [
                    sdk.ScopeMetrics(
                        InstrumentationScope(f"s{place}"),
                        [
                            sdk.Metric(
                                f"m{place}.{number}",
                                "",
                                "",
                                sdk.Gauge([sdk.NumberDataPoint({"n": n}, 0, 1, n) for n in range(points)]),
                            )
                            for number, points in enumerate(metrics)
                        ],
                        "",
                    )
                    for place, metrics in enumerate(scopes)
                ],
                "",
            )
        ]
    )


def points(told: MetricsData) -> list[tuple[str, str, int]]:
    return [
        (scope.scope.name, metric.name, point.value)
        for resource in told.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


@given(
    some.lists(some.lists(some.integers(0, 7), max_size=4), max_size=4),
    some.integers(0, 9),
)
def test_batches_hold_every_point_once_in_its_order(scopes: list[list[int]], size: int) -> None:
    told = data(*scopes)
    batches = list(batches_of(told, size))
    assert points(told) == [point for batch in batches for point in points(batch)]
    assert all(0 < len(points(batch)) <= (size or 1_000) for batch in batches)
    if size:
        assert -(-len(points(told)) // size) == len(batches)


class Backend(MetricExporter):
    """Takes deltas, and refuses the requests that `refuses` counts."""

    def __init__(self, refuses: set[int]) -> None:
        super().__init__({Counter: AggregationTemporality.DELTA})
        self.requests, self.refuses = 0, refuses
        self.sums: dict[str, float] = {}
        self.sizes: list[int] = []

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> Any:
        self.requests += 1
        if self.requests in self.refuses:
            return MetricExportResult.FAILURE
        self.sizes.append(len(points(metrics_data)))
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        key = str(point.attributes.get("n"))
                        self.sums[key] = self.sums.get(key, 0) + point.value
        return MetricExportResult.SUCCESS

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        pass

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True


@pytest.mark.parametrize("refuses", [set[int](), {1}, {2}, {1, 2, 3}, {2, 4}])
def test_deltas_are_sent_again_where_their_request_failed_and_nowhere_else(refuses: set[int]) -> None:
    backend, resource = Backend(refuses), Resource({})
    streams = Streams(Budgets({}))
    provider = BextMeterProvider(streams, resource)
    reading = SnapshotReader(streams, provider.instruments, include_process=False)
    export = MetricExport(reading, resource, backend, Delivery("metrics", "test"), 60, batch_size=3)
    counter = provider.get_meter("shop").create_counter("shop.sold")
    for turn in range(4):
        for n in range(8 if turn < 2 else 5):
            counter.add(n + 1, {"n": str(n)})
        export.send()
    assert {str(n): (n + 1) * (4 if n < 5 else 2) for n in range(8)} == backend.sums
    assert 3 == max(backend.sizes)
    reading.stop()
    provider.shutdown()


PROGRAM = """
import bext_otel
from opentelemetry import metrics
from bext_otel.metrics.producers import MetricProducer
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

class Cups(MetricProducer):
    def produce(self, metric_filter=None):
        data = sdk.Gauge([sdk.NumberDataPoint({"cup": "red"}, 0, 1, 3)])
        yield sdk.ScopeMetrics(InstrumentationScope("cups"), [sdk.Metric("cups.left", "", "", data)], "")

runs = bext_otel.configure(metrics={"export_batch_size": 100}, metric_producers=[Cups()])
counter = metrics.get_meter("shop").create_counter("shop.sold")
for number in range(950):
    counter.add(1, {"n": number})
show(metrics.get_meter_provider().force_flush())
import os, sys
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.specification("Metrics", "The periodic exporting MetricReader supports `maxExportBatchSize`.")
def test_metrics_go_out_in_requests_of_the_size_that_is_set(tmp_path: Path) -> None:
    """What producers bring goes out with them."""
    with running(PROGRAM, tmp_path) as run:
        requests = [
            [
                (metric.name, point)
                for resource in message.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
                for kind in (metric.sum, metric.gauge, metric.histogram, metric.exponential_histogram)
                for point in kind.data_points
            ]
            for message in run.messages
            if hasattr(message, "resource_metrics")
        ]
    assert run.shown is True
    assert len(requests) > 9
    assert all(len(each) <= 100 for each in requests)
    names = [name for each in requests for name, _ in each]
    assert (950, 1) == (names.count("shop.sold"), names.count("cups.left"))
