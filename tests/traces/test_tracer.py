"""How a span begins, and how one is made current."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

from bext_otel.traces.provider import BextTracerProvider
from tests.versions import SDK


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> BextTracerProvider:
    made = BextTracerProvider(Resource({"service.name": "shop"}))
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


def test_everybody_finds_a_span_a_tracer_and_a_provider_of_the_sdk_s(provider: BextTracerProvider) -> None:
    tracer = provider.get_tracer("t")
    span = tracer.start_span("s", attributes={"a": 1})
    assert isinstance(provider, SdkTracerProvider)
    assert isinstance(tracer, SdkTracer)
    assert isinstance(span, SdkSpan)
    assert isinstance(span, ReadableSpan)
    assert ({"a": 1}, "s", "shop") == (span.attributes, span.name, span.resource.attributes["service.name"])
    assert '"name": "s"' in span.to_json()
    assert SDK < (1, 42) or tracer is provider.get_tracer("t")


def test_a_decorator_traces_each_call(provider: BextTracerProvider, exporter: InMemorySpanExporter) -> None:
    tracer = provider.get_tracer("t")

    @tracer.start_as_current_span("plain")
    def double(number: int) -> int:
        return 2 * number

    @tracer.start_as_current_span("later")
    async def treble(number: int) -> int:
        await asyncio.sleep(0)
        assert trace.get_current_span().is_recording()
        return 3 * number

    assert (4, 6, 9) == (double(2), double(3), asyncio.run(treble(3)))
    assert ["plain", "plain", "later"] == [span.name for span in exporter.get_finished_spans()]
    assert "double" == double.__name__


def test_a_block_that_does_not_end_its_span_leaves_it_open(
    provider: BextTracerProvider, exporter: InMemorySpanExporter
) -> None:
    with provider.get_tracer("t").start_as_current_span("open", end_on_exit=False) as span:
        assert span is trace.get_current_span()
    assert span is not trace.get_current_span()
    assert (True, ()) == (span.is_recording(), exporter.get_finished_spans())


def test_a_span_that_is_not_sampled_is_nothing_but_its_context() -> None:
    provider = BextTracerProvider(Resource({}), sampler=ALWAYS_OFF)
    span: Any = provider.get_tracer("t").start_span("s", kind=SpanKind.CLIENT, attributes={"url.full": "u"})
    assert (False, True, {"url.full": "u"}) == (
        span.is_recording(),
        span.get_span_context().is_valid,
        span.called,
    )


def test_seeding_random_repeats_no_id(provider: BextTracerProvider) -> None:
    tracer, ids = provider.get_tracer("t"), set()
    for _ in range(1000):
        random.seed(1)
        context = tracer.start_span("s", trace.set_span_in_context(trace.INVALID_SPAN)).get_span_context()
        assert context.trace_flags & 2, "it is random"
        ids |= {context.trace_id, context.span_id}
    assert 2000 == len(ids)


def test_a_forked_child_makes_ids_of_its_own(provider: BextTracerProvider) -> None:
    tracer = provider.get_tracer("t")
    tracer.start_span("before")
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ids = [tracer.start_span("s").get_span_context().span_id for _ in range(50)]
            os.write(writes, ",".join(map(str, ids)).encode())
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as read:
        theirs = {int(text) for text in read.read().split(",")}
    os.waitpid(child, 0)
    ours = {tracer.start_span("s").get_span_context().span_id for _ in range(50)}
    assert (50, 50, set()) == (len(theirs), len(ours), theirs & ours)
