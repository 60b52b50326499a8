"""Exporters against real receivers: what failed and why, what a backend rejected, and a connection for each
process."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import StatusCode

from bext_otel.apps import Budgets
from bext_otel.catalogue import CACHE_HITS
from bext_otel.config import Exporters, Target
from bext_otel.export.delivery import Delivery
from bext_otel.export.otlp import log_exporters, metric_exporters, span_exporters
from bext_otel.export.periodic import MetricExport
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.store.streams import Streams
from tests.export.sending import SendingRecords, sending
from tests.serving import serving

REPLIES: dict[str, Any] = {
    "/v1/traces": trace_service_pb2.ExportTraceServiceResponse,
    "/v1/metrics": metrics_service_pb2.ExportMetricsServiceResponse,
    "/v1/logs": logs_service_pb2.ExportLogsServiceResponse,
}
REJECTED = {
    "/v1/traces": "rejected_spans",
    "/v1/metrics": "rejected_data_points",
    "/v1/logs": "rejected_log_records",
}


@dataclass
class Backend:
    """Takes OTLP over HTTP, answers with `status`, rejects `rejects` items of each request, and remembers who
    connected."""

    url: str = ""
    status: int = 200
    rejects: int = 0
    connections: set[Any] = field(default_factory=set)
    requests: list[bytes] = field(default_factory=list)


@pytest.fixture
def backend() -> Iterator[Backend]:
    state = Backend()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            state.connections.add(self.client_address)
            state.requests.append(self.rfile.read(int(self.headers["Content-Length"])))
            reply = REPLIES[self.path]()
            if state.rejects:
                setattr(reply.partial_success, REJECTED[self.path], state.rejects)
                reply.partial_success.error_message = "too old"
            body = reply.SerializeToString()
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with serving(server) as state.url:
        yield state


def exporters(url: str, protocol: Any = "http/protobuf") -> Exporters:
    paths = (
        {"traces": "/v1/traces", "metrics": "/v1/metrics", "logs": "/v1/logs"} if protocol != "grpc" else {}
    )
    targets: Any = {
        signal: Target(endpoint=url + paths.get(signal, ""), protocol=protocol)
        for signal in ("traces", "metrics", "logs")
    }
    return Exporters(traces=("otlp",), metrics=("otlp",), logs=("otlp",), targets=targets, prometheus=False)


@contextmanager
def tracing(made: Exporters) -> Iterator[tuple[TracerProvider, Delivery]]:
    ((exporter, delivery),) = span_exporters(made)
    provider = sending(exporter)
    yield provider, delivery
    provider.shutdown()


def emit(provider: TracerProvider) -> None:
    provider.get_tracer("t").start_span("s").end()


def test_what_a_backend_rejects_of_spans_is_failed(backend: Backend) -> None:
    backend.rejects = 1
    with tracing(exporters(backend.url)) as (provider, delivery):
        emit(provider)
    assert (0, {"rejected": 1}) == (delivery.exported, delivery.failures)


def test_what_a_backend_rejects_of_log_records_is_failed(backend: Backend) -> None:
    ((exporter, delivery),) = log_exporters(exporters(backend.url))
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SendingRecords(exporter))
    provider.get_logger("t").emit(body="one")
    backend.rejects = 1
    provider.get_logger("t").emit(body="two")
    provider.shutdown()
    assert (1, {"rejected": 1}) == (delivery.exported, delivery.failures)


def test_what_a_backend_rejects_of_data_points_is_failed(backend: Backend) -> None:
    """The rest is delivered, so a delta is not sent again."""
    backend.rejects = 1
    ((exporter, delivery),) = metric_exporters(exporters(backend.url))
    streams = Streams(Budgets({}))
    reading = SnapshotReader(streams, include_process=False)
    for app in ("one", "two"):
        streams.stream(CACHE_HITS).cell({"app": app, "layer": "isr"}).add(1)
    export = MetricExport(reading, Resource({}), exporter, delivery, 60)
    assert export.send()
    export.shutdown(1.0)
    reading.stop()
    assert {"rejected"} == set(delivery.failures)
    assert delivery.exported >= 1


def test_a_text_that_is_no_utf_8_costs_no_batch(backend: Backend) -> None:
    bad = "caf\udce9"
    spans, ((log_exporter, logs),) = exporters(backend.url), log_exporters(exporters(backend.url))
    ((span_exporter, traces),) = span_exporters(spans)
    provider, records = sending(span_exporter), LoggerProvider(shutdown_on_exit=False)
    records.add_log_record_processor(SendingRecords(log_exporter))
    emit(provider)
    with provider.get_tracer(bad).start_as_current_span(bad) as span:
        span.add_event(bad)
        span.set_status(StatusCode.ERROR, bad)
    records.get_logger("t").emit(body="good")
    records.get_logger(bad).emit(body=bad, event_name=bad, severity_text=bad)
    provider.shutdown()
    records.shutdown()
    assert (2, 0, 2, 0) == (traces.exported, traces.failed, logs.exported, logs.failed)


def test_a_reply_without_rejections_rejects_nothing(backend: Backend) -> None:
    with tracing(exporters(backend.url)) as (provider, delivery):
        emit(provider)
        assert (1, {}) == (delivery.exported, delivery.failures)


@pytest.mark.parametrize("status", [400, 401, 413])
def test_a_refusal_has_its_status_as_cause(backend: Backend, status: int) -> None:
    backend.status = status
    with tracing(exporters(backend.url)) as (provider, delivery):
        emit(provider)
    assert (0, {str(status): 1}) == (delivery.exported, delivery.failures)


def test_a_backend_that_is_away_has_its_exception_as_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    with tracing(exporters("http://127.0.0.1:1")) as (provider, delivery):
        emit(provider)
    assert {"ConnectionError": 1} == delivery.failures


class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.refuse = False
        self.reject = 0

    def Export(self, request: Any, context: Any) -> Any:
        if self.refuse:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        reply = trace_service_pb2.ExportTraceServiceResponse()
        if self.reject:
            reply.partial_success.rejected_spans = self.reject
        return reply


@pytest.fixture
def grpc_backend() -> Iterator[tuple[str, Traces]]:
    server, service = grpc.server(ThreadPoolExecutor(2)), Traces()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}", service
    server.stop(0).wait()


def test_grpc_tells_the_same(grpc_backend: tuple[str, Traces]) -> None:
    url, service = grpc_backend
    with tracing(exporters(url, "grpc")) as (provider, delivery):
        emit(provider)
        service.reject = 1
        emit(provider)
        service.refuse = True
        emit(provider)
    assert (1, {"rejected": 1, "INVALID_ARGUMENT": 1}) == (delivery.exported, delivery.failures)
    assert ("otlp_grpc_span_exporter", "127.0.0.1") == (delivery.component, delivery.address)


def test_a_forked_child_speaks_over_a_connection_of_its_own(backend: Backend) -> None:
    """Two processes that write to one connection at once send neither's request."""
    with tracing(exporters(backend.url)) as (provider, delivery):
        emit(provider)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                emit(provider)
                code = 0 if delivery.exported == 2 else 2
            finally:
                os._exit(code)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        emit(provider)
    assert (2, 3) == (len(backend.connections), len(backend.requests))
    assert 2 == delivery.exported


@pytest.mark.parametrize("word", ["none", "deflate", "gzip"])
def test_grpc_takes_each_compression_that_the_specification_names(
    grpc_backend: tuple[str, Traces], monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", word)
    url, _ = grpc_backend
    with tracing(exporters(url, "grpc")) as (provider, delivery):
        emit(provider)
    assert (1, {}) == (delivery.exported, delivery.failures)


def test_an_exporter_that_cannot_be_made_fails_like_any_other(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER", "nobody")
    with tracing(exporters(backend.url)) as (provider, delivery):
        emit(provider)
        assert (0, 1, True) == (delivery.exported, delivery.failed, delivery.failing)
        monkeypatch.delenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER")
        emit(provider)
    assert (1, 1, False) == (delivery.exported, delivery.failed, delivery.failing)


def test_a_limit_holds_for_the_exporter_that_a_child_makes_within_its_export() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ((exporter, delivery),) = span_exporters(exporters(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                delivery.limit(0.1)
                began = time.monotonic()
                exporter.export(())
                code = 0 if time.monotonic() - began < 5 else 2
            finally:
                os._exit(code)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_the_exporter_of_a_metric_keeps_its_preference(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    ((exporter, _),) = metric_exporters(exporters(backend.url))
    streams = Streams(Budgets({}))
    reading = SnapshotReader(streams, include_process=False)
    streams.stream(CACHE_HITS).cell({"app": "one", "layer": "isr"}).add(1)
    export = MetricExport(reading, Resource({}), exporter, Delivery("metrics", backend.url), 60)
    assert export.send()
    export.shutdown(1.0)
    reading.stop()
    request = metrics_service_pb2.ExportMetricsServiceRequest.FromString(backend.requests[0])
    (metric, *_) = request.resource_metrics[0].scope_metrics[0].metrics
    assert 1 == metric.sum.aggregation_temporality  # AGGREGATION_TEMPORALITY_DELTA
