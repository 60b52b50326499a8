"""A small OTLP receiver, over HTTP and gRPC, that keeps every message as it came. It shares no code with the
viewer."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tests.conventions import look_at
from tests.serving import serving, serving_rpc
from tests.waiting import until

_MESSAGES: dict[str, tuple[type[Message], type[Message]]] = {
    "/v1/traces": (trace_service_pb2.ExportTraceServiceRequest, trace_service_pb2.ExportTraceServiceResponse),
    "/v1/metrics": (
        metrics_service_pb2.ExportMetricsServiceRequest,
        metrics_service_pb2.ExportMetricsServiceResponse,
    ),
    "/v1/logs": (logs_service_pb2.ExportLogsServiceRequest, logs_service_pb2.ExportLogsServiceResponse),
}
_KINDS = {1: "internal", 2: "server", 3: "client"}
_STATUSES = {0: "unset", 1: "ok", 2: "error"}


@dataclass(frozen=True)
class Span:
    """A span, its ids in hex digits; `resource` is that of the process that sent it."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    status: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: str = ""


@dataclass(frozen=True)
class Line:
    """A log record."""

    body: str
    trace_id: str
    attributes: dict[str, Any]


@dataclass
class Receiver:
    """What has arrived at `endpoint`, and with which headers, by path. With a `status` other than 200, everything over HTTP is refused with
    that."""

    endpoint: str = ""
    status: int = 200
    refused: int = 0
    messages: list[Any] = field(default_factory=list)
    headers: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def spans(self, **expected: object) -> list[Span]:
        """Spans with these fields or (dots written as underscores) attributes."""
        found = [span for message in list(self.messages) for span in _spans(message)]
        return [
            span for span in found if all(_field(span, name) == value for name, value in expected.items())
        ]

    def span(self, **expected: object) -> Span:
        """The one such span, waiting for it."""
        found = until(
            lambda: self.spans(**expected),
            why=f"a span with {expected}; there are {[s.name for s in self.spans()]}",
        )
        assert 1 == len(found), found
        return found[0]

    def lines(self, body: str | None = None) -> list[Line]:
        """Log records, or only those of that text."""
        return [
            Line(record.body.string_value, record.trace_id.hex(), _plain(record.attributes))
            for message in list(self.messages)
            for resource in getattr(message, "resource_logs", ())
            for scope in resource.scope_logs
            for record in scope.log_records
            if body in {None, record.body.string_value}
        ]

    def metrics(self, name: str) -> list[Any]:
        """Every metric of that name, as it came."""
        return [
            metric
            for message in list(self.messages)
            for resource in getattr(message, "resource_metrics", ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]


def _field(span: Span, name: str) -> object:
    return (
        getattr(span, name)
        if name in Span.__dataclass_fields__
        else span.attributes.get(name.replace("_", "."))
    )


def _plain(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair) for pair in pairs}


def _value(pair: KeyValue) -> Any:
    kind = pair.value.WhichOneof("value")
    return getattr(pair.value, kind) if kind else None


def _spans(message: Any) -> Iterator[Span]:
    for resource in getattr(message, "resource_spans", ()):
        attributes = _plain(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                status = _STATUSES[span.status.code]
                yield Span(
                    span.name,
                    _KINDS.get(span.kind, "other"),
                    *ids,
                    status,
                    _plain(span.attributes),
                    attributes,
                    scope.scope.name,
                )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    receiver: Receiver


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        receiver = self.server.receiver
        receiver.headers.append((self.path, dict(self.headers)))
        request, response = _MESSAGES[self.path]
        if receiver.status == 200:
            receiver.messages.append(request.FromString(body))
            look_at(receiver.messages[-1])
        else:
            receiver.refused += 1
        answer = response().SerializeToString()
        self.send_response(receiver.status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """Nobody reads it."""


@contextmanager
def receiving(status: int = 200) -> Iterator[Receiver]:
    """A receiver over HTTP, on a free port."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.receiver = Receiver(f"http://127.0.0.1:{server.server_port}", status)
    with serving(server):
        yield server.receiver


class _Service:
    """The method that the three services of OTLP have in common."""

    def __init__(self, receiver: Receiver, response: type[Message]) -> None:
        self._receiver = receiver
        self._response = response

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._receiver.messages.append(request)
        look_at(request)
        return self._response()


@contextmanager
def receiving_grpc() -> Iterator[Receiver]:
    """A receiver over gRPC, on a free port."""
    receiver = Receiver()

    def register(server: grpc.Server) -> None:
        add: Any
        for add, path in (
            (trace_service_pb2_grpc.add_TraceServiceServicer_to_server, "/v1/traces"),
            (metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server, "/v1/metrics"),
            (logs_service_pb2_grpc.add_LogsServiceServicer_to_server, "/v1/logs"),
        ):
            add(_Service(receiver, _MESSAGES[path][1]), server)

    with serving_rpc(register) as receiver.endpoint:
        yield receiver
