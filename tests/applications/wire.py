"""Requests as bytes on a connection, and answers as they come: nothing between a test and a server."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPException, HTTPResponse
from io import BufferedReader
from typing import Literal

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

PREFIX = "seeded/"
_SECONDS = 30


@dataclass(frozen=True)
class Request:
    """A request. A `body` that is a tuple goes out in chunks. `number` is its place in the list: its User-Agent
    says so, by which its span is found."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | tuple[bytes, ...] = b""
    number: int = 0
    version: str = "1.1"

    @property
    def agent(self) -> str:
        return f"{PREFIX}{self.number}"

    def encoded(self, host: str, *, is_last: bool) -> bytes:
        """Its bytes on the wire."""
        lines = [f"{self.method} {self.target} HTTP/{self.version}"]
        given = {"Host": host, "User-Agent": self.agent, "Accept": "*/*", **dict(self.headers)}
        if is_last:
            given.setdefault("Connection", "close")
        if isinstance(self.body, tuple):
            given["Transfer-Encoding"] = "chunked"
        elif self.body or self.method in {"POST", "PUT", "PATCH"}:
            given["Content-Length"] = str(len(self.body))
        head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in given.items()), "", ""]).encode()
        if isinstance(self.body, bytes):
            return head + self.body
        chunks = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in self.body]
        return head + b"".join(chunks) + b"0\r\n\r\n"


@dataclass(frozen=True)
class Visit:
    """One connection: requests sent at once (more than one are pipelined), and how much of the answer is read.

    `first`: only its first bytes, then the client hangs up. `nothing`: it hangs up when all is sent.
    """

    requests: tuple[Request, ...]
    reads: Literal["all", "first", "nothing"] = "all"

    def numbered(self, start: int) -> Visit:
        """The same, its requests numbered from there."""
        return replace(
            self,
            requests=tuple(
                replace(request, number=start + position) for position, request in enumerate(self.requests)
            ),
        )


@dataclass(frozen=True)
class Answer:
    """What came back: status 0 where nothing was read, or the connection ended first."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass
class _Connection:
    """What http.client reads several answers from, one after the other."""

    stream: BufferedReader
    _kept: list[object] = field(default_factory=list)

    def makefile(self, mode: str) -> _Unclosed:
        return _Unclosed(self.stream)


class _Unclosed:
    """A stream that stays open when an answer ends."""

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream

    def close(self) -> None:
        """The next answer is read from it."""

    def flush(self) -> None:
        """Nothing is written."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def pay(visit: Visit, port: int, host: str) -> list[Answer]:
    """Make the visit; an answer for each request."""
    answers: list[Answer] = []
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
        last = len(visit.requests) - 1
        with suppress(ConnectionError):  # an answer may come before everything is sent
            connection.sendall(
                b"".join(
                    request.encoded(host, is_last=position == last)
                    for position, request in enumerate(visit.requests)
                )
            )
        if visit.reads == "nothing":
            return [Answer(0)] * len(visit.requests)
        if visit.reads == "first":
            connection.recv(12)
            return [Answer(0)] * len(visit.requests)
        with connection.makefile("rb") as stream:
            answers = _read(visit.requests, stream)
    return answers + [Answer(0)] * (len(visit.requests) - len(answers))


def _read(requests: Sequence[Request], stream: BufferedReader) -> list[Answer]:
    answers: list[Answer] = []
    for request in requests:
        response = HTTPResponse(_Connection(stream), method=request.method)  # type: ignore[arg-type]
        try:
            response.begin()
            body = response.read()
        except (OSError, HTTPException):
            break
        answers.append(Answer(response.status, tuple(response.getheaders()), body))
        if response.will_close:
            break
    return answers


@dataclass(frozen=True)
class Conversation:
    """A websocket: each of `says` is sent, and as many messages are read before and after as `hears` tells; then the client
    closes it."""

    target: str
    says: tuple[str, ...] = ()
    hears_first: int = 0
    hears_after: int = 0
    number: int = 0

    @property
    def agent(self) -> str:
        return f"{PREFIX}{self.number}"


def converse(conversation: Conversation, port: int, host: str) -> Answer:
    """Hold the conversation; what was heard as the body. Status 101, or with what the handshake was refused."""
    heard: list[str] = []
    try:
        with connect(
            f"ws://{host}{conversation.target}",
            sock=socket.create_connection(("127.0.0.1", port), timeout=_SECONDS),
            user_agent_header=conversation.agent,
            compression=None,
            close_timeout=_SECONDS,
        ) as websocket:
            heard += [str(websocket.recv(_SECONDS)) for _ in range(conversation.hears_first)]
            for text in conversation.says:
                websocket.send(text)
            heard += [str(websocket.recv(_SECONDS)) for _ in range(conversation.hears_after)]
            headers = tuple(websocket.response.headers.raw_items()) if websocket.response else ()
    except InvalidStatus as refused:
        answer = refused.response
        return Answer(answer.status_code, tuple(answer.headers.raw_items()), bytes(answer.body or b""))
    return Answer(101, headers, "\n".join(heard).encode())
