"""Sanic's own server, with one process or several; a span for each websocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.body_log import note_bodies
from bext_otel_instrumentors.http.current_request import left_out, working_for
from bext_otel_instrumentors.http.environment import choices
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.hosting import Answer
from bext_otel_instrumentors.http.incoming import exchange_for, leaves_out
from bext_otel_instrumentors.http.operators import or_operators_by
from bext_otel_instrumentors.http.response_propagation import response_headers
from bext_otel_instrumentors.http.routed import Routed
from bext_otel_instrumentors.http.sanic_routes import route_of
from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor, after, before
from bext_otel_instrumentors.http.servers.sanic_request import SANIC, path_of, scope_of
from bext_otel_instrumentors.http.websocket import Handshake

__all__ = ["SanicServerInstrumentor"]

Call = Callable[..., Awaitable[Any]]


class SanicServerInstrumentor(ServerInstrumentor):
    """Instruments the server where a connection (`sanic.http.Http`) hands on a request, and where an answer
    goes out. What Sanic rewrites when it starts (`__touchup__`) can't be covered, and is not. HTTP/3 is
    not measured."""

    requires = ("sanic >= 22.9",)

    def _patch(self, patches: Patches) -> None:
        self._chosen = choices("sanic")
        super()._patch(patches)

    def _watch(self) -> None:
        protocols = "sanic.server.protocols"
        self._at("sanic.app", "Sanic._startup", before(self._serving))
        self._at(f"{protocols}.http_protocol", "HttpProtocol._setup", after(self._made))
        self._at(f"{protocols}.websocket_protocol", "WebSocketProtocol.websocket_handshake", _upgrading)
        self._at("sanic.http.http1", "Http.init_for_request", before(_finish))
        self._at("sanic.http.http1", "Http.error_response", _answering_errors)
        self._at("sanic.http.http1", "Http.http1", _connected)
        self._at("sanic.response.types", "BaseHTTPResponse.send", _sending)

    def _made(self, protocol: Any) -> None:
        protocol.request_handler = partial(self._handle, protocol.request_handler)

    async def _handle(self, handle: Call, request: Any) -> Any:
        if self._served.ended:
            return await handle(request)
        if self._hosting.waiting:
            self._hosting.first()
        if (mount := self._hosting.asgi) is not None and mount.owns(path_of(request)):
            answer = await self._hosting.whole_answer(path_of(request), scope_of(request))
            if answer is not None:
                return await _send(request, answer)
        surroundings = {"request": request}
        if leaves_out(SANIC, self._chosen, surroundings):
            with left_out(surroundings, path_of(request), asgi=True):
                return await handle(request)
        exchange = exchange_for(SANIC, surroundings, self._chosen, upstream=False, asked=(_ask, request))
        if exchange is None:
            return await handle(request)
        turn = _turns[request.stream] = _Turn(exchange, request)
        if not request.stream.upgrade_websocket:
            exchange.begin()
            note_bodies(exchange, request.headers.items)
        try:
            with working_for(exchange):
                return await handle(request)
        except BaseException:  # the connection's end, or a deadline, which `error_response` answers
            turn.note_leaving()
            raise


async def _send(request: Any, answer: Answer) -> None:
    """Answer with that, without what the application does with each answer of its own."""
    from sanic.response import HTTPResponse

    status, headers, body = answer
    response = request.stream.respond(HTTPResponse(body, status, dict(headers)))
    await response.send(end_stream=True)


def _ask(request: Any, _: Routed, __: Any) -> str | None:
    return route_of(request)


@dataclass(slots=True)
class _Turn:
    """What a connection is busy with."""

    exchange: Exchange
    request: Any
    handshake: Handshake | None = None

    def __post_init__(self) -> None:
        if self.request.stream.upgrade_websocket:
            self.handshake = Handshake(self.exchange, self.route)

    def route(self) -> str | None:
        """The whole template; None where none matched."""
        told = self.exchange.ask({"request": self.request})
        return or_operators_by(told, self.exchange, scope_of, self.request)

    def begin_answer(self, status: int, headers: list[tuple[str, str]]) -> None:
        """The answer begins with these."""
        self.exchange.begin_answer(status, headers)
        if self.handshake is not None:
            self.handshake.answer(status)
        elif not self.exchange.owned:
            self.exchange.annotate(self.route())

    def note_leaving(self) -> None:
        """The client may be gone."""
        if self.request.conn_info.lost:
            self.exchange.leave()

    def finish(self, stream: Any) -> None:
        """The connection goes on to the next request, or ends."""
        self.note_leaving()
        if self.exchange.counting:
            self.exchange.received(stream.request_bytes or 0)
        if self.exchange.bodies is not None:
            # Sanic's own reading cannot be covered: what a handler streams itself is not here.
            self.exchange.bodies.read(self.request.body or b"")
        if self.handshake is not None:
            self.handshake.finish()
        else:
            route = self.route()
            self.exchange.annotate(route)
            self.exchange.finish(route)


# By connection: what it is busy with.
_turns: dict[Any, _Turn] = {}


def _finish(stream: Any) -> None:
    if (turn := _turns.pop(stream, None)) is not None:
        turn.finish(stream)


def _connected(original: Call) -> Call:
    """A connection, from the first request to the last."""

    @wraps(original)
    async def http1(self: Any) -> Any:
        try:
            return await original(self)
        finally:
            try:
                _finish(self)
            except Exception as error:
                report("the end of a request", error)

    return http1


def _answering_errors(original: Call) -> Call:
    """What went wrong outside of the handler is answered, for the same request."""

    @wraps(original)
    async def error_response(self: Any, exception: Exception) -> Any:
        if (turn := _turns.get(self)) is None:
            return await original(self, exception)
        with working_for(turn.exchange):
            return await original(self, exception)

    return error_response


def _sending(original: Call) -> Call:
    """A part of an answer goes out."""

    @wraps(original)
    async def send(self: Any, data: Any = None, end_stream: bool | None = None) -> Any:
        stream = self.stream
        turn = None if stream is None else _turns.get(stream)
        if turn is None or stream.send is None:  # another server's, or all of it is out
            return await original(self, data, end_stream)
        exchange = turn.exchange
        try:
            _note(turn, self, data)
        except Exception as error:
            report("an answer", error)
        try:
            sent = await original(self, data, end_stream)
        except BaseException:
            turn.note_leaving()
            raise
        if stream.stage.name == "IDLE":
            exchange.answered()
        return sent

    return send


def _note(turn: _Turn, response: Any, data: Any) -> None:
    exchange = turn.exchange
    if not exchange.status:
        for name, value in response_headers(exchange, response.headers.items()):
            response.headers[name] = value
        headers = list(response.headers.items())
        kind = getattr(response, "content_type", None)
        if kind and "content-type" not in response.headers:  # Sanic adds it when it writes
            headers.append(("content-type", kind))
        turn.begin_answer(response.status, headers)
        data = data or getattr(response, "body", None)
    if data and not exchange.is_bodiless():
        data = data.encode() if isinstance(data, str) else data
        exchange.sent(len(data))
        if exchange.bodies is not None:
            exchange.bodies.answered(data)


def _upgrading(original: Call) -> Call:
    """A websocket is opened."""

    @wraps(original)
    async def websocket_handshake(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        socket = await original(self, request, *args, **kwargs)
        try:
            if (turn := _turns.get(request.stream)) is not None:
                turn.begin_answer(101, [])
        except Exception as error:
            report("a websocket", error)
        return socket

    return websocket_handshake
