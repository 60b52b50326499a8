"""Deltas: what came since the last export that was delivered, as upstream's SDK has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogramDataPoint,
    Gauge,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource

from bext_otel.apps import Budgets
from bext_otel.catalogue import (
    CACHE_ENTRIES,
    CACHE_HITS,
    HTTP_SERVER_REQUEST_DURATION,
    LABEL_OVERFLOW,
    METRICS,
    REQUEST_DURATION,
    REQUESTS,
    Metric,
)
from bext_otel.export.delivery import Delivery
from bext_otel.export.periodic import MetricExport
from bext_otel.metrics.delta import DeltaState
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.sdk_points import point_of
from bext_otel.metrics.store.streams import Streams
from bext_otel.operation import SCOPE
from bext_otel.testing import Clock

DELTA, CUMULATIVE = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE
PREFERENCES: dict[str, dict[type, AggregationTemporality]] = {
    "cumulative": {},
    "delta": {Counter: DELTA, ObservableCounter: DELTA, Histogram: DELTA},
    "lowmemory": {Counter: DELTA, Histogram: DELTA},
}
RESOURCE = Resource({"service.name": "shop"})
COMMON = {"attributes": {}, "start_time_unix_nano": 0, "time_unix_nano": 1, "exemplars": []}


class Collecting(MetricExporter):
    def __init__(self, preference: str) -> None:
        super().__init__(preferred_temporality=PREFERENCES[preference])
        self.result = MetricExportResult.SUCCESS
        self.taken: list[MetricsData] = []

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        self.taken.append(metrics_data)
        return self.result

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        pass

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True


class Exported:
    """Our engine with an exporter of some preference."""

    def __init__(self, preference: str, clock: Clock) -> None:
        self.clock = clock
        self.monotonic = Clock(1000.0)
        self.streams = Streams(Budgets({}), clock=clock, monotonic=self.monotonic)
        self.provider = BextMeterProvider(self.streams, RESOURCE)
        self.reading = SnapshotReader(self.streams, self.provider.instruments, include_process=False)
        self.exporter = Collecting(preference)
        self.export = MetricExport(self.reading, RESOURCE, self.exporter, Delivery("metrics", "here"), 60)

    def send(self) -> dict[str, Any]:
        """Export; the metrics that went out, by name."""
        self.exporter.taken.clear()
        self.clock.advance(10)
        self.monotonic.advance(10)
        self.export.send()
        return {name: metric for data in self.exporter.taken for name, metric in by_name(data).items()}

    def hit(self, times: int, app: str = "shop") -> None:
        self.streams.stream(CACHE_HITS).cell({"app": app, "layer": "isr"}).add(times)


def by_name(data: MetricsData | None) -> dict[str, Any]:
    resources = data.resource_metrics if data is not None else []
    return {
        metric.name: metric for one in resources for scope in one.scope_metrics for metric in scope.metrics
    }


@pytest.fixture
def clock(bext_clock: Clock) -> Clock:
    return bext_clock


@pytest.fixture
def exported(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Exported]:
    made = Exported(getattr(request, "param", "delta"), clock)
    yield made
    made.reading.stop()
    made.provider.shutdown()


def value(metrics: Mapping[str, Any], name: str = CACHE_HITS.exported) -> float:
    (point,) = metrics[name].data.data_points
    return float(point.value)


# --- Beside upstream's SDK ----------------------------------------------------------------------------------


def record(provider: MeterProvider, interval: int) -> None:
    """One interval's measurements, through the API. Some series rest in some intervals."""
    meter = provider.get_meter(SCOPE)
    hits, requests = meter.create_counter(CACHE_HITS.name), meter.create_counter(REQUESTS.name)
    entries = meter.create_gauge(CACHE_ENTRIES.name)
    seconds = meter.create_histogram(
        HTTP_SERVER_REQUEST_DURATION.name,
        "s",
        explicit_bucket_boundaries_advisory=list(HTTP_SERVER_REQUEST_DURATION.bounds),
    )
    took = meter.create_histogram(REQUEST_DURATION.name)
    other = provider.get_meter("some.library")
    jobs, wait = (
        other.create_counter("queue.jobs"),
        other.create_histogram("queue.wait", explicit_bucket_boundaries_advisory=[1, 10]),
    )
    active = other.create_up_down_counter("pool.active")
    for number in range(40):
        if interval % 2 == number % 2:
            hits.add(number, {"app": f"app-{number % 5}", "layer": "isr"})
            wait.record(number / (interval + 1), {"queue": "mail"})
        requests.add(1, {"app": "shop", "method": "GET", "status": "200", "route": f"/{interval}"})
        entries.set(number * interval, {"app": "shop", "layer": "isr"})
        seconds.record(
            number / (8 + interval), {"http.request.method": "GET", "http.response.status_code": 200}
        )
        took.record(float(1 + number * 100**interval), {"app": "shop", "route": "/"})
        active.add(number % 3 - 1)
    if interval != 2:
        jobs.add(interval + 1, {"queue": "mail"})


def oracle(preference: str) -> tuple[MeterProvider, InMemoryMetricReader]:
    reader = InMemoryMetricReader(preferred_temporality=PREFERENCES[preference])
    views = [View(instrument_name=REQUEST_DURATION.name, aggregation=ExponentialBucketHistogramAggregation())]
    return MeterProvider([reader], shutdown_on_exit=False, views=views), reader


def comparable(metric: Any) -> Any:
    told: dict[Any, Any] = {}
    for point in metric.data.data_points:
        key = tuple(sorted((point.attributes or {}).items()))
        if hasattr(point, "value"):
            told[key] = pytest.approx(point.value)
        elif isinstance(point, ExponentialHistogramDataPoint):
            told[key] = (
                point.count,
                pytest.approx(point.sum),
                point.zero_count,
                sum(point.positive.bucket_counts),
                (point.min, point.max),
            )
        else:
            told[key] = (
                tuple(point.bucket_counts),
                point.count,
                pytest.approx(point.sum),
                (point.min, point.max),
            )
    temporality = None if isinstance(metric.data, Gauge) else metric.data.aggregation_temporality
    return temporality, told


@pytest.mark.parametrize("exported", PREFERENCES, indirect=True)
def test_both_engines_send_the_same_over_several_intervals(
    exported: Exported, request: pytest.FixtureRequest
) -> None:
    preference = request.node.callspec.params["exported"]
    upstream, reader = oracle(preference)
    dotted = {row.streamed: row.name for row in METRICS}
    for interval in range(4):
        record(upstream, interval)
        record(exported.provider, interval)
        theirs = by_name(reader.get_metrics_data())
        ours = {dotted.get(name, name): metric for name, metric in exported.send().items()}
        assert set(theirs) == set(ours)
        assert {name: comparable(metric) for name, metric in theirs.items()} == {
            name: comparable(metric) for name, metric in ours.items()
        }
    upstream.shutdown()


@pytest.mark.parametrize("exported", PREFERENCES, indirect=True)
def test_observable_counters_are_as_upstream_has_them(
    exported: Exported, request: pytest.FixtureRequest
) -> None:
    upstream, reader = oracle(request.node.callspec.params["exported"])
    now = Clock(0)

    def observe(_: CallbackOptions) -> list[Observation]:
        return [Observation(now(), {"label": "route"})]

    for provider in (upstream, exported.provider):
        provider.get_meter("some.library").create_observable_counter("cpu.time", [observe])
        provider.get_meter(SCOPE).create_observable_counter(LABEL_OVERFLOW.name, [observe])
    for seconds in (3, 7, 1):
        now.advance(seconds)
        theirs, ours = by_name(reader.get_metrics_data()), exported.send()
        assert comparable(theirs["cpu.time"]) == comparable(ours["cpu.time"])
        assert comparable(theirs[LABEL_OVERFLOW.name]) == comparable(ours[LABEL_OVERFLOW.streamed])
    upstream.shutdown()


# --- Delivery -----------------------------------------------------------------------------------------------


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: deltas of a request that failed are part of the next"
)
def test_what_failed_is_part_of_the_next_delivery(exported: Exported) -> None:
    exported.hit(5)
    first = exported.send()
    exported.exporter.result = MetricExportResult.FAILURE
    exported.hit(7)
    lost = exported.send()
    exported.exporter.result = MetricExportResult.SUCCESS
    exported.hit(1)
    regained = exported.send()
    assert (5, 7, 8) == (value(first), value(lost), value(regained))
    assert {} == exported.send()


def test_the_first_delivery_may_fail_too(exported: Exported) -> None:
    exported.exporter.result = MetricExportResult.FAILURE
    exported.hit(5)
    exported.send()
    exported.exporter.result = MetricExportResult.SUCCESS
    assert 5 == value(exported.send())


def test_an_interval_begins_where_the_last_delivered_one_ended(exported: Exported) -> None:
    spans = []
    for result in (MetricExportResult.SUCCESS, MetricExportResult.FAILURE, MetricExportResult.SUCCESS):
        exported.exporter.result = result
        exported.hit(1)
        (point,) = exported.send()[CACHE_HITS.exported].data.data_points
        spans.append((point.start_time_unix_nano, point.time_unix_nano))
    (began, first), failed, last = spans
    assert int(exported.reading.started_unix * 1e9) == began
    assert first == failed[0] == last[0]
    assert first < failed[1] < last[1]


def test_a_series_that_rested_goes_on_where_its_last_delivered_point_ended(exported: Exported) -> None:
    """So that whoever adds up deltas sees one life."""
    exported.hit(1)
    (first,) = exported.send()[CACHE_HITS.exported].data.data_points
    for _ in range(3):
        exported.hit(1, app="other")
        exported.send()
    exported.hit(1)
    (again,) = exported.send()[CACHE_HITS.exported].data.data_points
    assert first.time_unix_nano == again.start_time_unix_nano


def test_a_new_series_begins_at_the_export_before(exported: Exported) -> None:
    exported.hit(1)
    (first,) = exported.send()[CACHE_HITS.exported].data.data_points
    assert {} == exported.send()
    exported.hit(1, app="other")
    (new,) = exported.send()[CACHE_HITS.exported].data.data_points
    assert (
        10_000_000_000
        == new.time_unix_nano - new.start_time_unix_nano
        == new.start_time_unix_nano - first.time_unix_nano
    )


@pytest.mark.parametrize("exported", PREFERENCES, indirect=True)
@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_jumps_makes_no_point_older_than_the_one_before(exported: Exported, jump: float) -> None:
    """Which a backend would drop, nor an interval that ends before it begins. Other libraries' points are
    told at the same time."""
    jobs = exported.provider.get_meter("some.library").create_counter("queue.jobs")
    spans: dict[str, list[tuple[int, int]]] = {CACHE_HITS.exported: [], "queue.jobs": []}
    for number in range(6):
        if number == 2:
            exported.clock.advance(jump)
        exported.hit(1)
        jobs.add(1)
        metrics = exported.send()
        for name, told in spans.items():
            (point,) = metrics[name].data.data_points
            told.append((point.start_time_unix_nano, point.time_unix_nano))
    for name, told in spans.items():
        ends = [end for _, end in told]
        assert sorted(set(ends)) == ends, name
        assert all(start <= end for start, end in told), name
        temporality = metrics[name].data.aggregation_temporality
        starts = [start for start, _ in told]
        assert ([starts[0]] * 6 == starts) if temporality is CUMULATIVE else (ends[:-1] == starts[1:]), name


def test_exemplars_are_sent_also_after_a_clock_has_jumped_back(exported: Exported) -> None:
    sent = []
    for number in range(1, 4):
        if number == 2:
            exported.clock.advance(-3600)
        context = trace.SpanContext(
            number, 2, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED)
        )
        with trace.use_span(trace.NonRecordingSpan(context)):
            exported.hit(1)
        (point,) = exported.send()[CACHE_HITS.exported].data.data_points
        sent.append([exemplar.trace_id for exemplar in point.exemplars])
    assert [[1], [2], [3]] == sent


def test_an_exemplar_is_sent_once(exported: Exported) -> None:
    context = trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))
    with trace.use_span(trace.NonRecordingSpan(context)):
        exported.hit(1)
    (point,) = exported.send()[CACHE_HITS.exported].data.data_points
    assert [1] == [exemplar.trace_id for exemplar in point.exemplars]
    exported.hit(1)
    (point,) = exported.send()[CACHE_HITS.exported].data.data_points
    assert [] == list(point.exemplars)
    exported.clock.advance(1)
    with trace.use_span(trace.NonRecordingSpan(context)):
        exported.hit(1)
    (point,) = exported.send()[CACHE_HITS.exported].data.data_points
    assert [2] == [exemplar.span_id for exemplar in point.exemplars]


@pytest.mark.parametrize("row", [REQUEST_DURATION, HTTP_SERVER_REQUEST_DURATION], ids=lambda row: row.kind)
def test_extremes_are_those_of_the_interval(exported: Exported, row: Metric) -> None:
    """Also where a reading in between has drained some of it, and another exporter has its own."""
    other = Collecting("delta")
    often = MetricExport(exported.reading, RESOURCE, other, Delivery("metrics", "there"), 60)
    cell = exported.streams.stream(row).cell({"app": "shop", "route": "/"})
    told = []
    for values in ((5.0, 9.0), (6.0, 20.0), (7.0,), (1.0, 8.0)):
        for one in values:
            cell.add(one)
            often.send()
        (point,) = exported.send()[row.streamed].data.data_points
        told.append((point.min, point.max))
    assert [(5.0, 9.0), (6.0, 20.0), (7.0, 7.0), (1.0, 8.0)] == told
    points = [by_name(data)[row.streamed].data.data_points[0] for data in other.taken]
    assert [5.0, 9.0, 6.0, 20.0, 7.0, 1.0, 8.0] == [point.min for point in points]
    assert [5.0, 9.0, 6.0, 20.0, 7.0, 1.0, 8.0] == [point.max for point in points]


def test_extremes_of_what_failed_are_part_of_the_next_delivery(exported: Exported) -> None:
    cell = exported.streams.stream(REQUEST_DURATION).cell({"app": "shop", "route": "/"})
    told = []
    for value, arrives in ((5, False), (6, True), (1, False), (9, False), (7, True), (8, True)):
        cell.add(value)
        exported.exporter.result = MetricExportResult.SUCCESS if arrives else MetricExportResult.FAILURE
        (point,) = exported.send()[REQUEST_DURATION.exported].data.data_points
        told.append((point.min, point.max))
    assert [(5, 5), (5, 6), (1, 1), (1, 9), (1, 9), (8, 8)] == told


def test_a_view_without_extremes_has_none_in_deltas_either(clock: Clock) -> None:
    views = [View(instrument_name="wait", aggregation=ExplicitBucketHistogramAggregation([1], False))]
    reader = InMemoryMetricReader(preferred_temporality=PREFERENCES["delta"])
    streams = Streams(Budgets({}), clock=clock)
    provider = BextMeterProvider(streams, RESOURCE, views=views, metric_readers=[reader])
    wait = provider.get_meter("some.library").create_histogram("wait")
    for _ in range(2):
        wait.record(3)
        (point,) = by_name(reader.get_metrics_data())["wait"].data.data_points
        assert (1, None, None) == (point.count, point.min or None, point.max or None)
    provider.shutdown()


def test_a_reader_that_is_gone_costs_a_series_nothing_more(clock: Clock) -> None:
    streams = Streams(Budgets({}), clock=clock)
    cell: Any = streams.stream(REQUEST_DURATION).cell({"app": "shop", "route": "/"})
    for number in range(20):
        account = DeltaState({"histogram": DELTA})
        cell.add(number)
        with streams.lock:
            streams.drain()
            account.open(number + 1)
            account.since(cell, point_of(cell.read(), COMMON))
    assert 1 >= len(cell.intervals) - 1


@pytest.mark.parametrize(
    "row", [CACHE_HITS, REQUEST_DURATION, HTTP_SERVER_REQUEST_DURATION], ids=lambda row: row.kind
)
def test_a_forked_child_owes_what_it_counted_itself(exported: Exported, row: Metric) -> None:
    labels = {"app": "shop", "layer": "isr", "route": "/", "http.request.method": "GET"}
    exported.streams.stream(row).cell(labels).add(5)
    exported.send()
    # What the hooks do in a child.
    exported.reading.reset()
    exported.export.reset()
    assert {} == exported.send()
    exported.streams.stream(row).cell(labels).add(3)
    (point,) = exported.send()[row.streamed].data.data_points
    assert 3 == (point.value if row.kind == "counter" else point.sum)
    assert int(exported.reading.started_unix * 1e9) <= point.start_time_unix_nano < point.time_unix_nano


def test_two_exporters_have_accounts_of_their_own(exported: Exported) -> None:
    second = Collecting("delta")
    export = MetricExport(exported.reading, RESOURCE, second, Delivery("metrics", "there"), 60)
    exported.hit(2)
    assert 2 == value(exported.send())
    exported.hit(3)
    assert 3 == value(exported.send())
    assert export.send()
    assert 5 == value(by_name(second.taken[0]))


@pytest.mark.parametrize("exported", ["cumulative"], indirect=True)
def test_totals_need_no_memory_of_what_was_delivered(exported: Exported) -> None:
    exported.hit(2)
    exported.send()
    assert 2 == value(exported.send())
    assert {} == exported.export._account._delivered


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 1000), max_size=8), st.booleans()), max_size=12),
    st.sampled_from([CACHE_HITS, REQUEST_DURATION]),
)
def test_deliveries_add_up_to_the_total(intervals: list[tuple[list[int], bool]], row: Metric) -> None:
    """Whatever fails on the way: what was delivered, and what the last delivery brings, is everything."""
    exported = Exported("delta", Clock(1000.0))
    cell = exported.streams.stream(row).cell({"app": "shop", "layer": "isr", "route": "/"})
    delivered, counted = 0.0, 0
    for amounts, arrives in [*intervals, ([], True)]:
        for amount in amounts:
            cell.add(amount)
        exported.exporter.result = MetricExportResult.SUCCESS if arrives else MetricExportResult.FAILURE
        for metric in exported.send().values():
            (point,) = metric.data.data_points
            if arrives and row.kind == "counter":
                delivered += point.value
            elif arrives:
                delivered += point.sum
                counted += point.count
                assert point.count == point.zero_count + sum(point.positive.bucket_counts)
    amounts = [amount for interval, _ in intervals for amount in interval]
    assert sum(amounts) == pytest.approx(delivered)
    assert row.kind == "counter" or len(amounts) == counted
    exported.reading.stop()
    exported.provider.shutdown()
