"""Readers of the application's get every metric, the catalogue's too, made when they ask."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.metrics import Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import AlignedHistogramBucketExemplarReservoir, ExemplarReservoir
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import DropAggregation, ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from bext_otel.catalogue import CACHE_HITS, REQUEST_DURATION
from bext_otel.metrics.instruments.cells import MeterCounterCell
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.store.streams import Streams
from bext_otel.scope import SCOPE
from bext_otel.testing import Clock

SHOP = {"app": "shop", "layer": "isr"}


@pytest.fixture
def provider(streams: Streams) -> Iterator[BextMeterProvider]:
    made = BextMeterProvider(streams, Resource({"service.name": "shop"}))
    yield made
    made.shutdown()


def metrics(data: MetricsData | None) -> dict[str, Any]:
    return {
        metric.name: metric.data
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def points(reader: InMemoryMetricReader, name: str) -> list[Any]:
    found = metrics(reader.get_metrics_data()).get(name)
    return [] if found is None else list(found.data_points)


def test_a_reader_gets_the_catalogues_rows_and_the_applications(provider: BextMeterProvider) -> None:
    reader = InMemoryMetricReader()
    provider.get_meter(SCOPE).create_counter(CACHE_HITS.name).add(2, SHOP)
    provider.get_meter("shop").create_counter("orders").add(3)
    provider.add_metric_reader(reader)
    found = metrics(reader.get_metrics_data())
    assert {CACHE_HITS.streamed: 2, "orders": 3} == {
        name: data.data_points[0].value for name, data in found.items()
    }


def test_nothing_measured_is_no_data(provider: BextMeterProvider) -> None:
    reader = InMemoryMetricReader()
    provider.add_metric_reader(reader)
    assert reader.get_metrics_data() is None


@pytest.mark.specification("Beyond the rows", "Metrics SDK: readers have deltas of their own")
def test_each_reader_has_deltas_of_its_own(provider: BextMeterProvider) -> None:
    delta = {sdk.Counter: AggregationTemporality.DELTA, sdk.UpDownCounter: AggregationTemporality.DELTA}
    one, other, totals = InMemoryMetricReader(delta), InMemoryMetricReader(delta), InMemoryMetricReader()
    for reader in (one, other, totals):
        provider.add_metric_reader(reader)
    counter = provider.get_meter("shop").create_counter("orders")
    level = provider.get_meter("shop").create_up_down_counter("open")
    told = []
    for amount in (3, 4):
        counter.add(amount)
        level.add(-amount)
        told.append([points(reader, "orders")[0].value for reader in (one, totals)])
    assert [[3, 3], [4, 7]] == told
    assert [7] == [point.value for point in points(other, "orders")]
    assert [] == points(one, "orders")
    level.add(1)
    assert [1] == [point.value for point in points(one, "open")]


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: a cumulative series starts when it was measured first, and keeps that"
)
def test_a_series_starts_when_it_was_measured_first_and_keeps_that(
    provider: BextMeterProvider, bext_clock: Clock
) -> None:
    reader = InMemoryMetricReader()
    provider.add_metric_reader(reader)
    counter = provider.get_meter("shop").create_counter("orders")
    began = {}
    for kind in ("tea", "coffee"):
        bext_clock.advance(10)
        began[kind] = int(bext_clock() * 1e9)
        for _ in range(2):
            counter.add(1, {"kind": kind})
            bext_clock.advance(5)
            reader.collect()
    found = {point.attributes["kind"]: point for point in points(reader, "orders")}
    for kind, at in began.items():
        assert at <= found[kind].start_time_unix_nano <= at + 1000
        assert found[kind].time_unix_nano >= int(bext_clock() * 1e9)


def test_a_series_that_is_observed_starts_when_it_was_not_seen_last(
    provider: BextMeterProvider, bext_clock: Clock
) -> None:
    """When its instrument was made, or else at the collection before."""
    reader = InMemoryMetricReader()
    provider.add_metric_reader(reader)
    seen = ["tea"]
    made = int(bext_clock() * 1e9)
    provider.get_meter("shop").create_observable_counter(
        "orders", [lambda _: [Observation(5, {"kind": kind}) for kind in seen]]
    )
    collected = []
    for _ in range(3):
        bext_clock.advance(10)
        collected.append(int(bext_clock() * 1e9))
        found = {point.attributes["kind"]: point.start_time_unix_nano for point in points(reader, "orders")}
        seen = ["tea", "coffee"]
    assert made <= found["tea"] <= made + 1000
    assert collected[0] <= found["coffee"] < collected[1]


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: all points of deltas of one instrument share their interval"
)
def test_deltas_of_one_instrument_share_their_interval(
    provider: BextMeterProvider, bext_clock: Clock
) -> None:
    reader = InMemoryMetricReader({sdk.Counter: AggregationTemporality.DELTA})
    provider.add_metric_reader(reader)
    counter = provider.get_meter("shop").create_counter("orders")
    told = []
    for kinds in (("tea", "coffee"), ("tea",), ("tea", "coffee", "water")):
        for kind in kinds:
            bext_clock.advance(1)
            counter.add(1, {"kind": kind})
        told.append(points(reader, "orders"))
    intervals = [{(point.start_time_unix_nano, point.time_unix_nano) for point in found} for found in told]
    assert [2, 1, 3] == list(map(len, told))
    ((begin, first), (second, third), (fourth, end)) = [one for (one,) in intervals]
    assert begin < first == second < third == fourth < end


def test_series_that_are_gone_cost_a_reader_of_deltas_no_memory(provider: BextMeterProvider) -> None:
    reader = InMemoryMetricReader({sdk.ObservableCounter: AggregationTemporality.DELTA})
    provider.add_metric_reader(reader)
    seen = {"job": "", "count": 0}
    provider.get_meter("shop").create_observable_counter(
        "done",
        [lambda _: [Observation(seen["count"], {"job": seen["job"]})]],  # type: ignore[arg-type,dict-item]
    )
    for number in range(50):
        for count in (3, 5):
            seen.update(job=f"job-{number}", count=count)
            told = [point.value for point in points(reader, "done")]
            assert [3 if count == 3 else 2] == told
    gc.collect()
    (stream,) = provider.instruments.every()
    cells = [each for each in gc.get_objects() if type(each) is MeterCounterCell]
    assert 2 >= len([cell for cell in cells if cell.stream is stream])


class Vendor(MetricExporter):
    def __init__(self) -> None:
        super().__init__()
        self.taken: list[MetricsData] = []
        self.ended = False

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        self.taken.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self.ended = True


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: a reader that is added later is flushed and shut down with the provider"
)
def test_a_reader_that_is_added_later_is_flushed_and_shut_down_with_the_provider(streams: Streams) -> None:
    provider, vendor = BextMeterProvider(streams, Resource({})), Vendor()
    provider.add_metric_reader(PeriodicExportingMetricReader(vendor, 1e9))
    provider.get_meter("shop").create_counter("orders").add(1)
    assert provider.force_flush()
    assert ["orders"] == list(metrics(vendor.taken[-1]))
    provider.shutdown()
    assert vendor.ended


def test_a_reader_that_raises_is_told_and_harms_nobody(
    provider: BextMeterProvider, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(InMemoryMetricReader):
        def _receive_metrics(self, *_: Any, **__: Any) -> None:
            raise LookupError("no backend")

    provider.add_metric_reader(Broken())
    provider.get_meter("shop").create_counter("orders").add(1)
    with caplog.at_level(logging.WARNING):
        assert not provider.force_flush()
    assert ["metric reader Broken failed: LookupError('no backend')"] == caplog.messages


def test_a_reader_that_is_removed_is_asked_no_more(provider: BextMeterProvider) -> None:
    reader = InMemoryMetricReader({}, {sdk.Histogram: ExponentialBucketHistogramAggregation()})
    provider.add_metric_reader(reader)
    histogram = provider.get_meter("shop").create_histogram("wait")
    histogram.record(1)
    assert 1 == len(points(reader, "wait"))
    provider.remove_metric_reader(reader)
    histogram.record(1)
    assert 1 == len(list(provider.instruments.every()))


def test_a_view_may_change_a_row_of_the_catalogue(streams: Streams) -> None:
    reader = InMemoryMetricReader()
    provider = BextMeterProvider(
        streams,
        Resource({}),
        metric_readers=[reader],
        views=[
            View(instrument_name=CACHE_HITS.name, attribute_keys={"app"}),
            View(instrument_name="bext.request.*", aggregation=DropAggregation()),
        ],
    )
    meter = provider.get_meter(SCOPE)
    hits = meter.create_counter(CACHE_HITS.name)
    hits.add(2, SHOP)
    hits.bind({**SHOP, "layer": "tenant", "bext.shared": "db"})(3)  # type: ignore[attr-defined]  # as ours is
    meter.create_histogram(REQUEST_DURATION.name).record(5, {"app": "shop", "route": "/"})
    found = metrics(reader.get_metrics_data())
    assert [CACHE_HITS.streamed] == list(found)
    assert [(5, {"app": "shop"})] == [
        (point.value, point.attributes) for point in found[CACHE_HITS.streamed].data_points
    ]
    (family,) = provider.instruments.families()
    assert (CACHE_HITS.exported, 'app="shop"') == (family.name, family.points[0].series.text)
    provider.shutdown()


def test_upstreams_own_metrics_are_not_counted_on_top_of_ours(
    provider: BextMeterProvider, streams: Streams
) -> None:
    provider.get_meter("opentelemetry-sdk").create_counter("otel.sdk.span.started").add(1)
    provider.get_meter("shop").create_counter("otel.sdk.things").add(1)
    streams.drain()
    assert ["otel_sdk_things_total"] == [family.name for family in provider.instruments.families()]


def test_a_meter_without_a_name_works(provider: BextMeterProvider, caplog: pytest.LogCaptureFixture) -> None:
    reader = InMemoryMetricReader()
    provider.add_metric_reader(reader)
    for _ in range(2):
        provider.get_meter("").create_counter("orders").add(1)
    data = reader.get_metrics_data()
    assert data is not None
    (scope,) = data.resource_metrics[0].scope_metrics
    assert ("", 2) == (scope.scope.name, scope.metrics[0].data.data_points[0].value)
    assert 1 == len(caplog.messages)


# --- Exemplars ------------------------------------------------------------------------------------------------


@pytest.fixture
def tracer() -> trace.Tracer:
    return TracerProvider(shutdown_on_exit=False).get_tracer("t")


def test_each_bucket_has_an_exemplar_of_the_span_that_it_was_measured_in(
    provider: BextMeterProvider, tracer: trace.Tracer
) -> None:
    reader = InMemoryMetricReader()
    provider.add_metric_reader(reader)
    histogram = provider.get_meter("shop").create_histogram(
        "wait", explicit_bucket_boundaries_advisory=[1, 10]
    )
    histogram.record(3)
    with tracer.start_as_current_span("work") as span:
        for value in (0.5, 5, 50, 7):
            histogram.record(value)
    (point,) = points(reader, "wait")
    assert [0.5, 7, 50] == [exemplar.value for exemplar in point.exemplars]
    context = span.get_span_context()
    assert {(context.trace_id, context.span_id)} == {
        (exemplar.trace_id, exemplar.span_id) for exemplar in point.exemplars
    }
    (family,) = provider.instruments.families()
    assert [0, 1, 2] == [position for position, _ in family.points[0].exemplars]


def test_an_exemplar_keeps_the_attributes_that_a_view_drops(streams: Streams, tracer: trace.Tracer) -> None:
    reader = InMemoryMetricReader()
    provider = BextMeterProvider(
        streams,
        Resource({}),
        metric_readers=[reader],
        views=[View(instrument_name="*", attribute_keys={"route"})],
    )
    with tracer.start_as_current_span("work"):
        provider.get_meter("shop").create_counter("orders").add(1, {"route": "/", "customer": 7})
    ((exemplar,),) = [point.exemplars for point in points(reader, "orders")]
    assert {"customer": 7} == exemplar.filtered_attributes
    provider.shutdown()


def test_a_view_brings_a_reservoir_of_ones_own(streams: Streams, tracer: trace.Tracer) -> None:
    offered: list[Any] = []

    class Reservoir(AlignedHistogramBucketExemplarReservoir):
        def offer(self, value: float, time_unix_nano: int, attributes: Any, context: Any) -> None:
            offered.append((value, time_unix_nano > 0, dict(attributes), trace.get_current_span(context)))
            super().offer(value, time_unix_nano, attributes, context)

    def factory(_: Any) -> Any:
        return Reservoir

    reader = InMemoryMetricReader()
    view = View(instrument_name="wait", attribute_keys={"route"}, exemplar_reservoir_factory=factory)
    provider = BextMeterProvider(streams, Resource({}), metric_readers=[reader], views=[view])
    histogram = provider.get_meter("shop").create_histogram("wait")
    with tracer.start_as_current_span("work") as span:
        histogram.record(3, {"route": "/", "customer": 7})
    assert [(3, True, {"route": "/", "customer": 7}, span)] == offered
    ((exemplar,),) = [point.exemplars for point in points(reader, "wait")]
    assert (3, {"customer": 7}, span.get_span_context().span_id) == (
        exemplar.value,
        exemplar.filtered_attributes,
        exemplar.span_id,
    )
    provider.shutdown()


def test_a_reservoir_that_raises_costs_exemplars_only(streams: Streams, tracer: trace.Tracer) -> None:
    class Broken(ExemplarReservoir):
        def offer(self, *_: Any, **__: Any) -> None:
            raise LookupError

        def collect(self, *_: Any, **__: Any) -> Any:
            raise LookupError

    def factory(kind: Any) -> Any:
        return Broken if kind.__name__.startswith("_Sum") else 1 / 0

    reader = InMemoryMetricReader()
    view = View(instrument_name="*", exemplar_reservoir_factory=factory)
    provider = BextMeterProvider(streams, Resource({}), metric_readers=[reader], views=[view])
    with tracer.start_as_current_span("work"):
        provider.get_meter("shop").create_counter("orders").add(1)
        provider.get_meter("shop").create_histogram("wait").record(1)
    found = metrics(reader.get_metrics_data())
    assert ([1], [1]) == (
        [point.value for point in found["orders"].data_points],
        [point.count for point in found["wait"].data_points],
    )
    provider.shutdown()
