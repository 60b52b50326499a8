"""The traces signal's way out: what takes the spans that end, and sends them; nothing exists before the first
one, so that a server's master has no thread."""

from __future__ import annotations

from typing import Any

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter

from bext_otel._compat import configure_tracers
from bext_otel.config import Exporters
from bext_otel.export.batching import MAX_ENCODED, Batches, QueueLimits
from bext_otel.export.delivery import Delivery
from bext_otel.export.entry_points import NOTHING_CHOSEN, Chosen
from bext_otel.export.internal_metrics import SpanCounts
from bext_otel.export.origins import Encoded, size_of
from bext_otel.export.otlp import EncodedExporter, span_exporters
from bext_otel.export.packs import EncodedPack
from bext_otel.export.processors import CountingSpanProcessor, LazySpanProcessor
from bext_otel.export.queue import Queue
from bext_otel.export.span_encoder import SpanEncoder
from bext_otel.traces.ids import SystemIdGenerator
from bext_otel.traces.provider import BextTracerProvider, Sink
from bext_otel.traces.span import Span

__all__ = ["Traces", "build_traces", "build_upstream_traces", "encoded_batches", "span_batches"]


class Traces(msgspec.Struct):
    """A provider, the batches that its spans go out in, and how their export fares."""

    provider: TracerProvider
    batches: list[Batches[Any]] = msgspec.field(default_factory=list)
    deliveries: list[Delivery] = msgspec.field(default_factory=list)

    def add(self, batches: Batches[Any], delivery: Delivery) -> None:
        """One more way out."""
        self.batches.append(batches)
        self.deliveries.append(delivery)


def build_traces(
    exporters: Exporters, resource: Resource, counts: SpanCounts, chosen: Chosen = NOTHING_CHOSEN
) -> Traces:
    """Spans by our own provider.

    `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*` and the span limits hold as upstream; `chosen` are parts that the SDK
    does not have itself, and those that the program has given.
    """
    provider = BextTracerProvider(resource, counts, sampler=chosen.sampler, id_generator=chosen.id_generator)
    made = Traces(provider)
    _take_given(provider, chosen)
    for exporter, delivery in span_exporters(exporters, given=chosen.given.span_exporters):
        batches: Batches[Any]
        if isinstance(exporter, EncodedExporter):
            batches, sink = encoded_batches(exporter)
        else:
            batches, sink = span_batches(exporter, delivery.queue)
        provider.add_sink(sink, batches)
        made.add(batches, delivery)
    return made


def build_upstream_traces(
    exporters: Exporters, resource: Resource, counts: SpanCounts, chosen: Chosen = NOTHING_CHOSEN
) -> Traces:
    """Spans by the SDK's provider and encoder, for `engine = "upstream"`; they leave in our batches."""
    provider = TracerProvider(
        chosen.sampler,
        resource,
        shutdown_on_exit=False,
        id_generator=chosen.id_generator or SystemIdGenerator(),
    )
    provider.add_span_processor(CountingSpanProcessor(counts))
    made = Traces(provider)
    _take_given(provider, chosen)
    for exporter, delivery in span_exporters(exporters, encoded=False, given=chosen.given.span_exporters):
        assert isinstance(exporter, SpanExporter)
        processor = LazySpanProcessor(exporter)
        provider.add_span_processor(processor)
        made.add(processor.batches, delivery)
    return made


def _take_given(provider: TracerProvider, chosen: Chosen) -> None:
    for processor in chosen.given.span_processors:
        provider.add_span_processor(processor)
    if chosen.tracer_configurator is not None:
        configure_tracers(provider, chosen.tracer_configurator)


def encoded_batches(
    exporter: EncodedExporter, limits: QueueLimits | None = None
) -> tuple[Batches[Encoded], Sink]:
    """Batches of spans that are encoded as they end, and what takes the spans."""
    limits = limits or QueueLimits.from_environment("BSP", delay_ms=5000, queue_size=MAX_ENCODED)
    batches: Batches[Encoded] = Batches(
        exporter, exporter.delivery.queue, limits, weigh=size_of, pack=EncodedPack
    )
    encoder = SpanEncoder(exporter.origins)
    add, drop = batches.add, exporter.delivery.queue.drop_items

    def take(span: Span) -> None:
        try:
            encoded = encoder.encode(span)
        except Exception:  # what an application gave it cannot be written; the application goes on
            drop(1, "unencodable")
            return
        add(encoded)

    return batches, take


def span_batches(
    exporter: SpanExporter, queue: Queue, limits: QueueLimits | None = None
) -> tuple[Batches[ReadableSpan], Sink]:
    """Batches of spans as the SDK's exporters take them, and what takes the spans."""
    limits = limits or QueueLimits.from_environment("BSP", delay_ms=5000)
    batches: Batches[ReadableSpan] = Batches(exporter, queue, limits)
    return batches, lambda span: batches.add(span.finished())
