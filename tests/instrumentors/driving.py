"""Requests as servers hand them to applications, without a socket."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Header = tuple[str, str]


@dataclass
class Answer:
    status: int = 0
    headers: list[tuple[Any, Any]] = field(default_factory=list)
    body: bytes = b""
    messages: list[Any] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        for key, value in self.headers:
            text = key.decode() if isinstance(key, bytes) else key
            if text.lower() == name:
                return value.decode() if isinstance(value, bytes) else str(value)
        return None


def http_scope(
    path: str = "/", method: str = "GET", *, query: str = "", headers: Iterable[Header] = (), **more: Any
) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (b"host", b"shop.example:8000"),
            *((k.encode("latin-1"), v.encode("latin-1")) for k, v in headers),
        ],
        "client": ("192.0.2.7", 4711),
        "server": ("127.0.0.1", 8000),
        **more,
    }


async def ask_async(app: Any, scope: dict[str, Any], body: Sequence[bytes] = (b"",)) -> Answer:
    """One request to an ASGI application; after its body, the client stays and says nothing, and when it has its
    answer, the server says that it has gone."""
    answer = Answer()
    chunks = list(body)
    whole = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not chunks:
            await whole.wait()
            return {"type": "http.disconnect"}
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message: dict[str, Any]) -> None:
        answer.messages.append(message)
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message.get("headers", []))
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")
            if not message.get("more_body", False):
                whole.set()

    await app(scope, receive, send)
    return answer


def ask(
    app: Any, path: str = "/", method: str = "GET", *, body: Sequence[bytes] = (b"",), **more: Any
) -> Answer:
    """As `ask_async`, in an event loop of its own."""
    return asyncio.run(ask_async(app, http_scope(path, method, **more), body))


def environ_of(
    path: str = "/",
    method: str = "GET",
    *,
    query: str = "",
    headers: Iterable[Header] = (),
    body: bytes = b"",
    **more: Any,
) -> dict[str, Any]:
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode().decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "shop.example:8000",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "4711",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers:
        key = name.upper().replace("-", "_")
        environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = value
    return {**environ, **more}


def ask_wsgi(
    app: Callable[..., Any], path: str = "/", method: str = "GET", *, read: int | None = None, **more: Any
) -> Answer:
    """One request to a WSGI application; `read` is after how many chunks the client leaves."""
    answer = Answer()
    written: list[bytes] = []

    def start_response(status: str, headers: list[Header], exc_info: Any = None) -> Callable[[bytes], None]:
        answer.status, answer.headers = int(status[:3]), headers
        return written.append

    chunks = app(environ_of(path, method, **more), start_response)
    try:
        for number, chunk in enumerate(chunks):
            if number == read:
                break
            written.append(chunk)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    answer.body = b"".join(written)
    return answer
