from __future__ import annotations

import json
from contextlib import suppress

import msgspec
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from bext_otel.viewer.intake.portions import TooMuchError, json_portions, wire_portions
from bext_otel.viewer.intake.wire import WireError
from bext_otel.viewer.limits import Limits
from tests.viewer.otlp import pairs, span, spans

_words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_attributes = st.dictionaries(_words, _words | st.integers(-9, 9), max_size=3).map(pairs)
_spans = st.builds(
    Span,
    name=_words,
    attributes=_attributes,
    events=st.lists(st.builds(Span.Event, name=_words, attributes=_attributes), max_size=2),
)
_scopes = st.builds(
    ScopeSpans,
    scope=st.builds(InstrumentationScope, name=_words),
    spans=st.lists(_spans, max_size=4),
)
_requests = st.builds(
    ExportTraceServiceRequest,
    resource_spans=st.lists(
        st.builds(
            ResourceSpans,
            resource=st.builds(Resource, attributes=_attributes),
            scope_spans=st.lists(_scopes, max_size=3),
        ),
        max_size=3,
    ),
)


def told(request: ExportTraceServiceRequest) -> list[tuple[bytes, str, bytes]]:
    """Resource, scope and span of each span."""
    return [
        (
            resource.resource.SerializeToString(deterministic=True),
            scope.scope.name,
            one.SerializeToString(deterministic=True),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for one in scope.spans
    ]


def wire(body: bytes, limits: Limits | None = None) -> list[bytes | None]:
    return list(wire_portions(body, ExportTraceServiceRequest, limits or Limits()))


@given(_requests)
def test_the_portions_of_a_body_say_together_what_it_says(request: ExportTraceServiceRequest) -> None:
    expected = told(request)
    parts = [
        told(ExportTraceServiceRequest.FromString(part or b"")) for part in wire(request.SerializeToString())
    ]
    assert expected == [each for part in parts for each in part]
    body = json_format.MessageToJson(request).encode()
    documents = json_portions(body, ExportTraceServiceRequest, Limits())
    parts = [told(json_format.ParseDict(one, ExportTraceServiceRequest())) for one in documents if one]
    assert expected == [each for part in parts for each in part]


def test_a_resource_in_several_pieces_is_one() -> None:
    """A parser of protobuf merges them, wherever they stand."""
    pieces = spans(span(1)).SerializeToString() + b""
    outer = ExportTraceServiceRequest.FromString(pieces).resource_spans[0].SerializeToString()
    more = ResourceSpans(resource=Resource(attributes=pairs({"late": "x"}))).SerializeToString()
    body = b"\x0a" + bytes((len(outer) + len(more),)) + outer + more
    (part,) = wire(body)
    resource = ExportTraceServiceRequest.FromString(part or b"").resource_spans[0].resource
    assert ["service.name", "service.instance.id", "late"] == [pair.key for pair in resource.attributes]


def test_a_portion_has_few_items() -> None:
    body = spans(*(span(number) for number in range(1, 1_000))).SerializeToString()
    sizes = [len(told(ExportTraceServiceRequest.FromString(part or b""))) for part in wire(body)]
    assert 999 == sum(sizes)
    assert 64 >= max(sizes)


def test_an_item_with_too_many_elements_is_left_out_and_its_neighbours_are_not() -> None:
    huge = span(2)
    for _ in range(60_000):
        huge.events.add()
    body = spans(span(1), huge, span(3)).SerializeToString()
    parts = wire(body)
    assert 1 == parts.count(None)
    found = [each for part in parts if part for each in told(ExportTraceServiceRequest.FromString(part))]
    assert ["span 1", "span 3"] == [Span.FromString(each[2]).name for each in found]


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(items=9), "more than 9 "),
        (Limits(groups=1), "more than 1 resources and scopes"),
        (Limits(group_bytes=5), "a resource or scope of more than 5 bytes"),
        (Limits(group_elements=3), "a resource or scope of more than 3 elements"),
    ],
)
def test_a_frame_beyond_its_limits_is_too_much(limits: Limits, why: str) -> None:
    request = spans(*(span(number) for number in range(1, 11)))
    with pytest.raises(TooMuchError, match=why):
        wire(request.SerializeToString(), limits)
    with pytest.raises(TooMuchError, match=why):
        json_portions(json_format.MessageToJson(request).encode(), ExportTraceServiceRequest, limits)


def test_json_with_too_many_elements_is_too_much_before_it_is_parsed() -> None:
    body = json.dumps({"resourceSpans": [{} for _ in range(50)]}).encode()
    with pytest.raises(TooMuchError, match="more than 20 elements"):
        json_portions(body, ExportTraceServiceRequest, Limits(json_elements=20))


@given(st.binary(max_size=200))
def test_bytes_are_portions_or_no_message(body: bytes) -> None:
    with suppress(WireError, TooMuchError):
        assert all(part is None or part.startswith(b"\x0a") for part in wire(body))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_text_is_portions_or_no_document(body: bytes) -> None:
    with suppress(msgspec.DecodeError, TooMuchError, RecursionError):
        found = json_portions(body, ExportTraceServiceRequest, Limits())
        assert all(part is None or ["resourceSpans"] == list(part) for part in found)


@given(_requests, st.data())
def test_a_damaged_body_is_taken_or_refused(request: ExportTraceServiceRequest, data: st.DataObject) -> None:
    body = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        if body:
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        parts = wire(bytes(body))
    except (WireError, TooMuchError):
        return
    assert None not in parts
