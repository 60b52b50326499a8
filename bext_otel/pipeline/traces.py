"""The traces signal: a tracer provider of public SDK classes, whose exporters are built when the first span ends."""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from bext_otel.config import Exporters
from bext_otel.pipeline.delivery import Delivery
from bext_otel.pipeline.lazy import LazySpanProcessor
from bext_otel.pipeline.otlp import span_exporters

__all__ = ["build_traces"]


def build_traces(exporters: Exporters, resource: Resource) -> tuple[TracerProvider, list[LazySpanProcessor], list[Delivery]]:
    """The provider, its processors and how their export fares. `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*` and the span limits hold as upstream."""
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    processors, deliveries = [], []
    for exporter, delivery in span_exporters(exporters):
        processor = LazySpanProcessor(lambda exporter=exporter: BatchSpanProcessor(exporter))  # type: ignore[misc]  # binds the loop's value
        provider.add_span_processor(processor)
        processors.append(processor)
        deliveries.append(delivery)
    return provider, processors, deliveries
