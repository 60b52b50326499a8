from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from bext_otel.viewer.intake.receiver import JSON, PROTOBUF, BadBodyError, decode, encode, encode_error
from bext_otel.viewer.limits import Limits
from tests.viewer.otlp import span, spans

REQUEST = spans(span(2, trace=10, parent=1, name="GET /", app="shop"))
# The form of the OTLP specification: ids in hex digits, 64-bit integers as text.
AS_JSON = {
    "resourceSpans": [
        {
            "resource": {
                "attributes": [
                    {"key": "service.name", "value": {"stringValue": "shop"}},
                    {"key": "service.instance.id", "value": {"stringValue": "one"}},
                ]
            },
            "scopeSpans": [
                {
                    "scope": {"name": "tests"},
                    "spans": [
                        {
                            "traceId": "0000000000000000000000000000000A",
                            "spanId": "0000000000000002",
                            "parentSpanId": "0000000000000001",
                            "name": "GET /",
                            "kind": 1,
                            "startTimeUnixNano": "0",
                            "endTimeUnixNano": 0,
                            "attributes": [{"key": "app", "value": {"stringValue": "shop"}}],
                            "status": {},
                            "aFieldOfTheFuture": 1,
                        }
                    ],
                }
            ],
        }
    ]
}


def read(
    body: bytes, content_type: str = PROTOBUF, encoding: str = "", limit: int = 10_000
) -> ExportTraceServiceRequest:
    whole = ExportTraceServiceRequest()
    limits = Limits(inflated_bytes=limit)
    for part in decode(
        ExportTraceServiceRequest, body, content_type=content_type, encoding=encoding, limits=limits
    ):
        if part is not None:
            whole.MergeFrom(part)
    return whole


def status_of(body: bytes, content_type: str, encoding: str) -> int:
    try:
        limits = Limits(inflated_bytes=100_000)
        parts = decode(
            ExportMetricsServiceRequest, body, content_type=content_type, encoding=encoding, limits=limits
        )
        assert all(part is None or part.IsInitialized() for part in parts)
    except BadBodyError as refusal:
        return refusal.status
    return 200


def test_protobuf_and_json_say_the_same() -> None:
    assert REQUEST == read(REQUEST.SerializeToString())
    assert REQUEST == read(json.dumps(AS_JSON).encode(), "application/json; charset=utf-8")


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP", gzip.compress), ("identity", bytes)],
)
def test_a_compressed_body_is_read(encoding: str, compress: object) -> None:
    assert REQUEST == read(compress(REQUEST.SerializeToString()), encoding=encoding)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("status", "body", "content_type", "encoding"),
    [
        (415, b"", "text/plain", ""),
        (415, b"", "", ""),
        (415, b"", PROTOBUF, "br"),
        (400, b"\xff\xff\xff", PROTOBUF, ""),
        (400, b"not gzip", PROTOBUF, "gzip"),
        (400, gzip.compress(b"a" * 100, mtime=0)[:-9], PROTOBUF, "gzip"),
        (400, b"{", JSON, ""),
        (400, b"[]", JSON, ""),
        (400, b"null", JSON, ""),
        (400, b'{"resourceSpans": 3}', JSON, ""),
        (400, b'{"resourceSpans": [3]}', JSON, ""),
        (400, b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}', JSON, ""),
        (400, b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 7}]}]}]}', JSON, ""),
        (400, b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "\xff"}]}]}]}', JSON, ""),
        (400, b"[" * 50_000, JSON, ""),
        (413, b"a" * 10_001, PROTOBUF, ""),
        (413, gzip.compress(b"\0" * 5_000_000, mtime=0), PROTOBUF, "gzip"),
    ],
)
def test_a_bad_body_is_refused_with_its_reason(
    status: int, body: bytes, content_type: str, encoding: str
) -> None:
    with pytest.raises(BadBodyError) as refusal:
        read(body, content_type, encoding, limit=100_000 if content_type == JSON else 10_000)
    assert status == refusal.value.status
    assert refusal.value.reason


@given(st.binary(max_size=300), st.sampled_from([PROTOBUF, JSON]), st.sampled_from(["", "gzip", "deflate"]))
def test_no_body_does_anything_but_parse_or_be_refused(body: bytes, content_type: str, encoding: str) -> None:
    assert status_of(body, content_type, encoding) in {200, 400, 413}


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "resourceMetrics",
                    "scopeMetrics",
                    "metrics",
                    "name",
                    "sum",
                    "dataPoints",
                    "gauge",
                    "attributes",
                    "traceId",
                    "asInt",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=20,
)


@given(_values)
def test_no_json_does_anything_but_parse_or_be_refused(document: object) -> None:
    assert status_of(json.dumps(document).encode(), JSON, "") in {200, 400}


def test_an_answer_comes_in_the_coding_of_the_question() -> None:
    reply = ExportTraceServiceResponse()
    reply.partial_success.rejected_spans = 2
    assert ("application/x-protobuf", reply.SerializeToString()) == encode(reply, PROTOBUF)
    assert ("application/json", b'{"partialSuccess":{"rejectedSpans":"2"}}') == encode(
        reply, "application/json"
    )


def test_a_refusal_is_a_status_message() -> None:
    assert ("application/json", b'{"code":3,"message":"no"}') == encode_error(400, "no", JSON)
    assert ("application/x-protobuf", b"\x08\x08\x12\x04much") == encode_error(413, "much", PROTOBUF)
