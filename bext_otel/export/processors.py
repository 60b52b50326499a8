"""The SDK's span processor over our batches, for the SDK's own provider: nothing exists before the first
span, so that a server's master has no thread."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanKind

from bext_otel.export.batching import Batches, QueueLimits
from bext_otel.export.delivery import queue_of
from bext_otel.export.internal_metrics import SpanCounts
from bext_otel.traces.addresses import ADDRESSES
from bext_otel.traces.hiding import safe_span

__all__ = ["CountingSpanProcessor", "LazySpanProcessor"]

_END_SECONDS = 30.0


class LazySpanProcessor(SpanProcessor):
    """Exports spans in batches, as `OTEL_BSP_*` say."""

    def __init__(self, exporter: SpanExporter, limits: QueueLimits | None = None) -> None:
        limits = limits or QueueLimits.from_environment("BSP", delay_ms=5000)
        self.batches: Batches[ReadableSpan] = Batches(
            exporter, queue_of(exporter, "spans", "OTEL_BSP_MAX_QUEUE_SIZE"), limits
        )

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """The address of a call loses its secrets: other instrumentors know four names of them."""
        if span.kind is SpanKind.CLIENT and span.attributes:
            for name, redact in ADDRESSES.items():
                url = span.attributes.get(name)
                if isinstance(url, str) and (safe := redact(url)) != url:
                    span.set_attribute(name, safe)

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self.batches.add(safe_span(span))

    def shutdown(self) -> None:
        self.batches.end(_END_SECONDS)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.batches.flush(timeout_millis / 1e3)


class CountingSpanProcessor(SpanProcessor):
    """Tells `counts` of the recorded spans of the SDK's own provider."""

    def __init__(self, counts: SpanCounts) -> None:
        self._counts = counts

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._counts.start_span(span.parent, _decision_of(span))

    def on_end(self, span: ReadableSpan) -> None:
        self._counts.end_span(_decision_of(span))


def _decision_of(span: ReadableSpan) -> Decision:
    sampled = span.context is not None and span.context.trace_flags.sampled
    return Decision.RECORD_AND_SAMPLE if sampled else Decision.RECORD_ONLY
