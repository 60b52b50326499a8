"""The same program traced by upstream and by us: what an exporter receives, and what goes over the wire."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from bext_otel.export.origins import Encoded, Origins
from bext_otel.export.span_encoder import SpanEncoder
from bext_otel.redaction import is_secret_field, redact_body
from bext_otel.traces.provider import BextTracerProvider
from tests.versions import since

RESOURCE = Resource({"service.name": "shop", "port": 80, "tags": ["a", "b"]}, "https://schema/1")


class Counting(IdGenerator):
    """Ids in order, so that two providers make the same."""

    def __init__(self) -> None:
        self._last = 0

    def generate_span_id(self) -> int:
        self._last += 1
        return self._last

    def generate_trace_id(self) -> int:
        self._last += 1
        return self._last << 64 | (self._last * 0x9E3779B97F4A7C15) & (1 << 64) - 1

    def is_trace_id_random(self) -> bool:
        return False


class Kept:
    def __init__(self) -> None:
        self.items: list[Encoded] = []
        self.origins = Origins()
        self.encoder = SpanEncoder(self.origins)

    def take(self, span: Any) -> None:
        self.items.append(self.encoder.encode(span))

    def flush(self, _seconds: float, /) -> bool:
        return True

    def end(self, _seconds: float, /) -> bool:
        return True


@dataclass
class Pair:
    """Both providers with an exporter each, and what ours writes."""

    upstream: TracerProvider
    ours: BextTracerProvider
    exported: tuple[InMemorySpanExporter, InMemorySpanExporter]
    kept: Kept

    def spans(self) -> tuple[Sequence[ReadableSpan], Sequence[ReadableSpan]]:
        return self.exported[0].get_finished_spans(), self.exported[1].get_finished_spans()


def pair(sampler: Sampler = DEFAULT_ON, **limits: int) -> Pair:
    of = SpanLimits(**limits)
    upstream = TracerProvider(
        sampler, RESOURCE, shutdown_on_exit=False, id_generator=Counting(), span_limits=of
    )
    ours = BextTracerProvider(RESOURCE, sampler=sampler, id_generator=Counting(), span_limits=of)
    exported, kept = (InMemorySpanExporter(), InMemorySpanExporter()), Kept()
    for provider, exporter in zip((upstream, ours), exported, strict=True):
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    ours.add_sink(kept.take, kept)
    return Pair(upstream, ours, exported, kept)


def shown(span: ReadableSpan) -> dict[str, Any]:
    """All that an exporter can see of a span."""
    assert span.context is not None
    return {
        "name": span.name,
        "context": tuple(span.context),
        "parent": None if span.parent is None else tuple(span.parent),
        "kind": span.kind,
        "times": (span.start_time, span.end_time),
        "attributes": list((span.attributes or {}).items()),
        "events": [
            (event.name, event.timestamp, dict(event.attributes or {}), event.dropped_attributes)
            for event in span.events
        ],
        "links": [
            (tuple(link.context), dict(link.attributes or {}), link.dropped_attributes) for link in span.links
        ],
        "status": (span.status.status_code, span.status.description),
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "resource": span.resource,
        "scope": span.instrumentation_scope,
    }


def hides_nothing(text: str) -> bool:
    """Hypothesis tries words of our own source too, and those of the list of secrets are redacted here alone."""
    return redact_body(text) == text and not is_secret_field(text)


def as_json(span: ReadableSpan) -> str:
    try:
        return span.to_json()
    except TypeError as error:  # it knows no bytes
        return str(error)


scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80).filter(hides_nothing),
    st.binary(max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=4).filter(hides_nothing),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
keys = st.one_of(st.sampled_from(["a", "b", "http.route", ""]), st.text("xyz\u00e9", max_size=3))
attributes = st.one_of(st.none(), st.dictionaries(keys, values, max_size=6))
times = st.integers(1, (1 << 64) - 1)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(hides_nothing)
contexts = st.builds(
    SpanContext,
    st.integers(0, 1 << 100),
    st.integers(0, 1 << 60),
    st.booleans(),
    st.sampled_from([TraceFlags(bits) for bits in range(4)]),
    st.sampled_from([TraceState(), TraceState([("bext", "1"), ("other", "x=y")])]),
)
links = st.builds(Link, contexts, attributes)
statuses = st.one_of(
    st.tuples(st.sampled_from(StatusCode), st.one_of(st.none(), names)),
    st.builds(lambda text: (Status(StatusCode.ERROR, text), None), names),
)
changes = st.one_of(
    st.tuples(st.just("set_attribute"), st.tuples(keys, values)),
    st.tuples(st.just("set_attributes"), st.tuples(st.dictionaries(keys, values, max_size=4))),
    st.tuples(st.just("add_event"), st.tuples(names, attributes, times)),
    st.tuples(st.just("add_link"), st.tuples(contexts, attributes)),
    st.tuples(st.just("set_status"), statuses),
    st.tuples(st.just("update_name"), st.tuples(names)),
)
span = st.fixed_dictionaries(
    {
        "name": names,
        "kind": st.sampled_from(SpanKind),
        "attributes": attributes,
        "links": st.lists(links, max_size=3),
        "start_time": times,
    }
)


@given(
    parent=st.one_of(st.none(), contexts),
    spans=st.lists(st.tuples(span, st.lists(changes, max_size=6)), min_size=1, max_size=4),
    limits=st.sampled_from(
        [
            {},
            {"max_attributes": 2, "max_events": 1, "max_links": 1},
            {"max_attribute_length": 3},
            {"max_span_attributes": 0},
        ]
    ),
    sampler=st.sampled_from(
        [DEFAULT_ON, ALWAYS_ON, ALWAYS_OFF, TraceIdRatioBased(0.5), ParentBased(TraceIdRatioBased(0.5))]
    ),
)
@settings(max_examples=150, deadline=None)
@since(45, "the same on the wire, in what is compared here")
def test_exporters_and_the_wire_see_what_upstream_shows(
    parent: SpanContext | None,
    spans: list[tuple[dict[str, Any], list[tuple[str, tuple[Any, ...]]]]],
    limits: dict[str, int],
    sampler: Sampler,
) -> None:
    both = pair(sampler, **limits)
    around = trace.set_span_in_context(NonRecordingSpan(parent)) if parent else None
    for provider in (both.upstream, both.ours):
        tracer = provider.get_tracer("library", "1.2", "https://schema/2", {"k": 1})
        context, open_spans = around, []
        for begin, done in spans:
            # A link of upstream's is changed by the span that takes it.
            begun = tracer.start_span(
                begin["name"],
                context,
                begin["kind"],
                begin["attributes"],
                [Link(link.context, link.attributes) for link in begin["links"]],
                begin["start_time"],
            )
            for method, arguments in done:
                getattr(begun, method)(*arguments)
            context = trace.set_span_in_context(begun, context)
            open_spans.append(begun)
        for begun in reversed(open_spans):
            begun.end((1 << 64) - 1)
            begun.end(5)
            begun.set_attribute("late", True)
    expected, found = both.spans()
    assert [shown(one) for one in expected] == [shown(one) for one in found]
    assert [as_json(one) for one in expected] == [as_json(one) for one in found]
    request = ExportTraceServiceRequest.FromString(both.kept.origins.request(both.kept.items))
    assert (
        encode_spans([one for one in expected if one.context and one.context.trace_flags.sampled]) == request
    )


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Upstream says a line for each attribute that it does not like; thousands of them are tried here."""
    names = (
        "opentelemetry.attributes",
        "opentelemetry.sdk.trace",
        "bext_otel.traces",
        "opentelemetry.trace.status",
    )
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


class Odd(Sampler):
    """Records what it does not sample, adds attributes and changes the tracestate."""

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Any = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        decision = {"r": Decision.RECORD_ONLY, "d": Decision.DROP}.get(name[:1], Decision.RECORD_AND_SAMPLE)
        return SamplingResult(decision, {**(attributes or {}), "asked": name}, TraceState([("odd", name)]))

    def get_description(self) -> str:
        return "odd"


@pytest.mark.parametrize("name", ["record", "drop", "sample"])
def test_a_user_s_sampler_decides_as_upstream_lets_it(name: str) -> None:
    both = pair(Odd())
    for provider in (both.upstream, both.ours):
        begun = provider.get_tracer("t").start_span(name, attributes={"a": 1}, start_time=1)
        assert (name != "drop") == begun.is_recording()
        begun.end(2)
    expected, found = both.spans()
    assert (1 if name == "sample" else 0) == len(expected) == len(both.kept.items)
    assert [shown(one) for one in expected] == [shown(one) for one in found]


def test_exceptions_look_as_upstream_s() -> None:
    both = pair()
    for provider in (both.upstream, both.ours):
        tracer = provider.get_tracer("t")
        with pytest.raises(ZeroDivisionError), tracer.start_as_current_span("block"):
            _ = 1 / 0
        with pytest.raises(KeyError), tracer.start_span("with"):
            {}["x"]
        with pytest.raises(GeneratorExit), tracer.start_as_current_span("no failure"):
            raise GeneratorExit
        with (
            pytest.raises(ValueError, match="v"),
            tracer.start_as_current_span("silent", record_exception=False, set_status_on_exception=False),
        ):
            raise ValueError("v")

    def facts(span: ReadableSpan) -> object:
        events = [
            {
                name: value
                for name, value in (event.attributes or {}).items()
                # The conventions know no `escaped` any more.
                if name not in {"exception.stacktrace", "exception.escaped"}
            }
            for event in span.events
        ]
        return span.name, span.status.status_code, span.status.description, events

    expected, found = both.spans()
    assert [facts(one) for one in expected] == [facts(one) for one in found]
