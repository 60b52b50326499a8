"""Certificates that a test makes, and a collector that shows them."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tests.serving import serving

__all__ = ["Collector", "certificate", "needs_openssl", "over_tls"]

needs_openssl = pytest.mark.skipif(which("openssl") is None, reason="makes certificates with openssl")


def certificate(
    folder: Path, name: str, *, of: str = "DNS:localhost,IP:127.0.0.1", expired: bool = False
) -> tuple[Path, Path]:
    """A certificate for localhost, or who else it is `of`, that signs itself, and its key."""
    made, key = folder / f"{name}.pem", folder / f"{name}.key"
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
        *("-subj", f"/CN={name}", "-addext", f"subjectAltName={of}"),
        *("-keyout", str(key), "-out", str(made)),
    )
    if expired:
        again = ("x509", "-in", str(made), "-signkey", str(key), "-out", f"{made}.past")
        try:
            _openssl(*again, "-days", "-1")
        except subprocess.CalledProcessError:  # newer ones take no such number, and older ones no dates
            _openssl(*again, "-not_before", "20200101000000Z", "-not_after", "20200102000000Z")
        made = Path(f"{made}.past")
    return made, key


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


@dataclass
class Collector:
    """Takes requests over TLS, and remembers them."""

    context: ssl.SSLContext
    port: int = 0
    targets: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    peers: set[Any] = field(default_factory=set)


@contextmanager
def over_tls(made: Path, key: Path) -> Iterator[Collector]:
    """A collector at a port of 127.0.0.1 that shows this certificate."""
    state = Collector(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    state.context.load_cert_chain(made, key)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            state.targets.append(self.path)
            state.peers.add(self.client_address)
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("Content-Length", "0")
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
