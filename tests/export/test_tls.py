"""Export over TLS, to a server with a certificate of its own making."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which

import pytest

from bext_otel.config import Exporters, Target
from bext_otel.export.delivery import Delivery
from bext_otel.export.otlp import span_exporters
from tests.export.sending import sending
from tests.serving import serving

pytestmark = pytest.mark.skipif(which("openssl") is None, reason="makes certificates with openssl")


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    made, key = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        *subject,
    ]
    subprocess.run([*command, "-keyout", str(key), "-out", str(made)], check=True, capture_output=True)
    return made, key


@dataclass
class Collector:
    """Takes spans over TLS."""

    port: int = 0
    pinned: Path = Path()
    other: Path = Path()
    client: tuple[Path, Path] = (Path(), Path())
    context: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    requests: int = 0


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    state = Collector(other=certificate(tmp_path, "somebody-else")[0], client=certificate(tmp_path, "client"))
    state.pinned, key = certificate(tmp_path, "collector")
    state.context.load_cert_chain(state.pinned, key)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            state.requests += 1
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that trusts somebody else hangs up."""

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = state.context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_port
    with serving(server):
        yield state


def export(collector: Collector) -> Delivery:
    """Export one span, by what the environment says; how it went."""
    targets: dict[str, Target] = {
        "traces": Target(endpoint=f"https://localhost:{collector.port}/v1/traces", protocol="http/protobuf")
    }
    ((exporter, delivery),) = span_exporters(
        Exporters(traces=("otlp",), metrics=(), logs=(), targets=targets, prometheus=False)
    )  # type: ignore[arg-type]
    provider = sending(exporter)
    provider.get_tracer("t").start_span("s").end()
    provider.shutdown()
    return delivery


@pytest.mark.parametrize(
    "variable", ["OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"]
)
@pytest.mark.parametrize("bundle", ["", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_pinned_certificate_holds_whatever_bundle_is_set(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, variable: str, bundle: str
) -> None:
    monkeypatch.setenv(variable, str(collector.pinned))
    if bundle:
        monkeypatch.setenv(bundle, str(collector.other))
    assert (1, {}) == (export(collector).exported, export(collector).failures)


def test_where_none_is_pinned_the_bundle_holds(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(collector.pinned))
    assert 1 == export(collector).exported


@pytest.mark.specification("Beyond the rows", "OTLP: TLS by the certificate that is set, and no other")
def test_a_pinned_certificate_is_the_only_one_that_is_trusted(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the one line about it says what TLS says."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(collector.other))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(collector.pinned))
    delivery = export(collector)
    assert (0, 0) == (delivery.exported, collector.requests)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "bext_otel.export"]
    assert "CERTIFICATE_VERIFY_FAILED" in line
    assert "\n" not in line


@pytest.mark.specification("Beyond the rows", "OTLP: mutual TLS")
def test_a_client_shows_its_own_certificate(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    collector.context.verify_mode = ssl.CERT_REQUIRED
    collector.context.load_verify_locations(collector.client[0])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(collector.pinned))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(collector.other))
    assert 0 == export(collector).exported
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(collector.client[0]))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", str(collector.client[1]))
    assert 1 == export(collector).exported
