from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from bext_otel.config import CheckSettings
from bext_otel.health import Check, Health
from bext_otel.health.declared import declared
from tests.export.certificates import certificate, needs_openssl
from tests.serving import serving
from tests.waiting import until

LONG_S = 60.0
SECRET = "hunter2"


class Payments(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = int(self.path.partition("status=")[2] or 200)
        body = b"all is well"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def payments() -> Iterator[str]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Payments)) as address:
        yield address


def asked(*, seconds: float = LONG_S, **settings: object) -> Check:
    ask = declared(CheckSettings(**settings), seconds)  # type: ignore[arg-type]
    assert ask is not None
    return ask()


def test_settings_that_name_nothing_to_ask_ask_nothing() -> None:
    assert None is declared(CheckSettings(critical=True), 1)


def test_an_address_has_to_answer_with_success(payments: str) -> None:
    assert ("healthy", {"http_status": 204}) == (
        (found := asked(url=f"{payments}/?status=204")).status,
        found.details,
    )
    assert Check.unhealthy(reason="unexpected status", http_status=302) == asked(
        url=f"{payments}/?status=302"
    )


def test_an_address_may_have_to_answer_with_another_status(payments: str) -> None:
    assert "healthy" == asked(url=f"{payments}/?status=401", status=(401,)).status
    assert "unhealthy" == asked(url=f"{payments}/?status=200", status=(401,)).status


def test_an_answer_has_to_hold_what_it_should(payments: str) -> None:
    assert "healthy" == asked(url=payments, contains="is well").status
    missing = asked(url=payments, contains=SECRET)
    assert Check.unhealthy(reason="expected text is missing", http_status=200) == missing


def test_a_body_that_drips_has_the_limit_in_all() -> None:
    class Dripping(Payments):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            while not closed:
                self.wfile.write(b".")
                time.sleep(0.01)

    closed: list[bool] = []
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Dripping)) as address:
        try:
            with pytest.raises(TimeoutError):
                asked(url=address, contains="never", seconds=0.3)
        finally:
            closed.append(True)


@needs_openssl
def test_a_certificate_has_to_be_that_of_an_authority(tmp_path: Path) -> None:
    made, key = certificate(tmp_path, "payments")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Payments)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server) as address:
        url = address.replace("http:", "https:")
        assert "healthy" == asked(url=url, ca_file=str(made)).status
        with pytest.raises(ssl.SSLCertVerificationError):
            asked(url=url)


def test_a_port_has_to_take_connections() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        assert Check.healthy() == asked(tcp=address)
    with pytest.raises(ConnectionRefusedError):
        asked(tcp=address)


def test_a_command_has_to_end_with_its_code() -> None:
    assert Check.healthy() == asked(command=("true",))
    assert Check.unhealthy(reason="unexpected exit code", exit_code=1) == asked(command=("false",))
    assert Check.healthy() == asked(command=("false",), exit_code=1)
    killed = asked(command=("sh", "-c", "kill -KILL $$"))
    assert Check.unhealthy(reason="unexpected exit code", exit_code=-9) == killed


def test_a_command_past_its_limit_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 300 & echo $! > {pids}; sleep 300"
    found = asked(command=("sh", "-c", script), seconds=0.5)
    assert Check.unhealthy(reason="killed: past its limit") == found
    child = int(pids.read_text())
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="Popen alone can't tell")
def test_a_command_whose_code_the_application_takes_is_not_green() -> None:
    """With SIGCHLD ignored the kernel keeps no exit code, and subprocess says 0."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert "unhealthy" == asked(command=("false",)).status
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_command_has_no_telemetry_of_its_own() -> None:
    script = "import os, sys; sys.exit(os.environ['OTEL_SDK_DISABLED'] != 'true')"
    assert Check.healthy() == asked(command=(sys.executable, "-S", "-c", script))


def test_a_body_tells_no_address_and_no_argument(payments: str) -> None:
    checks = {
        "url": CheckSettings(url=f"{payments}/{SECRET}?status=500"),
        "host": CheckSettings(url=f"http://{SECRET}.invalid/"),
        "tcp": CheckSettings(tcp=f"{SECRET}.invalid:1"),
        "command": CheckSettings(command=("false", SECRET)),
        "none": CheckSettings(command=(f"/nowhere/{SECRET}",)),
    }
    health = Health(checks=checks)
    health.register_declared()
    report = health.full(wait_seconds=LONG_S)
    assert dict.fromkeys(checks, "unhealthy") == {name: check.status for name, check in report.checks.items()}
    assert SECRET not in str(report.document())


def test_settings_say_how_a_check_of_the_application_s_is_asked() -> None:
    health = Health(
        checks={"queue": CheckSettings(critical=True, failures=3), "off": CheckSettings(enabled=False)}
    )
    answers = iter([True])
    health.register("queue", lambda: next(answers, False), interval_seconds=0.01)
    health.register("off", lambda: False)
    assert ["queue"] == list(health.ready(wait_seconds=LONG_S).checks)
    until(lambda: health.ready().http_status == 503)
    assert ["queue"] == list(health.full().checks)
