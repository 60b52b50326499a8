"""Processors that begin at the first span."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from bext_otel.export.processors import LazyLogRecordProcessor, LazySpanProcessor


def test_no_thread_exists_before_the_first_span() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(LazySpanProcessor(exporter))
    before = set(threading.enumerate())
    provider.get_tracer("t")
    assert before == set(threading.enumerate())
    provider.get_tracer("t").start_span("first").end()
    assert "bext-otel-export" in {thread.name for thread in threading.enumerate()}
    provider.shutdown()
    assert ["first"] == [span.name for span in exporter.get_finished_spans()]


def test_a_span_that_is_not_sampled_is_not_exported() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(LazySpanProcessor(exporter))
    provider.get_tracer("t").start_span("s").end()
    assert provider.force_flush()
    assert () == exporter.get_finished_spans()
    provider.shutdown()


def test_the_standard_variables_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BLRP_MAX_QUEUE_SIZE", "2")
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "60000")
    exporter = InMemoryLogRecordExporter()
    processor = LazyLogRecordProcessor(exporter)
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    for number in range(2):
        provider.get_logger("t").emit(body=str(number))
    assert processor.force_flush()
    assert ["0", "1"] == [record.log_record.body for record in exporter.get_finished_logs()]
    provider.shutdown()
