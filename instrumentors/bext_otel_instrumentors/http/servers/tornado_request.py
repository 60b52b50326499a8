"""What a request of Tornado's server says, and the connection that its answer goes through."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from http.client import responses
from typing import Any

import wrapt

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.exchange import Exchange, declared_length
from bext_otel_instrumentors.http.incoming import Interface, Said
from bext_otel_instrumentors.http.response_propagation import response_headers
from bext_otel_instrumentors.http.websocket import Handshake

__all__ = [
    "TORNADO",
    "Connection",
    "exchange_behind",
    "is_websocket",
    "path_of",
    "scope_of",
    "template_of",
]


class Connection(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic in wrapt 2 only
    """A connection that tells the exchange what goes by, and is otherwise as it is. `answer` hears of the
    status, `end` of the last byte, `leave` of a client that is gone before it."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._self_exchange: Exchange | None = None
        self._self_answer: Callable[[int], None] | None = None
        self._self_end: Callable[[], None] | None = None
        self._self_leave: Callable[[], None] | None = None
        self._self_handshake: Handshake | None = None

    def release(self) -> None:
        """The request is over: nobody is told any more, so that no garbage collector is needed."""
        self._self_answer = self._self_end = self._self_leave = None

    def write_headers(self, start_line: Any, headers: Any, chunk: bytes | None = None) -> Any:
        exchange = self._self_exchange
        if exchange is not None:
            try:
                if exchange.sends_id:
                    for name, value in response_headers(exchange, list(headers.get_all())):
                        headers[name] = value
                exchange.begin_answer(start_line.code, list(headers.get_all()))
                if self._self_answer is not None:
                    self._self_answer(start_line.code)
                self._sent(exchange, chunk or b"")
            except Exception as error:
                report("an answer", error)
        return self.__wrapped__.write_headers(start_line, headers, chunk)

    def write(self, chunk: bytes) -> Any:
        if self._self_exchange is not None:
            self._sent(self._self_exchange, chunk)
        return self.__wrapped__.write(chunk)

    @staticmethod
    def _sent(exchange: Exchange, chunk: bytes) -> None:
        exchange.sent(len(chunk))
        if exchange.bodies is not None:
            exchange.bodies.answered(chunk)

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        if callback is None or self._self_leave is None:
            self.__wrapped__.set_close_callback(callback)
        else:
            self.__wrapped__.set_close_callback(partial(_closed, self._self_leave, callback))

    def answer(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Answer with that, whatever the connection was made for."""
        from tornado.httputil import HTTPHeaders, ResponseStartLine

        lines = HTTPHeaders()
        for name, value in headers:
            lines.add(name, value)
        self.write_headers(
            ResponseStartLine("HTTP/1.1", status, responses.get(status, "")), lines, body or None
        )
        self.finish()

    def finish(self) -> None:
        self.__wrapped__.finish()
        if self._self_end is not None:
            self._self_end()


def _closed(leave: Callable[[], None], callback: Callable[[], None]) -> None:
    try:
        callback()
    finally:
        leave()


def exchange_behind(request: Any) -> Exchange | None:
    """The exchange of a request of Tornado's; None where it is not measured."""
    found: Exchange | None = getattr(request.connection, "_self_exchange", None)
    return found


def is_websocket(headers: Any) -> bool:
    """Whether a client asks for a websocket."""
    asked: str = headers.get("Upgrade", "")
    return asked.lower() == "websocket"


_GROUP = re.compile(r"\(\?P<(\w+)>")


def template_of(matcher: Any) -> str:
    """The template of a `PathMatches`: its groups by their names, or by their places, as Tornado counts them
    to reverse it. A pattern that it can't reverse is shown as it is."""
    regex = matcher.regex
    path = matcher._path
    if path is None:
        pattern: str = regex.pattern
        return pattern.removesuffix("$")
    names = {place: name for name, place in regex.groupindex.items()}
    values = tuple(f"{{{names.get(place, f'arg{place}')}}}" for place in range(1, regex.groups + 1))
    shown: str = path % values
    return shown


def path_of(start_line: Any) -> str:
    """The path of a request, as it came."""
    path: str = start_line.path.partition("?")[0]
    return path


def scope_of(request: Any) -> dict[str, Any]:
    """A request as the endpoints, and functions that know routes, want it: as an ASGI scope."""
    start, headers, context = request["start_line"], request["headers"], request["context"]
    remote = getattr(context, "remote_ip", None)
    return {
        "type": "websocket" if is_websocket(headers) else "http",
        "method": start.method,
        "path": path_of(start),
        "query_string": start.path.partition("?")[2].encode("latin-1", "replace"),
        "headers": [
            (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in headers.get_all()
        ],
        "client": (remote, 0) if remote else None,
        "scheme": getattr(context, "protocol", None) or "http",
    }


def _read(request: Any) -> Said:
    start, headers, context = request["start_line"], request["headers"], request["context"]
    path, _, query = start.path.partition("?")
    length = declared_length(headers.get("Content-Length"))
    carries = "Traceparent" in headers or "Baggage" in headers
    address = getattr(context, "address", None)
    peer = address if isinstance(address, tuple) else None
    remote = getattr(context, "remote_ip", None)
    scheme = getattr(context, "protocol", None) or "http"
    line = (
        start.method,
        scheme if not is_websocket(headers) else "wss" if scheme == "https" else "ws",
        path,
        query,
        start.version.removeprefix("HTTP/"),
        headers.get("Host", ""),
        None,
        (remote, peer[1] if peer is not None and peer[0] == remote else 0) if remote else None,
        headers.get("User-Agent", ""),
    )
    counting = length is None and "Transfer-Encoding" in headers
    return line, "", length, counting, carries, headers.get("X-Request-Id")


def _carrier(request: Any) -> dict[str, list[str]]:
    headers = request["headers"]
    return {name.lower(): headers.get_list(name) for name in headers}


def _headers(request: Any) -> Iterable[tuple[str, str]]:
    found: Iterable[tuple[str, str]] = request["headers"].get_all()
    return found


def _url(request: Any) -> str:
    start, headers, context = request["start_line"], request["headers"], request["context"]
    host, path = headers.get("Host", ""), start.path.partition("?")[0]
    return f"{getattr(context, 'protocol', 'http')}://{host}{path}"


def _peer(request: Any) -> str:
    # What `xheaders` believes is `remote_ip`.
    address = getattr(request["context"], "address", None)
    return str(address[0]) if isinstance(address, tuple) else ""


def _opened(_: Any, __: Exchange) -> None:
    """Nothing hears of it."""


TORNADO = Interface(True, _read, _carrier, _headers, _url, _peer, _opened)
