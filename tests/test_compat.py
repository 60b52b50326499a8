"""Each private upstream name still is what bext-otel takes it for."""

from __future__ import annotations

import inspect

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, ConsoleMetricExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bext_otel import _compat


def test_the_synchronous_gauge_has_set() -> None:
    assert ["self", "amount", "attributes", "context"] == list(inspect.signature(_compat.Gauge.set).parameters)
    assert isinstance(metrics.NoOpMeter("x").create_gauge("g"), _compat.Gauge)


@pytest.mark.parametrize(
    ("name", "unit", "counter", "expected"),
    [
        ("http.server.active_requests", "{request}", False, "http_server_active_requests"),
        ("process.cpu.time", "s", True, "process_cpu_time_seconds_total"),
        ("memory.used", "By", False, "memory_used_bytes"),
        ("cache.hit.ratio", "1", False, "cache_hit_ratio"),
        ("speed", "m/s", False, "speed_meters_per_second"),
        ("1st.thing", "", False, "_st_thing"),
    ],
)
def test_the_standard_translation_to_prometheus(name: str, unit: str, counter: bool, expected: str) -> None:
    assert expected == _compat.prometheus_name(name, unit, counter=counter)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_every_otlp_exporter_is_where_we_look_for_it(protocol: str, signal: str) -> None:
    exporter = _compat.otlp_exporter(protocol, signal)  # type: ignore[arg-type]
    assert {"endpoint", "headers", "timeout"} <= set(inspect.signature(exporter.__init__).parameters)


def test_a_batch_processor_shuts_down_within_a_time_and_exports_what_it_holds() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    processor = BatchSpanProcessor(exporter, schedule_delay_millis=60_000)
    provider.add_span_processor(processor)
    provider.get_tracer("t").start_span("s").end()
    kept: list[str] = []
    exporter.shutdown = lambda: kept.extend(span.name for span in exporter.get_finished_spans())  # type: ignore[method-assign]
    _compat.shut_batch_processor(processor, 5_000)
    assert ["s"] == kept


def test_a_proxy_is_no_provider_that_the_application_has_set() -> None:
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        assert "traces" not in _compat.already_installed()
    assert set(_compat.already_installed()) <= {"traces", "metrics", "logs"}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize(
    ("value", "deltas"),
    [
        ("cumulative", set()),
        ("delta", {Counter, ObservableCounter, Histogram}),
        ("lowmemory", {Counter, Histogram}),
        ("DELTA", {Counter, ObservableCounter, Histogram}),
        ("sometimes", set()),
    ],
)
def test_an_exporter_prefers_the_temporality_of_the_standard_variable(
    monkeypatch: pytest.MonkeyPatch, protocol: str, value: str, deltas: set[type]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", value)
    exporter = _compat.otlp_exporter(protocol, "metrics")(endpoint="http://127.0.0.1:1")  # type: ignore[arg-type]
    found = {kind for kind, prefers in _compat.preferred_temporality(exporter).items() if prefers is AggregationTemporality.DELTA}
    exporter.shutdown()
    assert deltas == found


def test_an_exporter_without_a_preference_has_none() -> None:
    assert not _compat.preferred_temporality(ConsoleMetricExporter())
