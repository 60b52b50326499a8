"""The way out: the cells as the SDK's data, and upstream's own engine as the oracle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogramDataPoint,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource

from bext_otel.apps import Budgets
from bext_otel.catalogue import CACHE_HITS, LABEL_OVERFLOW, METRICS, OTEL_SDK_LOG_CREATED, REQUEST_DURATION
from bext_otel.export.delivery import Delivery
from bext_otel.export.periodic import MetricExport, metrics_data
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.store.streams import Streams
from bext_otel.operation import SCOPE
from bext_otel.scope import SCHEMA_URL, VERSION
from tests.metrics.merging.test_sum import Board
from tests.waiting import until

RESOURCE = Resource({"service.name": "shop"})


class Ours:
    def __init__(self) -> None:
        self.streams = Streams(Budgets({}))
        self.provider = BextMeterProvider(self.streams, RESOURCE)
        self.reading = SnapshotReader(self.streams, self.provider.instruments, include_process=False)

    def points(self) -> dict[str, list[Any]]:
        data = metrics_data(self.reading, RESOURCE)
        return {
            m.name: list(m.data.data_points)
            for r in data.resource_metrics
            for s in r.scope_metrics
            for m in s.metrics
        }


@pytest.fixture
def ours() -> Iterator[Ours]:
    made = Ours()
    yield made
    made.reading.stop()
    made.provider.shutdown()


def test_streams_have_the_specifications_name_and_an_empty_unit(ours: Ours) -> None:
    for row in METRICS:
        ours.streams.stream(row).cell({label.name: (label.values or ("x",))[0] for label in row.labels}).add(
            1
        )
    data = metrics_data(ours.reading, RESOURCE)
    (scope,) = data.resource_metrics[0].scope_metrics
    assert (SCOPE, VERSION, SCHEMA_URL) == (scope.scope.name, scope.scope.version, scope.schema_url)
    streamed = {metric.name: metric.unit for metric in scope.metrics}
    assert {row.streamed: row.streamed_unit for row in METRICS} == streamed
    assert "s" == streamed["http.server.request.duration"]
    assert {""} == {unit for name, unit in streamed.items() if name.startswith("bext")}


def test_other_libraries_follow_in_their_own_scope(ours: Ours) -> None:
    ours.provider.get_meter("some.library").create_counter("queue.jobs").add(3)
    (point,) = ours.points()["queue.jobs"]
    assert 3 == point.value


def test_a_summary_leaves_as_an_exponential_histogram(ours: Ours) -> None:
    cell = ours.streams.stream(REQUEST_DURATION).cell({"app": "shop", "route": "/"})
    for value in (0.0, 1.0, 2.0, 1000.0):
        cell.add(value)
    (point,) = ours.points()[REQUEST_DURATION.exported]
    assert isinstance(point, ExponentialHistogramDataPoint)
    assert (4, 1003.0, 1, 0.0, 1000.0) == (point.count, point.sum, point.zero_count, point.min, point.max)
    assert 3 == sum(point.positive.bucket_counts)


class Collecting(MetricExporter):
    def __init__(self, result: MetricExportResult = MetricExportResult.SUCCESS) -> None:
        super().__init__()
        self.result = result
        self.batches: list[MetricsData] = []
        self.ended = threading.Event()

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        self.batches.append(metrics_data)
        return self.result

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self.ended.set()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True


def test_metrics_are_sent_at_the_interval_and_once_more_at_the_end(ours: Ours) -> None:
    exporter, delivery = Collecting(), Delivery("metrics", "nowhere")
    export = MetricExport(ours.reading, RESOURCE, exporter, delivery, 0.01)
    ours.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)
    export.start()
    until(lambda: len(exporter.batches) >= 2, why="two batches")
    export.shutdown(1.0)
    assert exporter.ended.is_set()
    assert delivery.exported >= 3
    assert (
        AggregationTemporality.CUMULATIVE
        == exporter.batches[0].resource_metrics[0].scope_metrics[0].metrics[0].data.aggregation_temporality
    )  # type: ignore[union-attr]


def test_telemetry_about_telemetry_alone_is_worth_no_last_export(ours: Ours) -> None:
    """Such as that of a server's master, which would be one more instance of the service, and a wait for a
    collector that is down."""
    exporter = Collecting()
    export = MetricExport(ours.reading, RESOURCE, exporter, Delivery("metrics", "nowhere"), 60)
    ours.streams.stream(OTEL_SDK_LOG_CREATED).observers.append(lambda: [(1, {})])
    export.shutdown(5)
    assert ([], True) == (exporter.batches, exporter.ended.is_set())
    export.reset()
    ours.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)
    export.shutdown(5)
    (batch,) = exporter.batches
    assert {CACHE_HITS.exported, OTEL_SDK_LOG_CREATED.name} == {
        m.name for m in batch.resource_metrics[0].scope_metrics[0].metrics
    }


def test_an_exporter_that_has_been_shut_down_gets_nothing_more(ours: Ours) -> None:
    exporter = Collecting()
    export = MetricExport(ours.reading, RESOURCE, exporter, Delivery("metrics", "nowhere"), 60)
    ours.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)
    export.shutdown(5)
    ours.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)
    assert (False, False) == (export.flush(5), export.send())
    assert 1 == len(exporter.batches)


def test_what_a_backend_refuses_is_counted(ours: Ours) -> None:
    delivery = Delivery("metrics", "nowhere")
    export = MetricExport(ours.reading, RESOURCE, Collecting(MetricExportResult.FAILURE), delivery, 60)
    ours.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)
    assert not export.send()
    assert (0, 1, True) == (delivery.exported, delivery.failed, delivery.failing)


def test_nothing_measured_is_nothing_sent(ours: Ours) -> None:
    exporter = Collecting()
    assert MetricExport(ours.reading, RESOURCE, exporter, Delivery("metrics", "nowhere"), 60).send()
    assert [] == exporter.batches


def test_what_an_export_drained_is_told_to_the_other_workers() -> None:
    """An export between two ticks takes what the second would have found."""
    board = Board()
    first, second = (
        SnapshotReader(Streams(Budgets({})), ledger=board.join(), include_process=False) for _ in range(2)
    )
    for reading in (first, second):
        reading.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)
        reading.tick()
    first.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(5)
    MetricExport(first, RESOURCE, Collecting(), Delivery("metrics", "nowhere"), 60).send()
    first.tick()
    family = second.snapshot().family(CACHE_HITS)
    assert family is not None
    assert [7] == [point.value for point in family.points]
    for reading in (first, second):
        reading.stop()


def test_a_reading_that_fails_ends_no_export(ours: Ours, caplog: pytest.LogCaptureFixture) -> None:
    """It is a loss while it lasts, told once, and the next one sends what was kept."""
    exporter, delivery, broken = Collecting(), Delivery("metrics", "nowhere"), True
    read_by = ours.provider.instruments.read_by

    def broken_at_first(reader: Any) -> Any:
        return 1 / 0 if broken else read_by(reader)

    ours.provider.instruments.read_by = broken_at_first  # type: ignore[method-assign]
    export = MetricExport(ours.reading, RESOURCE, exporter, delivery, 0.005)
    ours.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)
    export.start()
    until(lambda: len(delivery.readings) >= 3, why="three attempts")
    assert delivery.failing
    assert "ZeroDivisionError" in {cause for _, cause, _ in delivery.readings}
    assert 1 == len([record for record in caplog.records if record.levelname == "WARNING"])
    broken = False
    until(lambda: exporter.batches and not delivery.failing, why="a batch")
    export.shutdown(1.0)


def test_an_application_that_flushes_is_not_told_of_a_reading_that_fails(ours: Ours) -> None:
    ours.provider.instruments.read_by = lambda _: 1 / 0  # type: ignore[method-assign,assign,return-value]
    assert not MetricExport(ours.reading, RESOURCE, Collecting(), Delivery("metrics", "nowhere"), 60).send()


class Hanging(Collecting):
    """Does not come back until it is told to give up."""

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        self.batches.append(metrics_data)
        self.ended.wait(30)
        return MetricExportResult.FAILURE


def test_the_end_does_not_wait_for_an_exporter_that_hangs(ours: Ours) -> None:
    """It is told to give up, and what it held is counted."""
    exporter, delivery = Hanging(), Delivery("metrics", "nowhere")
    ours.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)
    MetricExport(ours.reading, RESOURCE, exporter, delivery, 60).shutdown(0.05)
    assert exporter.ended.is_set()
    until(lambda: 1 == delivery.failed, why="the last export has given up")


def test_a_second_end_sends_nothing(ours: Ours) -> None:
    exporter = Collecting()
    export = MetricExport(ours.reading, RESOURCE, exporter, Delivery("metrics", "nowhere"), 60)
    ours.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)
    export.shutdown(1.0)
    export.shutdown(1.0)
    assert 1 == len(exporter.batches)


def test_an_application_may_flush_and_end_by_the_provider(ours: Ours) -> None:
    """As with upstream's, whose exports are readers."""
    exporter = Collecting()
    with_export(ours, exporter)
    ours.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)
    assert ours.provider.force_flush()
    exporter.result = MetricExportResult.FAILURE
    assert not ours.provider.force_flush()
    ours.provider.shutdown()
    assert 3 == len(exporter.batches)
    assert exporter.ended.is_set()


# --- Callbacks that flush, and flushes that meet ------------------------------------------------------------


def in_time(call: Callable[[], Any]) -> Any:
    """What `call` returns; an error if it hangs."""
    returned: list[Any] = []
    thread = threading.Thread(target=lambda: returned.append(call()), daemon=True)
    thread.start()
    thread.join(20)
    assert returned, f"{call} hangs, or has failed"
    return returned[0]


def with_export(ours: Ours, exporter: Collecting) -> MetricExport:
    export = MetricExport(ours.reading, RESOURCE, exporter, Delivery("metrics", "nowhere"), 60)
    ours.provider.on_flush.append(export.flush)
    ours.provider.on_shutdown.append(export.shutdown)
    return export


@pytest.mark.parametrize("whose", ["the catalogue's", "another library's"])
@pytest.mark.parametrize("begins", ["flush", "export", "scrape"])
def test_a_callback_that_flushes_hangs_nothing(ours: Ours, whose: str, begins: str) -> None:
    exporter, told = Collecting(), []
    export = with_export(ours, exporter)
    ours.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)

    def observe() -> int:
        told.append(ours.provider.force_flush())
        return 7

    if whose == "the catalogue's":
        ours.streams.stream(LABEL_OVERFLOW).observers.append(lambda: [(observe(), {"label": "app"})])
    else:
        ours.provider.get_meter("some.library").create_observable_gauge(
            "level", [lambda _: [Observation(observe())]]
        )
    begun: dict[str, Callable[[], object]] = {
        "flush": ours.provider.force_flush,
        "export": export.send,
        "scrape": ours.reading.snapshot,
    }
    in_time(begun[begins])
    assert told
    sent = [m.name for r in exporter.batches[-1].resource_metrics for s in r.scope_metrics for m in s.metrics]
    assert CACHE_HITS.streamed in sent
    if begins == "export":
        assert (LABEL_OVERFLOW.streamed if whose == "the catalogue's" else "level") in sent
        assert not any(told)


@pytest.mark.parametrize("whose", ["the catalogue's", "another library's"])
def test_a_callback_may_wait_for_another_thread_that_flushes(
    ours: Ours, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bext_otel.metrics.instruments.store._PATIENCE_SECONDS", 0.1)
    exporter, told = Collecting(), []
    export = with_export(ours, exporter)
    ours.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)

    def observe() -> int:
        if not told:
            told.append(True)
            in_time(ours.provider.force_flush)
        return 7

    if whose == "the catalogue's":
        ours.streams.stream(LABEL_OVERFLOW).observers.append(lambda: [(observe(), {"label": "app"})])
    else:
        ours.provider.get_meter("some.library").create_observable_gauge(
            "level", [lambda _: [Observation(observe())]]
        )
    assert in_time(export.send)
    assert exporter.batches


def test_a_reading_that_somebody_has_overtaken_is_made_again(ours: Ours) -> None:
    """What it found is older than what was sent: a counter would seem to fall."""
    exporter = Collecting()
    exporter._preferred_temporality = {ObservableCounter: AggregationTemporality.DELTA}
    export = with_export(ours, exporter)
    value, reads = 1, 0
    held, reading = threading.Event(), threading.Event()

    def observe() -> list[tuple[int, dict[str, str]]]:
        nonlocal reads
        reads += 1
        found = value
        if reads == 2:
            reading.set()
            assert held.wait(20)
        return [(found, {"label": "app"})]

    ours.streams.stream(LABEL_OVERFLOW).observers.append(observe)
    export.send()
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(export.send)
        assert reading.wait(20)
        value = 5
        assert export.send()
        held.set()
        assert slow.result(20)
    sent = [
        point.value
        for batch in exporter.batches
        for r in batch.resource_metrics
        for s in r.scope_metrics
        for m in s.metrics
        if m.name == LABEL_OVERFLOW.streamed
        for point in m.data.data_points
    ]
    assert [1, 4] == sent


def test_a_flush_does_not_wait_for_ever_for_an_exporter_that_hangs(ours: Ours) -> None:
    exporter = Hanging()
    export = with_export(ours, exporter)
    ours.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(export.send)
        until(lambda: exporter.batches, why="the exporter hangs")
        assert not in_time(lambda: ours.provider.force_flush(50))
        exporter.ended.set()
        assert not hanging.result(20)


def test_an_exporter_that_flushes_is_told_no(ours: Ours) -> None:
    class Flushing(Collecting):
        def export(
            self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
        ) -> MetricExportResult:
            flushed.append(ours.provider.force_flush())
            return super().export(metrics_data)

    flushed: list[bool] = []
    export = with_export(ours, Flushing())
    ours.streams.stream(CACHE_HITS).cell({"app": "shop", "layer": "isr"}).add(1)
    assert in_time(export.send)
    assert [False] == flushed
