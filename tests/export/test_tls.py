"""Export over TLS, to a server with a certificate of its own making."""

from __future__ import annotations

import gc
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bext_otel.config import Exporters, Target
from bext_otel.export.delivery import Delivery
from bext_otel.export.otlp import span_exporters
from bext_otel.traces.provider import BextTracerProvider
from tests.export.certificates import Collector, certificate, needs_openssl, over_tls
from tests.export.sending import sending

pytestmark = needs_openssl


@pytest.fixture
def pinned(tmp_path: Path) -> tuple[Path, Path]:
    """The collector's own, and its key."""
    return certificate(tmp_path, "collector")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return certificate(tmp_path, "somebody-else")[0]


@pytest.fixture
def collector(pinned: tuple[Path, Path]) -> Iterator[Collector]:
    with over_tls(*pinned) as made:
        yield made


def exporting(collector: Collector) -> tuple[BextTracerProvider, Delivery]:
    targets: Any = {
        "traces": Target(endpoint=f"https://localhost:{collector.port}/v1/traces", protocol="http/protobuf")
    }
    ((exporter, delivery),) = span_exporters(
        Exporters(traces=("otlp",), metrics=(), logs=(), targets=targets, prometheus=False)
    )
    return sending(exporter), delivery


def export(collector: Collector) -> Delivery:
    """Export one span, by what the environment says; how it went."""
    provider, delivery = exporting(collector)
    provider.get_tracer("t").start_span("s").end()
    provider.shutdown()
    return delivery


@pytest.mark.parametrize(
    "variable", ["OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"]
)
@pytest.mark.parametrize("bundle", ["", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_pinned_certificate_holds_whatever_bundle_is_set(
    collector: Collector,
    pinned: tuple[Path, Path],
    other: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    bundle: str,
) -> None:
    monkeypatch.setenv(variable, str(pinned[0]))
    if bundle:
        monkeypatch.setenv(bundle, str(other))
    assert (1, {}) == (export(collector).exported, export(collector).failures)


def test_where_none_is_pinned_the_bundle_holds(
    collector: Collector, pinned: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pinned[0]))
    assert 1 == export(collector).exported


@pytest.mark.specification("Beyond the rows", "OTLP: TLS by the certificate that is set, and no other")
def test_a_pinned_certificate_is_the_only_one_that_is_trusted(
    collector: Collector,
    pinned: tuple[Path, Path],
    other: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And the one line about it says what TLS says."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(other))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pinned[0]))
    delivery = export(collector)
    assert (0, 0) == (delivery.exported, len(collector.targets))
    (line,) = [record.getMessage() for record in caplog.records if record.name == "bext_otel.export"]
    assert "CERTIFICATE_VERIFY_FAILED" in line
    assert "\n" not in line


@pytest.mark.specification("Beyond the rows", "OTLP: mutual TLS")
def test_a_client_shows_its_own_certificate(
    collector: Collector,
    pinned: tuple[Path, Path],
    other: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = certificate(tmp_path, "client")
    collector.context.verify_mode = ssl.CERT_REQUIRED
    collector.context.load_verify_locations(client[0])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(pinned[0]))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    assert 0 == export(collector).exported
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(client[0]))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", str(client[1]))
    assert 1 == export(collector).exported


@pytest.mark.parametrize(
    ("made", "trusted", "reason"),
    [
        ({"expired": True}, True, "certificate has expired"),
        ({"of": "DNS:collector.example"}, True, "Hostname mismatch"),
        ({}, False, "self-signed certificate"),
    ],
)
def test_a_certificate_that_does_not_hold_gets_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    made: dict[str, Any],
    trusted: bool,
    reason: str,
) -> None:
    shown = certificate(tmp_path, "shown", **made)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    if trusted:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(shown[0]))
    with over_tls(*shown) as collector:
        delivery = export(collector)
    assert ({"SSLError": 1}, []) == (delivery.failures, collector.targets)
    (line,) = [message for message in caplog.messages if "CERTIFICATE_VERIFY_FAILED" in message]
    assert reason in line


def test_a_certificate_that_is_not_there_is_told_and_looked_for_again(
    collector: Collector, pinned: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that a side-car writes may come later."""
    late = tmp_path / "late.pem"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(late))
    provider, delivery = exporting(collector)
    provider.get_tracer("t").start_span("s").end()
    assert {"FileNotFoundError": 1} == delivery.failures
    late.write_bytes(pinned[0].read_bytes())
    provider.get_tracer("t").start_span("s").end()
    provider.shutdown()
    assert 1 == delivery.exported


def test_what_a_forked_child_lets_go_of_is_its_own_end_of_the_connection(
    collector: Collector, pinned: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(pinned[0]))
    provider, delivery = exporting(collector)
    provider.get_tracer("t").start_span("parent's").end()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            provider.get_tracer("t").start_span("child's").end()
            code = 0 if delivery.exported == 2 else 2
            del provider
            gc.collect()
        finally:
            os._exit(code)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    provider.get_tracer("t").start_span("parent's").end()
    provider.shutdown()
    assert (2, 3, 2) == (delivery.exported, len(collector.targets), len(collector.peers))
