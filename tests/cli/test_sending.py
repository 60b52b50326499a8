from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bext_otel.cli.sending import Sent, send
from tests.serving import serving


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Echo(BaseHTTPRequestHandler):
    """Answers with the status in the path, or hangs up."""

    protocol_version = "HTTP/1.1"
    heard: list[tuple[str, str, str, bytes]]

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.heard.append((self.command, self.path, self.headers.get("x-mine", ""), body))
        if self.path == "/hang-up":
            self.close_connection = True
            return
        self.send_response(int(self.path[1:]))
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_GET = do_POST = handle_any

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Echo.heard = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    with serving(server):
        yield server.server_port


def quickly(requests: list[Request], port: int) -> tuple[Sent, list[int]]:
    done: list[int] = []
    sent = send(
        requests,
        port,
        per_second=1e6,
        on_each=lambda so_far: done.append(so_far.answered + so_far.unanswered),
    )
    return sent, done


def test_every_request_is_sent_as_it_was_planned(port: int) -> None:
    sent, done = quickly([Request("POST", "/201", {"x-mine": "yes"}, b"body"), Request("GET", "/200")], port)
    assert [("POST", "/201", "yes", b"body"), ("GET", "/200", "", b"")] == Echo.heard
    assert (Sent(answered=2), [1, 2]) == (sent, done)


def test_failures_are_answers_and_silence_is_not(port: int) -> None:
    sent, done = quickly(
        [Request("GET", "/500"), Request("GET", "/hang-up"), Request("GET", "/404"), Request("GET", "/503")],
        port,
    )
    assert Sent(answered=3, failed=2, unanswered=1) == sent
    assert [1, 2, 3, 4] == done


def test_nobody_there_is_silence() -> None:
    assert Sent(unanswered=1) == quickly([Request("GET", "/200")], 1)[0]
