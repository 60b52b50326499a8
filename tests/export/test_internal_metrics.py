"""Telemetry about telemetry, from real providers, processors and exporters."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from bext_otel import catalogue
from bext_otel.apps import Budgets
from bext_otel.catalogue import Metric
from bext_otel.export.batching import QueueLimits
from bext_otel.export.delivery import Delivery, listen_to_exporters
from bext_otel.export.internal_metrics import SelfTelemetry
from bext_otel.export.periodic import MetricExport, metrics_data
from bext_otel.export.traces import span_batches
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.snapshot import Histogram
from bext_otel.metrics.store.streams import Streams
from bext_otel.traces.provider import BextTracerProvider
from tests.waiting import until

RESOURCE = Resource({"service.name": "shop"})


class Gate(SpanExporter):
    """An exporter that waits to be let through, and fails if told to."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.open = threading.Event()
        self.result = True
        self.waiting = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        def pass_through() -> bool:
            self.waiting.set()
            return self.open.wait(10) and self.result

        return (
            SpanExportResult.SUCCESS
            if self.delivery.attempt(len(spans), pass_through)
            else SpanExportResult.FAILURE
        )


class Process:
    """Traces and metrics of a process whose spans go through a gate, two at a time, with room for four."""

    def __init__(self) -> None:
        self.own = SelfTelemetry()
        self.delivery = Delivery(
            "traces", "http://collector:4318/v1/traces", component="otlp_http_span_exporter"
        )
        self.own.deliveries.append(self.delivery)
        self.gate = Gate(self.delivery)
        self.traces = BextTracerProvider(RESOURCE, self.own.spans)
        batches, sink = span_batches(
            self.gate,
            self.delivery.queue,
            QueueLimits(queue_size=4, batch_size=2, delay_seconds=60),
        )
        self.traces.add_sink(sink, batches)
        self.tracer = self.traces.get_tracer("t")
        self.streams = Streams(Budgets({}))
        self.metrics = BextMeterProvider(self.streams, RESOURCE)
        self.reading = SnapshotReader(self.streams, self.metrics.instruments, include_process=False)
        self.own.observe(self.metrics, units=True)

    def spans(self, number: int) -> None:
        for _ in range(number):
            self.tracer.start_span("s").end()

    def values(self, row: Metric) -> dict[str, Any]:
        family = self.reading.snapshot().family(row)
        return {} if family is None else {point.series.text: point.value for point in family.points}

    def end(self) -> None:
        self.gate.open.set()
        self.traces.shutdown()
        self.reading.stop()
        self.metrics.shutdown()


@pytest.fixture
def process() -> Iterator[Process]:
    made = Process()
    yield made
    made.end()


PROCESSOR = 'otel_component_type="batching_span_processor",otel_component_name="batching_span_processor/0"'
EXPORTER = (
    'otel_component_type="otlp_http_span_exporter",otel_component_name="otlp_http_span_exporter/0",'
    'server_address="collector",server_port="4318"'
)


def test_spans_are_followed_from_their_start_to_the_backend(process: Process) -> None:
    """Two are on their way, four wait, three found no room."""
    process.spans(2)
    assert process.gate.waiting.wait(10)
    process.spans(7)
    assert {PROCESSOR: 4} == process.values(catalogue.OTEL_SDK_PROCESSOR_SPAN_QUEUE_SIZE)
    assert {PROCESSOR: 4} == process.values(catalogue.OTEL_SDK_PROCESSOR_SPAN_QUEUE_CAPACITY)
    assert {PROCESSOR: 2, f'{PROCESSOR},error_type="queue_full"': 3} == process.values(
        catalogue.OTEL_SDK_PROCESSOR_SPAN_PROCESSED
    )
    assert {EXPORTER: 2} == process.values(catalogue.OTEL_SDK_EXPORTER_SPAN_INFLIGHT)
    assert {EXPORTER: 0} == process.values(catalogue.OTEL_SDK_EXPORTER_SPAN_EXPORTED)
    figures = process.own.figures()
    assert (6, 0, 3, 0) == tuple(
        figures[f"spans_{state}"] for state in ("queued", "exported", "dropped", "failed")
    )
    assert process.own.losing()
    process.gate.open.set()
    until(lambda: process.delivery.exported >= 2, why="the gate is open")
    assert process.traces.force_flush()
    assert {EXPORTER: 6} == process.values(catalogue.OTEL_SDK_EXPORTER_SPAN_EXPORTED)
    assert {EXPORTER: 0} == process.values(catalogue.OTEL_SDK_EXPORTER_SPAN_INFLIGHT)
    assert {PROCESSOR: 0} == process.values(catalogue.OTEL_SDK_PROCESSOR_SPAN_QUEUE_SIZE)
    ((labels, took),) = process.values(catalogue.OTEL_SDK_EXPORTER_OPERATION_DURATION).items()
    assert isinstance(took, Histogram)
    assert (EXPORTER, 3) == (labels, took.count)


def test_what_failed_has_its_cause(process: Process) -> None:
    process.gate.result = False
    process.gate.open.set()
    process.spans(1)
    process.traces.force_flush()
    assert {EXPORTER: 0, f'{EXPORTER},error_type="_OTHER"': 1} == process.values(
        catalogue.OTEL_SDK_EXPORTER_SPAN_EXPORTED
    )
    assert [f'{EXPORTER},error_type="_OTHER"'] == list(
        process.values(catalogue.OTEL_SDK_EXPORTER_OPERATION_DURATION)
    )
    assert "failing" == process.own.figures()["spans_export"]


def test_upstream_says_nothing_of_its_own_about_drops(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    listen_to_exporters()
    process.spans(2)
    assert process.gate.waiting.wait(10)
    process.spans(100)
    assert ["bext_otel.export"] == [
        record.name for record in caplog.records if record.levelno >= logging.WARNING
    ]


def test_spans_live_between_start_and_end(process: Process) -> None:
    span = process.tracer.start_span("s")
    assert {'otel_span_sampling_result="RECORD_AND_SAMPLE"': 1} == process.values(
        catalogue.OTEL_SDK_SPAN_LIVE
    )
    span.end()
    span.end()
    assert {'otel_span_sampling_result="RECORD_AND_SAMPLE"': 0} == process.values(
        catalogue.OTEL_SDK_SPAN_LIVE
    )


@pytest.mark.parametrize(("remote", "origin"), [(None, "none"), (False, "local"), (True, "remote")])
def test_a_start_tells_where_the_parent_is(process: Process, remote: bool | None, origin: str) -> None:
    context = None
    if remote is not None:
        context = set_span_in_context(
            NonRecordingSpan(SpanContext(1, 2, is_remote=remote, trace_flags=TraceFlags(1)))
        )
    process.tracer.start_span("s", context=context)
    expected = {f'otel_span_parent_origin="{origin}",otel_span_sampling_result="RECORD_AND_SAMPLE"': 1}
    assert expected == process.values(catalogue.OTEL_SDK_SPAN_STARTED)


def test_a_span_that_is_not_sampled_starts_and_never_lives(process: Process) -> None:
    context = set_span_in_context(
        NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(0)))
    )
    process.tracer.start_span("s", context=context).end()
    assert {'otel_span_parent_origin="remote",otel_span_sampling_result="DROP"': 1} == process.values(
        catalogue.OTEL_SDK_SPAN_STARTED
    )
    assert {} == process.values(catalogue.OTEL_SDK_SPAN_LIVE)


@pytest.mark.parametrize("decision", Decision)
def test_started_and_live_agree_with_upstreams_own_count(decision: Decision) -> None:
    """Only what is recorded lives."""
    counts = SelfTelemetry().spans
    ends = [counts.start_span(None, decision) for _ in range(3)]
    ends[0]()
    assert [3] == [value for value, _ in counts.started()]
    assert ([] if decision is Decision.DROP else [2]) == [value for value, _ in counts.live()]


def test_the_end_of_a_span_of_the_parent_counts_in_no_child(process: Process) -> None:
    span = process.tracer.start_span("s")
    process.own.reset()
    span.end()
    assert {} == process.values(catalogue.OTEL_SDK_SPAN_LIVE)
    process.spans(1)
    assert {'otel_span_sampling_result="RECORD_AND_SAMPLE"': 0} == process.values(
        catalogue.OTEL_SDK_SPAN_LIVE
    )


def test_an_export_of_metrics_is_told_by_the_next(process: Process) -> None:
    delivery = Delivery("metrics", "console")
    process.own.deliveries.append(delivery)
    process.spans(1)
    assert MetricExport(process.reading, RESOURCE, _Taking(), delivery, 60).send()
    assert delivery.exported
    (points,) = process.values(catalogue.OTEL_SDK_EXPORTER_METRIC_DATA_POINT_EXPORTED).values()
    assert delivery.exported == points
    (took,) = process.values(catalogue.OTEL_SDK_METRIC_READER_COLLECTION_DURATION).values()
    assert 1 == took.count


def test_up_down_counters_of_the_conventions_are_sums_in_otlp(process: Process) -> None:
    process.spans(1)
    data = metrics_data(process.reading, RESOURCE)
    metrics = {
        metric.name: metric for scope in data.resource_metrics[0].scope_metrics for metric in scope.metrics
    }
    live, started = metrics["otel.sdk.span.live"], metrics["otel.sdk.span.started"]
    assert ("{span}", False) == (live.unit, live.data.is_monotonic)  # type: ignore[union-attr]
    assert ("{span}", True) == (started.unit, started.data.is_monotonic)  # type: ignore[union-attr]


def test_two_exporters_of_a_signal_are_one_figure() -> None:
    own = SelfTelemetry()
    own.deliveries += [Delivery("traces", "here"), Delivery("traces", "there", number=1)]
    for delivery in own.deliveries:
        delivery.succeeded(2)
    own.deliveries[0].lost(1, "gone")
    figures: Mapping[str, object] = own.figures(metric_points_dropped=4)
    assert (4, 1, "failing", 4) == tuple(
        figures[name] for name in ("spans_exported", "spans_failed", "spans_export", "metric_points_dropped")
    )


def test_log_records_that_did_not_arrive_are_told_with_the_lines_of_other_sinks(process: Process) -> None:
    delivery = Delivery("logs", "http://collector:4318/v1/logs", component="otlp_http_log_exporter")
    process.own.deliveries.append(delivery)
    lost = [(2, {"sink": "stdout", "reason": "stuck"}), (1, {"sink": "otlp", "reason": "error"})]
    process.own.dropped_lines = lambda: iter(lost)
    delivery.attempt(3, lambda: False)
    delivery.queue.drop_items(4)
    assert {
        'sink="stdout",reason="stuck"': 2,
        'sink="otlp",reason="error"': 1,
        'sink="otlp",reason="undelivered"': 3,
        'sink="otlp",reason="queue_full"': 4,
    } == process.values(catalogue.LOG_LINES_DROPPED)
    assert process.own.losing()


class _Taking(MetricExporter):
    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        return MetricExportResult.SUCCESS

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        pass

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True
