"""What the standard variables say of OTLP over HTTP."""

from __future__ import annotations

import pytest

from bext_otel.config.variables import VARIABLES
from bext_otel.export.http_settings import HttpSettings, has_credential_provider, http_settings


def test_without_variables_the_defaults_are_those_of_the_specification() -> None:
    assert HttpSettings({}, 10.0, "none") == http_settings("traces", {})


def test_those_of_a_signal_come_before_those_of_all() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "a=all",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "A=own, b = x%20y ",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
        "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "4.5",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION": "none",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "all.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "client.pem",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": "client.key",
        "REQUESTS_CA_BUNDLE": "bundle.pem",
    }
    own = HttpSettings({"a": "own", "b": "x y"}, 3.0, "gzip", "all.pem", "client.pem", "client.key")
    assert own == http_settings("traces", environ)
    assert HttpSettings({"a": "all"}, 4.5, "none", "all.pem", "client.pem") == http_settings("logs", environ)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_certificates_holds_where_none_is_named_for_otlp(name: str) -> None:
    assert "bundle.pem" == http_settings("logs", {name: "bundle.pem"}).trusted


def test_a_header_that_cannot_be_sent_is_left_out_and_its_value_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = "good=a=b,secret%0d%0ax=1,key=sec%0aret,sec ret=1,nothing"
    assert {"good": "a=b"} == http_settings("logs", {"OTEL_EXPORTER_OTLP_HEADERS": given}).headers
    assert 4 == len(caplog.messages)
    assert not any("sec" in message for message in caplog.messages)


def test_credentials_may_come_from_another_package() -> None:
    name = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER"
    assert has_credential_provider("traces", {name: "p"})
    assert not has_credential_provider("logs", {name: "p"})
    assert has_credential_provider("logs", {"OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER": "p"})


class _Read(dict[str, str]):
    """Which variables are asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        self.names.add(name)
        return default


def test_every_variable_of_the_exporters_over_http_is_read() -> None:
    read = _Read()
    for signal in ("traces", "metrics", "logs"):
        http_settings(signal, read)  # type: ignore[arg-type]
        has_credential_provider(signal, read)  # type: ignore[arg-type]
    said = {
        name
        for row in VARIABLES
        if row.by == "exporter"
        and row.name.startswith(("OTEL_EXPORTER_OTLP_{", "OTEL_PYTHON_EXPORTER_OTLP_HTTP"))
        for name in row.names()
        if not name.endswith("INSECURE")  # gRPC's
    }
    assert set() == said - read.names
