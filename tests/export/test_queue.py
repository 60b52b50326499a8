"""What is dropped is counted, whoever drops it, and said once."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from bext_otel.export.batching import QueueLimits
from bext_otel.export.delivery import Delivery
from bext_otel.export.processors import LazySpanProcessor
from bext_otel.export.queue import Queue, Ticks
from bext_otel.testing import Clock


def test_a_count_is_exact_under_threads_that_also_look() -> None:
    ticks, seen = Ticks(), []

    def raise_it() -> None:
        for number in range(20_000):
            ticks.up()
            if number % 500 == 0:
                seen.append(ticks.value)

    threads = [threading.Thread(target=raise_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 80_000 == ticks.value == ticks.value
    assert all(0 < value <= 80_000 for value in seen)


def test_a_count_starts_over() -> None:
    ticks = Ticks()
    ticks.up()
    ticks.reset()
    assert 0 == ticks.value


def test_drops_are_counted_by_cause() -> None:
    queue = Queue("spans", "OTEL_BSP_MAX_QUEUE_SIZE")
    for cause in ("queue_full", "queue_full", "already_shutdown", "something"):
        queue.drop_items(1, cause)
    assert {"queue_full": 2, "already_shutdown": 1, "_OTHER": 1} == queue.dropped


def test_a_queue_that_stays_full_is_a_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(1000.0)
    queue = Queue("spans", "OTEL_BSP_MAX_QUEUE_SIZE", clock=clock)
    queue.attach(lambda: 2048, 2048)
    for _ in range(1000):
        queue.drop_items(1)
    clock.advance(61)
    queue.drop_items(1)
    first, second = (record.getMessage() for record in caplog.records)
    assert (
        "spans are dropped: 2048 wait for export and there is room for no more (OTEL_BSP_MAX_QUEUE_SIZE)"
        in first
    )
    assert "1001 so far" in second


def test_the_end_of_a_process_is_no_reason_for_a_line(caplog: pytest.LogCaptureFixture) -> None:
    Queue("spans", "OTEL_BSP_MAX_QUEUE_SIZE").drop_items(1, "already_shutdown")
    assert [] == caplog.records


class Slow(SpanExporter):
    """Takes spans one at a time."""

    def __init__(self) -> None:
        self.taken = 0
        self.delivery = Delivery("traces", "here")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        return SpanExportResult.SUCCESS


def test_no_span_is_lost_from_the_count_while_threads_fill_what_another_empties() -> None:
    """Handed on, dropped and waiting make up all of them, in the midst of it too."""
    exporter = Slow()
    queue = exporter.delivery.queue
    processor = LazySpanProcessor(exporter, QueueLimits(queue_size=3, batch_size=2))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("t")

    def make() -> None:
        for _ in range(2000):
            tracer.start_span("s").end()

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert provider.force_flush()
    assert 6000 == exporter.taken + queue.dropped["queue_full"]
    assert (exporter.taken, 0) == (queue.processed, queue.size)
    provider.shutdown()


def test_what_comes_after_the_end_is_dropped_for_that_reason() -> None:
    exporter = Slow()
    queue = exporter.delivery.queue
    processor = LazySpanProcessor(exporter)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("t").start_span("s").end()
    processor.shutdown()
    provider.get_tracer("t").start_span("s").end()
    assert {"queue_full": 0, "already_shutdown": 1, "_OTHER": 0} == queue.dropped
