"""OTLP over HTTP: what is sent, and what becomes of it by the answer."""

from __future__ import annotations

import time
import zlib
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from google.rpc import status_pb2

from bext_otel.export.delivery import Delivery
from bext_otel.export.otlp_http import OtlpHttp
from tests.export.test_http_client import Server, answering, reply
from tests.fresh import fresh


def sent(server: Server, content: bytes = b"spans") -> tuple[bool, Delivery]:
    """One attempt to send there, which keeps what may pass."""
    delivery = Delivery("traces", server.url, component="otlp_http_span_exporter")
    delivery.keeps = True
    sender = OtlpHttp("traces", f"{server.url}/v1/traces", delivery)
    arrived = delivery.attempt(3, lambda: sender.send(content, 3))
    sender.shutdown()
    return arrived, delivery


def test_what_a_collector_takes_has_arrived() -> None:
    with answering() as server:
        arrived, delivery = sent(server)
    assert (True, 3, {}, [b"spans"]) == (arrived, delivery.exported, delivery.failures, server.bodies)
    assert "application/x-protobuf" == server.headers[0]["content-type"]
    assert (200, "") == (delivery.durations[0][2], delivery.durations[0][1])


@pytest.mark.parametrize(("word", "bits"), [("gzip", 31), ("deflate", 15)])
def test_a_request_is_compressed_as_the_variable_says(
    monkeypatch: pytest.MonkeyPatch, word: str, bits: int
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", word)
    with answering() as server:
        assert sent(server, b"x" * 10_000)[0]
    assert word == server.headers[0]["content-encoding"]
    assert b"x" * 10_000 == zlib.decompress(server.bodies[0], bits)
    assert len(server.bodies[0]) < 1000


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_kept_for_as_long_as_the_collector_asks(status: int) -> None:
    with answering(lambda request: reply(request, status, Retry_After="7")) as server:
        arrived, delivery = sent(server)
    assert (False, True, 7.0, {}) == (
        arrived,
        delivery.kept,
        delivery.pause_seconds,
        delivery.failures,
    )


@pytest.mark.parametrize(
    ("asked", "low", "high"),
    [
        ("", 0, 0),
        ("1.5", 1.5, 1.5),
        ("-3", 0, 0),
        ("nan", 0, 0),
        ("inf", 0, 0),
        ("soon", 0, 0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0),
    ],
)
def test_a_pause_is_told_in_seconds_or_by_a_date(asked: str, low: float, high: float) -> None:
    with answering(lambda request: reply(request, 503, Retry_After=asked)) as server:
        _, delivery = sent(server)
    assert low <= delivery.pause_seconds <= high


def test_a_pause_until_a_date_is_what_is_left_until_then() -> None:
    """Within an hour, however long this takes."""
    until = int(time.time()) + 3600
    asked = formatdate(until, usegmt=True)
    with answering(lambda request: reply(request, 503, Retry_After=asked)) as server:
        _, delivery = sent(server)
    assert until - time.time() <= delivery.pause_seconds <= 3600


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 413, 500, 501])
def test_what_does_not_pass_is_lost(status: int) -> None:
    """A collector that is elsewhere has taken nothing, and who answers so may be anybody."""
    with answering(lambda request: reply(request, status, Location="http://127.0.0.1:1/")) as server:
        arrived, delivery = sent(server)
    assert (False, False, {str(status): 3}, 1) == (
        arrived,
        delivery.kept,
        delivery.failures,
        len(server.bodies),
    )


def test_who_refuses_is_quoted(caplog: pytest.LogCaptureFixture) -> None:
    status = status_pb2.Status(code=16, message="no such tenant\x1b[31m").SerializeToString()
    kind = {"Content_Type": "application/x-protobuf"}
    with answering(lambda request: reply(request, 401, status, **kind)) as server:
        sent(server)
    (line,) = caplog.messages
    assert "fails: 401 Unauthorized: no such tenant\\x1b[31m; " in line


def test_a_timeout_is_the_least_of_the_variable_and_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.3")

    def late(request: Any) -> None:
        time.sleep(1.0)
        reply(request)

    with answering(late) as server:
        delivery = Delivery("traces", server.url)
        sender = OtlpHttp("traces", server.url, delivery)
        assert not delivery.attempt(1, lambda: sender.send(b"", 1))
        assert ({"ReadTimeout": 1}, "no answer in time") == (delivery.failures, delivery.reason)
        delivery.limit(0.1)
        assert not delivery.attempt(1, lambda: sender.send(b"", 1))


ALL = """
import sys
import bext_otel
from opentelemetry import _logs, metrics, trace
runs = bext_otel.configure()
from bext_otel.export.otlp import import_otlp
import_otlp(runs.config.telemetry.exporters)
before = set(sys.modules)
with trace.get_tracer("shop").start_as_current_span("work"):
    _logs.get_logger("shop").emit(body="sold")
    metrics.get_meter("shop").create_counter("sold").add(1)
runs.flush()
while_exporting = set(sys.modules) - before
runs.shutdown()
names = ("requests", "urllib3", "google", "opentelemetry.exporter.otlp", "opentelemetry.exporter.http", "opentelemetry.proto", "grpc", "urllib.request")
show([
    sorted(name for name in sys.modules if name in names or name.startswith(tuple(f"{each}." for each in names))),
    sorted(name for name in while_exporting if name.startswith(("bext_otel.export.http", "bext_otel.export.otlp_", "encodings", "http", "ssl"))),
])
"""


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
def test_every_signal_is_sent_without_upstream_s_exporters_and_imports_nothing_at_its_first_request(
    tmp_path: Path, protocol: str
) -> None:
    """A fork in the middle of an import leaves its lock held in the child."""
    with answering() as server:
        shown, lines = fresh(
            ALL, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=server.url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol
        )
    assert ([[], []], []) == (shown, lines)
    assert {"/v1/traces", "/v1/logs", "/v1/metrics"} == set(server.targets)


CREDENTIALS = """
import requests

def session():
    made = requests.Session()
    made.headers["authorization"] = "Bearer made"
    return made
"""


def test_another_package_may_make_the_credentials(tmp_path: Path) -> None:
    """As a session of requests, by which upstream's exporter sends then; other signals do without."""
    (tmp_path / "credentials_of_tests.py").write_text(CREDENTIALS, encoding="utf-8")
    info = tmp_path / "credentials_of_tests-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: credentials-of-tests\nVersion: 1\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(
        "[opentelemetry_otlp_credential_provider]\nmade = credentials_of_tests:session\n", encoding="utf-8"
    )
    with answering() as server:
        fresh(
            ALL,
            tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=server.url,
            OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER="made",
        )
    said = {
        target: headers.get("authorization")
        for target, headers in zip(server.targets, server.headers, strict=True)
    }
    assert {"/v1/traces": "Bearer made", "/v1/logs": None, "/v1/metrics": None} == said
