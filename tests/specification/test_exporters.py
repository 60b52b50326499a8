"""The specification's rows on exporters: OTLP with each protocol, and a backend that answers in every way."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.e2e.otlp import receiving_grpc
from tests.fresh import fresh
from tests.serving import serving, serving_rpc
from tests.specification.programs import running

ALL = """
import bext_otel
from opentelemetry import _logs, metrics, trace
runs = bext_otel.configure()
with trace.get_tracer("shop", "1", schema_url="https://schema/s").start_as_current_span("work"):
    _logs.get_logger("shop", "1", schema_url="https://schema/s").emit(body="sold")
    metrics.get_meter("shop", "1", schema_url="https://schema/s").create_counter("sold").add(1)
runs.flush()
runs.shutdown()
show(None)
"""


@dataclass(frozen=True)
class Request:
    at: float
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Backend:
    """Answers with `answers`, one after the other, and with 200 and nothing from then on: status, headers, body."""

    endpoint: str = ""
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)


@contextmanager
def answering(*answers: tuple[int, dict[str, str], bytes]) -> Iterator[Backend]:
    backend = Backend(answers=list(answers))
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with lock:
                backend.requests.append(Request(time.monotonic(), self.path, headers, body))
                status, extra, answer = backend.answers.pop(0) if backend.answers else (200, {}, b"")
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            sent = 0
            try:
                for start in range(0, len(answer), 65_536):
                    self.wfile.write(answer[start : start + 65_536])
                    sent += 65_536
            except OSError:  # nobody reads any more
                self.close_connection = True
            backend.sent.append(sent)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with serving(server) as backend.endpoint:
        yield backend


def sent_to(backend: Backend, program: str, folder: Path, **env: str) -> tuple[Any, list[dict[str, Any]]]:
    """What a program shows that exports spans there, and its log lines."""
    return fresh(program, folder, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{backend.endpoint}/v1/traces", **env)


@pytest.mark.specification("Exporters", "OTLP: OTLP/gRPC Exporter")
def test_every_signal_goes_over_grpc(tmp_path: Path) -> None:
    with receiving_grpc() as receiver:
        fresh(
            ALL, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL="grpc"
        )
        assert receiver.span(name="work")
        assert ["sold"] == [line.body for line in receiver.lines()]
        assert receiver.metrics("sold")


@pytest.mark.specification("Exporters", "OTLP: SchemaURL in ResourceMetrics and ScopeMetrics")
@pytest.mark.specification("Exporters", "OTLP: OTLP/HTTP binary Protobuf Exporter")
def test_every_signal_goes_over_http_with_the_schema_of_its_scope(tmp_path: Path) -> None:
    with running(ALL, tmp_path) as run:
        found = {
            (type(message).__name__, scope.schema_url)
            for message in run.messages
            for kind in ("resource_spans", "resource_logs", "resource_metrics")
            for resource in getattr(message, kind, ())
            for scope in getattr(resource, kind.replace("resource", "scope"))
            if scope.scope.name == "shop"
        }
    kinds = ("Trace", "Logs", "Metrics")
    assert {(f"Export{kind}ServiceRequest", "https://schema/s") for kind in kinds} == found


@pytest.mark.specification("Exporters", "OTLP: OTLP/HTTP JSON Protobuf Exporter")
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_signal_goes_as_json(tmp_path: Path, compression: str) -> None:
    """Ids are hex digits, enumerations numbers, and 64 bits text; a receiver of the specification's reads it."""
    with answering() as backend:
        fresh(
            ALL,
            tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/json",
            OTEL_EXPORTER_OTLP_COMPRESSION=compression,
        )
    found = {}
    for request in backend.requests:
        assert "application/json" == request.headers["content-type"]
        found[request.path] = json.loads(
            gzip.decompress(request.body) if compression == "gzip" else request.body
        )
    assert {"/v1/traces", "/v1/logs", "/v1/metrics"} == found.keys()
    span = found["/v1/traces"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    record = found["/v1/logs"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    assert (32, 16, 1, str) == (
        len(span["traceId"]),
        len(span["spanId"]),
        span["kind"],
        type(span["startTimeUnixNano"]),
    )
    assert (span["traceId"], span["spanId"]) == (record["traceId"], record["spanId"])
    for path, kind in (
        ("/v1/logs", logs_service_pb2.ExportLogsServiceRequest),
        ("/v1/metrics", metrics_service_pb2.ExportMetricsServiceRequest),
        ("/v1/traces", trace_service_pb2.ExportTraceServiceRequest),
    ):
        json_format.ParseDict(found[path], kind())


@pytest.mark.specification(
    "Beyond the rows",
    "OTLP: a response in JSON is read where JSON was sent",
)
def test_an_answer_in_json_is_read_as_well(tmp_path: Path) -> None:
    answer = b'{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "no room"}}'
    with answering((200, {"Content-Type": "application/json"}, answer)) as backend:
        _, lines = sent_to(backend, ONE, tmp_path, OTEL_EXPORTER_OTLP_PROTOCOL="http/json")
    assert ["no room"] == [line["message"].split(": ")[1].split(";")[0] for line in lines]


@pytest.mark.specification("Exporters", "OTLP: OTLP/HTTP gzip Content-Encoding support")
@pytest.mark.specification("Environment Variables", "OTEL_EXPORTER_OTLP_*")
def test_requests_are_compressed_and_have_the_headers_that_are_asked_for(tmp_path: Path) -> None:
    with answering() as backend:
        fresh(
            ALL,
            tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"{backend.endpoint}/base",
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
            OTEL_EXPORTER_OTLP_HEADERS="api-key=all",
            OTEL_EXPORTER_OTLP_TRACES_HEADERS="api-key=traces",
        )
    keys = {request.path: request.headers["api-key"] for request in backend.requests}
    assert {"/base/v1/traces": "traces", "/base/v1/logs": "all", "/base/v1/metrics": "all"} == keys
    assert {"gzip"} == {request.headers["content-encoding"] for request in backend.requests}
    traces = next(request for request in backend.requests if request.path == "/base/v1/traces")
    assert trace_service_pb2.ExportTraceServiceRequest.FromString(gzip.decompress(traces.body)).resource_spans


@pytest.mark.specification("Exporters", "OTLP: Honors the user agent spec")
def test_requests_say_who_sends_them(tmp_path: Path) -> None:
    with answering() as backend:
        fresh(ALL, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint)
    agents = {request.headers["user-agent"] for request in backend.requests}
    assert 3 == len({request.path for request in backend.requests})
    assert all(agent.startswith("OTel-OTLP-Exporter-Python/") for agent in agents)


ONE = """
import time
import bext_otel
from opentelemetry import trace
runs = bext_otel.configure(telemetry={"shutdown_timeout_seconds": 10})
trace.get_tracer("shop").start_span("work").end()
arrived = [trace.get_tracer_provider().force_flush(5000)]
runs.shutdown()
show(arrived)
"""


@pytest.mark.specification("Exporters", "OTLP: Honors retryable responses with backoff")
def test_what_may_pass_is_sent_again_after_growing_pauses(tmp_path: Path) -> None:
    with answering(*[(503, {}, b"")] * 3) as backend:
        sent_to(backend, ONE, tmp_path)
    bodies = {request.body for request in backend.requests}
    pauses = [
        after.at - before.at for before, after in zip(backend.requests, backend.requests[1:], strict=False)
    ]
    assert (4, 1) == (len(backend.requests), len(bodies))
    assert pauses[-1] > pauses[-2], "the first one is after a flush, the end begins with short ones"


@pytest.mark.specification("Exporters", "OTLP: Honors non-retryable responses")
def test_what_does_not_pass_is_told_and_not_sent_again(tmp_path: Path) -> None:
    with answering((400, {}, b"")) as backend:
        shown, lines = sent_to(backend, ONE, tmp_path)
    assert (1, [False]) == (len(backend.requests), shown)
    assert ["export of traces"] == [line["message"][:16] for line in lines]


THROTTLED = """
import time
import bext_otel
from opentelemetry import trace
runs = bext_otel.configure()
trace.get_tracer("shop").start_span("work").end()
trace.get_tracer_provider().force_flush(5000)
until = time.monotonic() + 20
while not runs._deliveries[0].exported and time.monotonic() < until:
    time.sleep(0.05)
show(runs._deliveries[0].exported)
"""


@pytest.mark.specification("Exporters", "OTLP: Honors throttling response")
def test_a_backend_that_asks_for_a_pause_gets_it(tmp_path: Path) -> None:
    with answering((429, {"Retry-After": "3"}, b"")) as backend:
        shown, _ = sent_to(backend, THROTTLED, tmp_path, OTEL_BSP_SCHEDULE_DELAY="100")
    first, second = backend.requests
    assert 1 == shown
    assert second.at - first.at >= 3


@contextmanager
def answering_grpc(answer: Callable[[grpc.ServicerContext], Any]) -> Iterator[tuple[str, list[float]]]:
    """A backend of spans over gRPC, and when it was asked."""
    asked: list[float] = []

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
            asked.append(time.monotonic())
            return answer(context) if len(asked) == 1 else trace_service_pb2.ExportTraceServiceResponse()

    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    with serving_rpc(lambda server: add(Traces(), server)) as url:
        yield url, asked


@pytest.mark.specification("Exporters", "OTLP: Honors throttling response")
@pytest.mark.specification(
    "Beyond the rows",
    "OTLP: RetryInfo of a gRPC status is honoured",
)
def test_a_backend_that_asks_for_a_pause_over_grpc_gets_it(tmp_path: Path) -> None:
    """Too much for it now may be sent again only because it says when (`RetryInfo`)."""

    def later(context: grpc.ServicerContext) -> Any:
        info = error_details_pb2.RetryInfo()
        info.retry_delay.seconds = 3
        context.set_trailing_metadata((("google.rpc.retryinfo-bin", info.SerializeToString()),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "later")

    with answering_grpc(later) as (endpoint, asked):
        shown, _ = fresh(
            THROTTLED,
            tmp_path,
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
            OTEL_BSP_SCHEDULE_DELAY="100",
        )
    assert (1, 2) == (shown, len(asked))
    assert asked[1] - asked[0] >= 3


MIB = 1 << 20


@pytest.mark.specification("Exporters", "OTLP: Reads at most 4 MiB of a response")
def test_of_a_long_answer_no_more_is_read_than_the_specification_has(tmp_path: Path) -> None:
    with answering((200, {}, bytes(64 * MIB))) as backend:
        shown, lines = sent_to(backend, ONE, tmp_path)
    assert ([True], []) == (shown, lines)
    assert backend.sent[0] < 32 * MIB, "but for what lies in the system's buffers"


BIG = """
import bext_otel
from opentelemetry import trace
runs = bext_otel.configure()
trace.get_tracer("shop").start_span("big", attributes={"text": TEXT}).end()
runs.flush()
trace.get_tracer("shop").start_span("small").end()
runs.shutdown()
show(None)
"""


@pytest.mark.specification("Exporters", "OTLP: Limits the size of a request to 64 MiB")
@pytest.mark.parametrize(
    ("protocol", "text"),
    [
        ("http/protobuf", "'x' * (66 << 20)"),
        # Each of these has six in JSON.
        ("http/json", "chr(1) * (12 << 20)"),
    ],
)
def test_no_request_is_larger_than_the_specification_has(tmp_path: Path, protocol: str, text: str) -> None:
    with answering() as backend:
        _, lines = sent_to(backend, BIG.replace("TEXT", text), tmp_path, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
    assert all(len(request.body) < 64 * MIB for request in backend.requests)
    spans = b"".join(request.body for request in backend.requests)
    assert b"small" in spans
    assert 1 == len(lines), "it is told"


@pytest.mark.specification("Exporters", "OTLP: Partial Success messages are handled and logged for OTLP/HTTP")
def test_what_a_backend_rejects_is_told_and_not_sent_again(tmp_path: Path) -> None:
    reply = trace_service_pb2.ExportTraceServiceResponse()
    reply.partial_success.rejected_spans, reply.partial_success.error_message = 1, "no room"
    with answering((200, {"Content-Type": "application/x-protobuf"}, reply.SerializeToString())) as backend:
        _, lines = sent_to(backend, ONE, tmp_path)
    assert 1 == len(backend.requests)
    assert ["no room"] == [line["message"].split(": ")[1].split(";")[0] for line in lines]


@pytest.mark.specification("Exporters", "OTLP: Partial Success messages are handled and logged for OTLP/gRPC")
def test_what_a_backend_rejects_over_grpc_is_told_and_not_sent_again(tmp_path: Path) -> None:
    def reject(_: grpc.ServicerContext) -> Any:
        reply = trace_service_pb2.ExportTraceServiceResponse()
        reply.partial_success.rejected_spans, reply.partial_success.error_message = 1, "no room"
        return reply

    with answering_grpc(reject) as (endpoint, asked):
        _, lines = fresh(
            ONE, tmp_path, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_PROTOCOL="grpc"
        )
    assert 1 == len(asked)
    assert ["no room"] == [line["message"].split(": ")[1].split(";")[0] for line in lines]


HANGING = """
import threading, time
import bext_otel
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

class Hangs(SpanExporter):
    def export(self, spans):
        threading.Event().wait(60)
    def shutdown(self): pass

runs = bext_otel.configure(exporters=[Hangs()])
trace.get_tracer("shop").start_span("work").end()
began = time.monotonic()
arrived = trace.get_tracer_provider().force_flush(2000)
took = time.monotonic() - began
began = time.monotonic()
runs.shutdown()
show([arrived, took < 10, time.monotonic() - began < 15])
"""


@pytest.mark.specification("Exporters", "OTLP: Multi-destination spec compliance", "Exporter interface")
def test_one_destination_that_hangs_keeps_nothing_from_another(tmp_path: Path) -> None:
    """And a flush ends within its time, as the end does."""
    with running(HANGING, tmp_path) as run:
        assert run.span("work")
    assert [False, True, True] == run.shown


SILENT = """
import os, socket
silent = socket.create_server(("127.0.0.1", 0))
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
import bext_otel
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

class Metrics(MetricExporter):
    names = []
    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        self.names += [metric.name for resource in metrics_data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics]
        return MetricExportResult.SUCCESS
    def force_flush(self, timeout_millis=10_000): return True
    def shutdown(self, timeout_millis=30_000, **kwargs): pass

spans, points, records = InMemorySpanExporter(), Metrics(), InMemoryLogRecordExporter()
bext_otel.configure(exporters=[spans, points, records], logging={"output": "none"})
trace.get_tracer("shop").start_span("work").end()
metrics.get_meter("shop").create_counter("sold").add(1)
_logs.get_logger("shop").emit(body="sold")
flushed = [provider.force_flush(2000) for provider in (trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider())]
show([flushed, [span.name for span in spans.get_finished_spans()], "sold" in points.names, "sold" in [each.log_record.body for each in records.get_finished_logs()]])
import sys
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.specification("Exporters", "OTLP: Multi-destination spec compliance")
def test_a_backend_that_does_not_answer_keeps_no_flush_from_another(tmp_path: Path) -> None:
    """Though it comes first, and takes all of the time."""
    shown, _ = fresh(SILENT, tmp_path)
    assert [[False] * 3, ["work"], True, True] == shown


EXPORTING = """
import io, sys
# Upstream's exporter writes to what this was when it was imported.
shown, sys.stdout = sys.stdout, io.StringIO()
import bext_otel
from opentelemetry import trace
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

class Own(SpanExporter):
    names, ended, flushed = [], 0, 0
    def export(self, spans):
        self.names.extend(span.name for span in spans)
        return SpanExportResult.SUCCESS
    def shutdown(self):
        Own.ended += 1
    def force_flush(self, timeout_millis=30000):
        Own.flushed += 1
        return True

own, batched, simple = Own(), InMemorySpanExporter(), InMemorySpanExporter()
runs = bext_otel.configure(exporters=[own], span_processors=[BatchSpanProcessor(batched), SimpleSpanProcessor(simple)])
trace.get_tracer("shop").start_span("work").end()
at_once = [span.name for span in simple.get_finished_spans()]
arrived = trace.get_tracer_provider().force_flush(5000)
flushed = Own.flushed
runs.shutdown()
out, sys.stdout = sys.stdout, shown
show([own.names, [span.name for span in batched.get_finished_spans()], at_once, arrived, Own.ended, '"name": "work"' in out.getvalue(), flushed])
"""


@pytest.mark.specification(
    "Exporters",
    "Exporter interface",
    "Exporter interface has `ForceFlush`",
    "In-memory (mock exporter)",
    "Standard output (logging)",
)
@pytest.mark.specification("Environment Variables", "OTEL_TRACES_EXPORTER")
def test_exporters_of_the_sdk_s_interface_get_what_is_sampled_and_end_once(tmp_path: Path) -> None:
    with running(EXPORTING, tmp_path, OTEL_TRACES_EXPORTER="otlp,console", BEXT_LOGGING_OUTPUT="none") as run:
        assert run.span("work")
    assert [["work"], ["work"], ["work"], True, 1, True, 1] == run.shown


@pytest.mark.specification("Exporters", "OTLP: OTLP/HTTP JSON Protobuf Exporter")
def test_upstream_s_own_exporter_of_json_works_by_its_name(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.json.http")
    with answering() as backend:
        fresh(
            ALL, tmp_path, OTEL_TRACES_EXPORTER="otlp_json_http", OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint
        )
    assert any(b'"name": "work"' in request.body for request in backend.requests)


ZIPKIN = """
import bext_otel
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
runs = bext_otel.configure()
tracer = trace.get_tracer("shop", "1.2")
for kind in SpanKind:
    tracer.start_span(kind.name, kind=kind, start_time=1_000_000_000, attributes={"flag": True, "list": [1, 2]}).end(3_000_000_000)
with tracer.start_as_current_span("events") as span:
    span.add_event("packed", {"n": 1}, timestamp=2_000_000_000)
for name, status in (("ok", Status(StatusCode.OK)), ("error", Status(StatusCode.ERROR, "why"))):
    with tracer.start_as_current_span(name) as span:
        span.set_status(status)
runs.shutdown()
show(None)
"""


@pytest.fixture(scope="module")
def zipkin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    pytest.importorskip("opentelemetry.exporter.zipkin.json")
    with answering() as backend:
        fresh(
            ZIPKIN,
            tmp_path_factory.mktemp("zipkin"),
            OTEL_SERVICE_NAME="shop",
            OTEL_TRACES_EXPORTER="zipkin",
            OTEL_EXPORTER_ZIPKIN_ENDPOINT=f"{backend.endpoint}/api/v2/spans",
        )
    assert {"/api/v2/spans"} == {request.path for request in backend.requests}
    return {span["name"]: span for request in backend.requests for span in json.loads(request.body)}


@pytest.mark.specification("Exporters", "Zipkin: Zipkin V2 JSON", "Zipkin: Service name mapping")
@pytest.mark.specification("Environment Variables", "OTEL_EXPORTER_ZIPKIN_*")
def test_zipkin_gets_json_with_the_service(zipkin: dict[str, Any]) -> None:
    assert {"shop"} == {span["localEndpoint"]["serviceName"] for span in zipkin.values()}


@pytest.mark.specification(
    "Exporters", "Zipkin: SpanKind mapping", "Zipkin: Integer microseconds in timestamps"
)
def test_zipkin_gets_kinds_and_microseconds(zipkin: dict[str, Any]) -> None:
    kinds = {
        name: zipkin[name].get("kind") for name in ("INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
    }
    named = {name: name for name in ("SERVER", "CLIENT", "PRODUCER", "CONSUMER")}
    assert {"INTERNAL": None, **named} == kinds
    assert (1_000_000, 2_000_000) == (zipkin["SERVER"]["timestamp"], zipkin["SERVER"]["duration"])


@pytest.mark.specification(
    "Exporters",
    "Zipkin: InstrumentationLibrary mapping",
    "Zipkin: InstrumentationScope mapping",
    "Zipkin: Boolean attributes",
    "Zipkin: Array attributes",
)
def test_zipkin_gets_scopes_and_attributes_as_text(zipkin: dict[str, Any]) -> None:
    tags = zipkin["SERVER"]["tags"]
    assert ("shop", "1.2", "shop", "1.2") == (
        tags["otel.library.name"],
        tags["otel.library.version"],
        tags["otel.scope.name"],
        tags["otel.scope.version"],
    )
    assert ("true", ["1", "2"]) == (tags["flag"], json.loads(tags["list"]))


@pytest.mark.specification("Exporters", "Zipkin: Status mapping", "Zipkin: Error Status mapping")
def test_zipkin_gets_statuses(zipkin: dict[str, Any]) -> None:
    assert ("OK", "why") == (zipkin["ok"]["tags"]["otel.status_code"], zipkin["error"]["tags"]["error"])
