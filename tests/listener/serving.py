"""A listener in a thread, and clients of all kinds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bext_otel.listener.limits import Limits
from bext_otel.listener.server import Listener
from bext_otel.listener.tls import TLS

NOW = b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n"
HANGS = b"GET /hangs HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Application:
    """Answers with `body`; below `/hangs` once `go` is set. Keeps what it was asked."""

    body: bytes = b"hello"
    asked: list[dict[str, Any]] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.asked.append({**environ, "body": environ["wsgi.input"].read()})
        if environ["PATH_INFO"] == "/fails":
            raise RuntimeError("a secret")
        if environ["PATH_INFO"].startswith("/hangs"):
            assert self.go.wait(20)
        start_response("200 OK", [("content-type", "text/plain")])
        return [self.body]


def lane(path: str) -> str | None:
    return "slow" if path.startswith("/hangs") else None


@contextmanager
def served(application: Any, *, tls: TLS | None = None, **limits: Any) -> Iterator[Listener]:
    sock = socket.create_server(("127.0.0.1", 0), backlog=64)
    listener = Listener(sock, application, lane_of=lane, name="served", limits=Limits(**limits), tls=tls)
    ending = threading.Event()

    def serve() -> None:
        while not ending.is_set() and listener.turn():
            pass
        listener.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener
    finally:
        ending.set()
        listener.wake()
        thread.join()


@contextmanager
def client(listener: Listener, sent: bytes = b"", *, receive_buffer: int = 0) -> Iterator[socket.socket]:
    sock = socket.socket()
    sock.settimeout(10)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    with sock:
        sock.connect(("127.0.0.1", listener.port))
        sock.sendall(sent)
        yield sock


def received(sock: socket.socket, *, answers: int = 1) -> bytes:
    """What comes until so many answers are whole, each with a Content-Length, or until the end."""
    data = b""
    while data.count(b"\r\n\r\n") < answers or not _is_whole(data, answers):
        part = sock.recv(65536)
        if not part:
            break
        data += part
    return data


def _is_whole(data: bytes, answers: int) -> bool:
    for _ in range(answers):
        head, found, data = data.partition(b"\r\n\r\n")
        if not found:
            return False
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(data) < length:
            return False
        data = data[length:]
    return True


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0
