"""Processors that are built at the first span: what happens when that fails."""

from __future__ import annotations

import logging
import threading

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bext_otel.pipeline.lazy import LazySpanProcessor


def test_no_thread_exists_before_the_first_span() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(LazySpanProcessor(lambda: BatchSpanProcessor(exporter)))
    before = threading.active_count()
    provider.get_tracer("t")
    assert before == threading.active_count()
    provider.get_tracer("t").start_span("first").end()
    assert before + 1 == threading.active_count()
    provider.shutdown()
    assert ["first"] == [span.name for span in exporter.get_finished_spans()]


def test_a_processor_that_cannot_be_built_is_one_line_and_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def build() -> BatchSpanProcessor:
        raise RuntimeError("can't start new thread")

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(LazySpanProcessor(build))
    with caplog.at_level(logging.WARNING, "bext_otel"):
        for name in ("one", "two"):
            provider.get_tracer("t").start_span(name).end()
    provider.shutdown()
    (line,) = caplog.messages
    assert "RuntimeError: can't start new thread" in line
