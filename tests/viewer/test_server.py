from __future__ import annotations

import http.client
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from bext_otel.errors import ConfigError
from bext_otel.viewer import Viewer, documents

RESOURCE = Resource({"service.name": "sender"})


@pytest.mark.parametrize("compression", list(Compression))
def test_the_sdk_own_exporters_are_understood(compression: Compression) -> None:
    """The whole way: SDK, exporter, socket, parser, store."""
    with Viewer(port=0) as viewer:
        traces = TracerProvider(resource=RESOURCE)
        traces.add_span_processor(
            SimpleSpanProcessor(OTLPSpanExporter(f"{viewer.url}/v1/traces", compression=compression))
        )
        with traces.get_tracer("t").start_as_current_span("work") as span:
            logs = LoggerProvider(resource=RESOURCE)
            logs.add_log_record_processor(
                SimpleLogRecordProcessor(OTLPLogExporter(f"{viewer.url}/v1/logs", compression=compression))
            )
            logs.get_logger("l").emit(LogRecord(severity_number=SeverityNumber.WARN, body="done"))
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(f"{viewer.url}/v1/metrics", compression=compression)
        )
        meters = MeterProvider([reader], resource=RESOURCE)
        meters.get_meter("m").create_counter("sold").add(3, {"sku": "guji"})
        for provider in (traces, logs, meters):
            provider.shutdown()

        with viewer.store.reading():
            trace = documents.trace(viewer.store, f"{span.get_span_context().trace_id:032x}")
            metric = documents.metric(viewer.store, "sold")
        assert trace is not None
        assert metric is not None
        assert ("work", ["sender"]) == (trace["name"], trace["services"])
        assert [("warn", "done")] == [(line["level"], line["message"]) for line in trace["logs"]]
        assert [({"sku": "guji"}, 3.0)] == [
            (series["labels"], series["total"]) for series in metric["series"]
        ]


def test_it_answers_many_at_once() -> None:
    def ask(port: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/api/summary")
            return connection.getresponse().status
        finally:
            connection.close()

    with Viewer(port=0) as viewer, ThreadPoolExecutor(8) as pool:
        assert {200} == set(pool.map(ask, [viewer.port] * 40))


def test_clients_that_drip_keep_nobody_from_being_answered() -> None:
    with Viewer(port=0) as viewer, ExitStack() as held:
        for _ in range(200):
            sock = held.enter_context(socket.create_connection(("127.0.0.1", viewer.port)))
            sock.sendall(b"POST /v1/traces HTTP/1.1\r\nX: ")
        for path in ("/", "/api/summary"):
            connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=10)
            connection.request("GET", path)
            assert 200 == connection.getresponse().status
            connection.close()


def test_a_length_that_is_none_is_the_clients_fault_and_tells_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Viewer(port=0) as viewer, socket.create_connection(("127.0.0.1", viewer.port)) as sock:
        sock.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: ")
        sock.sendall(b"9" * 5000 + b"\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 400 ")
    assert ("", "") == capfd.readouterr()


def test_its_port_is_free_again_after_the_end() -> None:
    with Viewer(port=0) as viewer:
        idle = socket.create_connection(("127.0.0.1", viewer.port))
    with idle:
        assert b"" == idle.recv(1)
    with Viewer(port=viewer.port) as again:
        assert viewer.port == again.port


def test_one_that_never_started_can_be_stopped() -> None:
    viewer = Viewer(port=0)
    viewer.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", viewer.port), timeout=1)


def test_a_taken_port_is_an_error_and_not_shared() -> None:
    with Viewer(port=0) as viewer, pytest.raises(OSError, match="in use"):
        Viewer(port=viewer.port)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.0.2.1", "::"])
def test_it_listens_to_this_machine_only(host: str) -> None:
    with pytest.raises(ConfigError, match="nobody else's business"):
        Viewer(host=host)
