"""What a collector answers."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from bext_otel.export.replies import rejected, said

REPLIES: dict[str, Any] = {
    "rejected_spans": trace_service_pb2.ExportTraceServiceResponse,
    "rejected_data_points": metrics_service_pb2.ExportMetricsServiceResponse,
    "rejected_log_records": logs_service_pb2.ExportLogsServiceResponse,
}


@given(st.sampled_from(sorted(REPLIES)), st.integers(-(1 << 63), (1 << 63) - 1), st.text(max_size=300))
def test_a_partial_success_is_read_as_protobuf_reads_it(name: str, count: int, message: str) -> None:
    reply = REPLIES[name]()
    setattr(reply.partial_success, name, count)
    reply.partial_success.error_message = message
    expected = (count, message) if count else (0, "")
    assert expected == rejected(reply.SerializeToString(), "application/x-protobuf")
    as_json = json_format.MessageToJson(reply).encode()
    assert expected == rejected(as_json, "application/json; charset=utf-8")


@given(st.binary(max_size=60), st.sampled_from(["application/x-protobuf", "application/json", ""]))
def test_what_cannot_be_read_rejects_nothing_and_says_nothing(content: bytes, kind: str) -> None:
    count, message = rejected(content, kind)
    assert isinstance(count, int)
    assert isinstance(message, str)
    assert isinstance(said(content, kind), str)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b'{"partialSuccess": 7}', b'{"partialSuccess": null}']
)
def test_an_answer_of_another_form_rejects_nothing(content: bytes) -> None:
    assert (0, "") == rejected(content, "application/json")


def test_a_number_that_comes_as_one_counts_as_well() -> None:
    assert (3, "") == rejected(b'{"partial_success": {"rejected_spans": 3}}', "application/json")


def test_who_refuses_says_why_by_a_status() -> None:
    status = status_pb2.Status(code=3, message="no such tenant")
    assert "no such tenant" == said(status.SerializeToString(), "application/x-protobuf")
    assert "no such tenant" == said(json_format.MessageToJson(status).encode(), "application/json")
    assert "" == said(b"<html>\x12\x03abc", "text/html")
