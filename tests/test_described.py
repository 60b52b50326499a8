"""Attributes that spans have in common: a span that is described in parts is the same as one with a dictionary."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor

from bext_otel.described import Shared, merged
from bext_otel.export.origins import Origins
from bext_otel.export.span_encoder import SpanEncoder
from bext_otel.traces.provider import BextTracerProvider
from bext_otel.traces.span import Span

SERVICE = Shared({"http.request.method": "GET", "server.port": 80, "on": True, "share": 1.0})
RESULT = Shared({"http.response.status_code": 200, "http.route": "/{slug}"})
PARTS = (SERVICE, {"url.path": "/chair"})
WHOLE = {**SERVICE.attributes, "url.path": "/chair"}


def tracer_with(*processors: SpanProcessor, **limits: int) -> Any:
    provider = BextTracerProvider(Resource({}), span_limits=SpanLimits(**limits))
    for processor in processors:
        provider.add_span_processor(processor)
    return provider.get_tracer("t")


def concluded(tracer: Any, described: Any, *, looks: bool = False) -> Span:
    span: Span = tracer.start_span("GET", describe=lambda: described)
    if looks:
        assert WHOLE == dict(span.attributes or {})
    span.conclude("GET /{slug}", RESULT)
    span.end()
    return span


def written(span: Span) -> dict[str, Any]:
    """The attributes as a collector reads them."""
    _, encoded = SpanEncoder(Origins()).encode(span)
    (message,) = ScopeSpans.FromString(encoded).spans
    return {pair.key: str(pair.value) for pair in message.attributes}


def test_parts_are_merged_in_their_order_into_a_dictionary_of_their_own() -> None:
    made = merged(PARTS)
    made["more"] = 1
    assert ["http.request.method", "server.port", "on", "share", "url.path", "more"] == list(made)
    assert "more" not in SERVICE.attributes


@pytest.mark.parametrize("looks", [False, True])
def test_a_span_in_parts_is_written_as_one_with_a_dictionary(looks: bool) -> None:
    whole = written(concluded(tracer_with(), dict(WHOLE)))
    assert whole == written(concluded(tracer_with(), PARTS, looks=looks))
    # What is shared has been encoded by now, and is written once more.
    assert whole == written(concluded(tracer_with(), PARTS))
    assert 7 == len(whole)


@pytest.mark.parametrize("limits", [{}, {"max_span_attributes": 3}, {"max_attribute_length": 2}])
def test_limits_hold_for_parts_as_for_a_dictionary(limits: dict[str, int]) -> None:
    first, second = (concluded(tracer_with(**limits), each) for each in (dict(WHOLE), PARTS))
    assert dict(first.attributes or {}) == dict(second.attributes or {})
    assert first.dropped_attributes == second.dropped_attributes


def test_what_the_application_sets_takes_the_place_of_a_part() -> None:
    span: Span = tracer_with().start_span("GET", describe=lambda: PARTS)
    span.set_attribute("http.request.method", "POST")
    span.set_attribute("http.route", "/mine")
    span.conclude("", RESULT)
    span.end()
    expected = {**WHOLE, "http.request.method": "POST", **RESULT.attributes}
    assert expected == dict(span.attributes or {})
    assert "GET" == SERVICE.attributes["http.request.method"]
    assert "POST" in written(span)["http.request.method"]


def test_processors_see_all_attributes() -> None:
    seen: list[dict[str, Any]] = []

    class Looking(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            seen.append(dict(span.attributes))

        def on_end(self, span: Any) -> None:
            seen.append(dict(span.attributes))

    concluded(tracer_with(Looking()), PARTS)
    assert [WHOLE, {**WHOLE, **RESULT.attributes}] == seen


def test_a_processor_may_put_others_in_their_place() -> None:
    """As some do with upstream's spans, whose field that is."""

    class Hiding(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            span._attributes = {"url.path": "hidden"}

    span = concluded(tracer_with(Hiding()), PARTS)
    assert {"url.path": "hidden", **RESULT.attributes} == dict(span.attributes or {})
    assert "hidden" in written(span)["url.path"]


def test_threads_that_ask_at_once_change_the_same_attributes() -> None:
    tracer = tracer_with(max_span_attributes=1000)
    for _ in range(200):
        span: Span = tracer.start_span("GET", describe=lambda: PARTS)
        ready = threading.Barrier(4)

        def change(number: int, span: Span = span, ready: threading.Barrier = ready) -> None:
            ready.wait()
            if number:
                span.set_attribute(f"n{number}", number)
            else:
                span.conclude("", RESULT)

        threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {**WHOLE, **RESULT.attributes, "n1": 1, "n2": 2, "n3": 3} == dict(span.attributes or {})
