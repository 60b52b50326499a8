from __future__ import annotations

import socket
from collections.abc import Iterator

import click
import pytest

from bext_otel.cli import ports
from bext_otel.cli.ports import free_port, local_port_of, open_viewer, port_of


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield holder.getsockname()[1]


@pytest.fixture
def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        return int(holder.getsockname()[1])


def test_the_usual_port_is_used_while_it_is_free(free: int) -> None:
    assert free == free_port(None, usual=free, option="--port")


def test_another_one_is_used_if_it_is_not(taken: int) -> None:
    assert taken != free_port(None, usual=taken, option="--port") > 0


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(taken: int) -> None:
    with pytest.raises(click.ClickException, match=f"--port {taken}: the port is taken"):
        free_port(taken, usual=0, option="--port")
    with pytest.raises(click.ClickException, match=f"--view-port {taken}: the port is taken"):
        open_viewer(taken, option="--view-port")


def test_the_viewer_says_where_it_went_instead(
    taken: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ports, "OTLP_PORT", taken)
    with open_viewer(None) as viewer:
        assert f"Port {taken} is taken: the viewer uses {viewer.port}.\n" == capsys.readouterr().out


@pytest.mark.parametrize(("value", "port"), [("", None), ("0", None), ("9999", 9999), (" 9999 ", 9999)])
def test_a_variable_names_a_port(monkeypatch: pytest.MonkeyPatch, value: str, port: int | None) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", value)
    assert port == port_of("OTEL_EXPORTER_PROMETHEUS_PORT")


@pytest.mark.parametrize("value", ["x", "-1", "65536", "\u0661"])
def test_a_variable_that_names_none_is_told(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", value)
    with pytest.raises(click.ClickException, match=r"OTEL_EXPORTER_PROMETHEUS_PORT = .*: expected a port"):
        port_of("OTEL_EXPORTER_PROMETHEUS_PORT")


@pytest.mark.parametrize(
    ("value", "port"),
    [
        ("", None),
        ("http://127.0.0.1:14318", 14318),
        ("http://localhost:14318/x", 14318),
        ("http://127.0.0.1", None),
        ("https://collector.example:14318", None),
        ("http://127.0.0.1:x", None),
    ],
)
def test_an_endpoint_on_this_machine_names_a_port(
    monkeypatch: pytest.MonkeyPatch, value: str, port: int | None
) -> None:
    """Another one is somebody's, and gets nothing of the demo's."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", value)
    assert port == local_port_of("OTEL_EXPORTER_OTLP_ENDPOINT")
