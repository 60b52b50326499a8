"""Tornado's HTTPServer: applications, routers and callables; a span for each websocket."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.body_log import note_bodies
from bext_otel_instrumentors.http.current_request import left_out, working_for
from bext_otel_instrumentors.http.environment import Choices, choices
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.hosting import Answer, Hosting
from bext_otel_instrumentors.http.incoming import exchange_for, leaves_out
from bext_otel_instrumentors.http.operators import or_operators_by
from bext_otel_instrumentors.http.servers import tornado_upstream
from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor, before
from bext_otel_instrumentors.http.servers.tornado_request import (
    TORNADO,
    Connection,
    exchange_behind,
    is_websocket,
    path_of,
    scope_of,
    template_of,
)
from bext_otel_instrumentors.http.websocket import Handshake

__all__ = ["TornadoServerInstrumentor"]


class TornadoServerInstrumentor(ServerInstrumentor):
    """Instruments the server where it hands a request to whoever it was made for; routes are those of
    Tornado's routers."""

    requires = ("tornado >= 6.1",)

    def _patch(self, patches: Patches) -> None:
        self._chosen = choices("tornado")
        super()._patch(patches)

    def _watch(self) -> None:
        self._at("tornado.httpserver", "HTTPServer.add_sockets", before(self._serving))
        self._at("tornado.httpserver", "HTTPServer.start_request", self._starting)
        self._at("tornado.routing", "PathMatches.match", _matching)
        self._at("tornado.web", "Application.get_handler_delegate", _choosing)
        self._at("tornado.web", "RequestHandler.log_exception", _failing)
        self._at("tornado.websocket", "WebSocketHandler.on_connection_close", before(_closed))
        self._patches.when_imported(tornado_upstream.UPSTREAM, partial(tornado_upstream.cover, self._patches))

    def _starting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def start_request(server: Any, server_conn: Any, request_conn: Any) -> Any:
            if self._hosting.waiting:
                self._hosting.first()
            connection = Connection(request_conn)
            delegate = original(server, server_conn, connection)
            if server.xheaders:  # what is inside knows who the client is
                delegate.delegate = Measured(delegate.delegate, connection, self._chosen, self._hosting)
                return delegate
            return Measured(delegate, connection, self._chosen, self._hosting)

        return start_request


class Measured:
    """A delegate of Tornado's (`HTTPMessageDelegate`) that is called with its request measured, or not
    called where the endpoints answer."""

    def __init__(self, delegate: Any, connection: Connection, chosen: Choices, hosting: Hosting) -> None:
        self._delegate = delegate
        self._connection = connection
        self._chosen = chosen
        self._hosting = hosting
        self._request: dict[str, Any] = {}
        self._exchange: Exchange | None = None
        self._handshake: Handshake | None = None
        self._left_out = False
        self._reply: Answer | None = None

    def headers_received(self, start_line: Any, headers: Any) -> Any:
        """The head of a request is there. Tornado waits for what this returns before it reads the body."""
        self._request.update(start_line=start_line, headers=headers, context=self._connection.context)
        mount = self._hosting.asgi
        if mount is not None and mount.owns(path_of(start_line)):
            return self._ask_endpoints(start_line, headers)
        return self._hand_on(start_line, headers)

    async def _ask_endpoints(self, start_line: Any, headers: Any) -> None:
        self._reply = await self._hosting.whole_answer(path_of(start_line), scope_of(self._request))
        if self._reply is None and (waiting := self._hand_on(start_line, headers)) is not None:
            await waiting

    def _hand_on(self, start_line: Any, headers: Any) -> Any:
        if leaves_out(TORNADO, self._chosen, self._request):
            self._left_out = True
        else:
            self._open(headers)
        with self._working():
            return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        """A part of its body is there."""
        if self._reply is not None:
            return None
        if self._exchange is not None:
            if self._exchange.counting:
                self._exchange.received(len(chunk))
            if self._exchange.bodies is not None:
                self._exchange.bodies.read(chunk)
        with self._working():
            return self._delegate.data_received(chunk)

    def finish(self) -> None:
        """All of it is there."""
        if self._reply is not None:
            self._connection.answer(*self._reply)
            return
        with self._working():
            try:
                self._delegate.finish()
            except BaseException as error:  # a callable's; an application answers for its handlers
                self._end(error)
                raise

    def on_connection_close(self) -> None:
        """The client has left before it had its answer."""
        if self._reply is not None:
            return
        try:
            with self._working():
                self._delegate.on_connection_close()
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._exchange is not None and not self._exchange.finished:
            self._exchange.leave()
            self._end()

    def _open(self, headers: Any) -> None:
        exchange = exchange_for(TORNADO, self._request, self._chosen, upstream=False, asked=None)
        if exchange is None:
            return
        connection = self._connection
        self._exchange = connection._self_exchange = exchange
        connection._self_end = self._answered
        connection._self_leave = self._leave
        # A callable has none of its own.
        connection.set_close_callback(_nothing)
        if is_websocket(headers):
            handshake = self._handshake = Handshake(exchange, partial(self._route, exchange))
            connection._self_answer = handshake.answer
            connection._self_handshake = handshake
        else:
            exchange.begin()
            note_bodies(exchange, headers.get_all)

    def _working(self) -> AbstractContextManager[None]:
        if self._exchange is not None and not self._exchange.finished:
            return working_for(self._exchange)
        if self._left_out:
            return left_out(self._request, self._request["start_line"].path, asgi=True)
        return nullcontext()

    def _answered(self) -> None:
        exchange = self._exchange
        if self._handshake is not None and exchange is not None and exchange.status == 101:
            return  # it is open from now on
        if exchange is not None:
            exchange.answered()
        self._end()

    def _end(self, error: BaseException | None = None) -> None:
        exchange = self._exchange
        self._connection.release()
        if self._handshake is not None:
            self._handshake.finish(error)
        elif exchange is not None:
            route = self._route(exchange)
            exchange.annotate(route)
            exchange.finish(route, error)

    def _route(self, exchange: Exchange) -> str | None:
        try:
            return or_operators_by(exchange.matched, exchange, scope_of, self._request)
        except Exception as error:
            report("a route", error)
            return None


def _nothing() -> None:
    """Who has called for nothing hears of nothing."""


def _matching(original: Callable[..., Any]) -> Callable[..., Any]:
    """A rule is asked; of routers within routers the last one that matches is the request's."""

    @wraps(original)
    def match(self: Any, request: Any) -> Any:
        found = original(self, request)
        if found is not None:
            try:
                if (exchange := exchange_behind(request)) is not None:
                    exchange.match(template_of(self))
            except Exception as error:
                report("a route of Tornado", error)
        return found

    return match


def _choosing(original: Callable[..., Any]) -> Callable[..., Any]:
    """A handler is chosen: `ErrorHandler`, or what the application has for that, where nothing matched."""

    @wraps(original)
    def get_handler_delegate(self: Any, request: Any, target_class: Any, *args: Any, **kwargs: Any) -> Any:
        if (exchange := exchange_behind(request)) is not None:
            tornado_upstream.meet(exchange, target_class)
            for_nothing = self.settings.get("default_handler_class")
            if target_class is for_nothing or getattr(target_class, "__name__", "") == "ErrorHandler":
                exchange.match(None)
        return original(self, request, target_class, *args, **kwargs)

    return get_handler_delegate


def _failing(original: Callable[..., Any]) -> Callable[..., Any]:
    """A handler's exception becomes an answer; an `HTTPError` is one."""

    @wraps(original)
    def log_exception(self: Any, typ: Any, value: Any, tb: Any) -> Any:
        if value is not None and not hasattr(value, "status_code"):
            exchange = exchange_behind(self.request)
            if exchange is not None:
                exchange.failed(value)
        return original(self, typ, value, tb)

    return log_exception


def _closed(handler: Any) -> None:
    """A websocket is closed, by whomever."""
    handshake = getattr(handler.request.connection, "_self_handshake", None)
    if handshake is not None:
        handshake.finish()
