"""Processors that begin at the first span."""

from __future__ import annotations

import threading

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from bext_otel.export.processors import LazySpanProcessor


def test_no_thread_exists_before_the_first_span() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(LazySpanProcessor(exporter))
    before = threading.active_count()
    provider.get_tracer("t")
    assert before == threading.active_count()
    provider.get_tracer("t").start_span("first").end()
    assert before + 1 == threading.active_count()
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
