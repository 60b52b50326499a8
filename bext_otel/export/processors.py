"""The SDK's processors over our batches: nothing exists before the first span or record, so that a server's
master has no thread."""

from __future__ import annotations

import copy

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from bext_otel.export.batching import Batches, QueueLimits
from bext_otel.export.delivery import Delivery
from bext_otel.export.queue import Queue

__all__ = ["LazyLogRecordProcessor", "LazySpanProcessor"]

_END_SECONDS = 30.0
_NO_CONTEXT = Context()


def _queue(exporter: object, items: str, variable: str) -> Queue:
    """Our own exporters know who counts for them."""
    delivery = getattr(exporter, "delivery", None)
    return delivery.queue if isinstance(delivery, Delivery) else Queue(items, variable)


class LazySpanProcessor(SpanProcessor):
    """Exports spans in batches, as `OTEL_BSP_*` say."""

    def __init__(self, exporter: SpanExporter, limits: QueueLimits | None = None) -> None:
        limits = limits or QueueLimits.from_environment("BSP", delay_ms=5000)
        self.batches: Batches[ReadableSpan] = Batches(
            exporter, _queue(exporter, "spans", "OTEL_BSP_MAX_QUEUE_SIZE"), limits
        )

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do yet."""

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self.batches.add(span)

    def shutdown(self) -> None:
        self.batches.end(_END_SECONDS)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.batches.flush(timeout_millis / 1e3)


class LazyLogRecordProcessor(LogRecordProcessor):
    """Exports log records in batches, as `OTEL_BLRP_*` say."""

    def __init__(self, exporter: LogRecordExporter, limits: QueueLimits | None = None) -> None:
        limits = limits or QueueLimits.from_environment("BLRP", delay_ms=1000)
        self.batches: Batches[ReadableLogRecord] = Batches(
            exporter,
            _queue(exporter, "log records", "OTEL_BLRP_MAX_QUEUE_SIZE"),
            limits,
        )

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        # A copy without the context, which may hold a whole request.
        log = copy.copy(log_record.log_record)
        log.context = _NO_CONTEXT
        self.batches.add(
            ReadableLogRecord(
                log_record=log,
                resource=log_record.resource if log_record.resource is not None else Resource.create({}),
                instrumentation_scope=log_record.instrumentation_scope,
                limits=log_record.limits,
            )
        )

    def shutdown(self) -> None:
        self.batches.end(_END_SECONDS)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.batches.flush(timeout_millis / 1e3)
