"""The traces signal: a tracer provider of public SDK classes, whose export begins when the first span
ends."""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer
from opentelemetry.util.types import Attributes

from bext_otel._compat import count_spans, keep_time
from bext_otel.config import Exporters
from bext_otel.export.delivery import Delivery
from bext_otel.export.entry_points import NOTHING_CHOSEN, Chosen
from bext_otel.export.ids import SystemIdGenerator
from bext_otel.export.internal_metrics import SpanCounts
from bext_otel.export.otlp import span_exporters
from bext_otel.export.processors import LazySpanProcessor

__all__ = ["BextTracerProvider", "build_traces"]


class BextTracerProvider(TracerProvider):
    """The SDK's provider, whose tracers count the spans that they start, and whose spans last as long as they
    lasted, whatever becomes of the wall clock."""

    def __init__(self, resource: Resource, counts: SpanCounts, chosen: Chosen = NOTHING_CHOSEN) -> None:
        # The composition root ends all three signals within one deadline, so no exit handler of the
        # provider's own.
        super().__init__(
            chosen.sampler,
            resource,
            shutdown_on_exit=False,
            id_generator=chosen.id_generator or SystemIdGenerator(),
        )
        self._counts = counts

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        """See `opentelemetry.trace.TracerProvider.get_tracer`."""
        tracer = super().get_tracer(
            instrumenting_module_name, instrumenting_library_version, schema_url, attributes
        )
        count_spans(tracer, self._counts)
        keep_time(tracer)
        return tracer


def build_traces(
    exporters: Exporters, resource: Resource, counts: SpanCounts, chosen: Chosen = NOTHING_CHOSEN
) -> tuple[TracerProvider, list[LazySpanProcessor], list[Delivery]]:
    """The provider, its processors and how their export fares.

    `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*` and the span limits hold as upstream; `chosen` are parts that the SDK
    does not have itself.
    """
    provider = BextTracerProvider(resource, counts, chosen)
    processors, deliveries = [], []
    for exporter, delivery in span_exporters(exporters):
        processor = LazySpanProcessor(exporter)
        provider.add_span_processor(processor)
        processors.append(processor)
        deliveries.append(delivery)
    return provider, processors, deliveries
