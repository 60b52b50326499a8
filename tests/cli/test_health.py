from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.export.certificates import certificate, needs_openssl
from tests.serving import serving

PROGRAM = "import sys; from bext_otel.cli.main import main; main(sys.argv[1:])"


class Service(BaseHTTPRequestHandler):
    """Ready is not, everything else is well."""

    def do_GET(self) -> None:
        status = 503 if self.path.endswith("/ready") else 200
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps({"path": self.path}).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Service)) as made:
        yield made


def asked(*words: str, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "health", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **environ},
        check=False,
    )
    return done.returncode, done.stdout or done.stderr


def test_the_exit_code_says_whether_it_is_well(address: str) -> None:
    port = address.rpartition(":")[2]
    assert (1, '{"path": "/health/ready"}\n') == asked(OTEL_EXPORTER_PROMETHEUS_PORT=port)
    assert (0, '{"path": "/health/live"}\n') == asked("live", BEXT_METRICS_PORT=port)
    assert (0, '{"path": "/-/state"}\n') == asked("", BEXT_METRICS_PORT=port, BEXT_HEALTH_PATH="/-/state")
    assert (0, '{"path": "/x?y=1"}\n') == asked("--url", f"{address}/x?y=1")


@needs_openssl
def test_it_speaks_tls(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path, "service"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server) as made:
        assert (0, '{"path": "/live"}\n') == asked(
            "--url", f"{made.replace('http', 'https')}/live", "--timeout", "20"
        )


def test_nobody_there_and_nobody_answering_are_not_well() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/health"
        assert (1, f"{url}: timed out\n") == asked("--url", url, "--timeout", "0.2")
    code, said = asked("--url", url)
    assert (1, True) == (code, "refused" in said)
    assert 1 == asked("--url", "ftp://x/")[0]


def test_it_imports_nothing_that_serves(address: str) -> None:
    """A probe is executed each few seconds: nearly all that it takes is imports."""
    program = f"""
import sys
try:
    from bext_otel.cli.main import main
    main(["health", "--url", "{address}/live"])
finally:
    heavy = ("opentelemetry.sdk", "http.client", "urllib.request", "bext_otel.health", "bext_otel.runtime")
    print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert (0, "[]") == (done.returncode, done.stdout.splitlines()[-1]), done.stderr
