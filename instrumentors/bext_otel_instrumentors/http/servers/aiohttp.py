"""aiohttp.web: applications and low-level servers, by whatever runs them; a span for each websocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.body_log import note_bodies
from bext_otel_instrumentors.http.current_request import exchange_of, left_out, working_for
from bext_otel_instrumentors.http.environment import choices
from bext_otel_instrumentors.http.exchange import Exchange, current
from bext_otel_instrumentors.http.hosting import Hosting
from bext_otel_instrumentors.http.incoming import exchange_for, leaves_out
from bext_otel_instrumentors.http.operators import or_operators_by
from bext_otel_instrumentors.http.response_propagation import response_headers
from bext_otel_instrumentors.http.servers import aiohttp_upstream
from bext_otel_instrumentors.http.servers.aiohttp_bodies import note_reading, whole_body
from bext_otel_instrumentors.http.servers.aiohttp_request import AIOHTTP, is_websocket, route_of, scope_of
from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor, before
from bext_otel_instrumentors.http.websocket import Handshake

__all__ = ["AiohttpServerInstrumentor"]

Handle = Callable[..., Awaitable[Any]]

# Of the websockets that are being asked for, or are open.
_handshakes: dict[Exchange, Handshake] = {}


class AiohttpServerInstrumentor(ServerInstrumentor):
    """Instruments aiohttp's server where it calls the handler of a request and sends what that returns; the
    route is its resource's."""

    requires = ("aiohttp >= 3.9",)

    def _patch(self, patches: Patches) -> None:
        self._chosen = choices("aiohttp_server")
        super()._patch(patches)

    def _watch(self) -> None:
        self._at("aiohttp.web_runner", "BaseSite.start", before(self._serving))
        self._at("aiohttp.web_protocol", "RequestHandler._handle_request", self._handling)
        self._at("aiohttp.web_protocol", "RequestHandler.handle_error", _failing)
        self._at("aiohttp.web_response", "StreamResponse.prepare", _preparing)
        self._at("aiohttp.web_response", "StreamResponse.write", _writing)
        self._patches.when_imported(aiohttp_upstream.UPSTREAM, partial(aiohttp_upstream.cover, self._patches))

    def _handling(self, original: Handle) -> Handle:
        @wraps(original)
        async def handle(protocol: Any, request: Any, start: Any, handler: Any) -> Any:
            hosting = self._hosting
            if hosting.waiting:
                hosting.first()
            if hosting.asgi is not None and hosting.asgi.owns(request.path):
                return await original(protocol, request, start, partial(_answer, hosting, handler))
            if leaves_out(AIOHTTP, self._chosen, request):
                with left_out(request, request.path, asgi=True):
                    return await original(protocol, request, start, handler)
            exchange = exchange_for(AIOHTTP, request, self._chosen, upstream=False, asked=None)
            if exchange is None:
                return await original(protocol, request, start, handler)
            serve = _serve_websocket if is_websocket(request) else _serve
            return await serve(exchange, request, partial(original, protocol, request, start, handler))

        return handle


async def _serve(exchange: Exchange, request: Any, handle: Handle) -> Any:
    try:
        with working_for(exchange):
            exchange.begin()
            note_bodies(exchange, request.headers.items)
            if exchange.bodies is not None:
                note_reading(request.content)
            response, left = await handle()
    except BaseException as error:
        exchange.finish(_route(exchange, request), error)
        raise
    _note_answer(exchange, request, left=left)
    exchange.finish(_route(exchange, request))
    return response, left


async def _serve_websocket(exchange: Exchange, request: Any, handle: Handle) -> Any:
    handshake = _handshakes[exchange] = Handshake(exchange, partial(_route, exchange, request))
    try:
        with working_for(exchange):
            return await handle()
    except BaseException as error:
        handshake.finish(error)
        raise
    finally:
        del _handshakes[exchange]
        handshake.finish()


def _note_answer(exchange: Exchange, request: Any, *, left: bool) -> None:
    try:
        if exchange.counting:
            exchange.received(request.content.total_bytes)
        if left:
            exchange.leave()
        else:
            exchange.sent_whole()
    except Exception as error:
        report("an answer", error)


def _route(exchange: Exchange, request: Any) -> str | None:
    try:
        return or_operators_by(route_of(request), exchange, scope_of, request)
    except Exception as error:
        report("a route", error)
        return None


def _preparing(original: Handle) -> Handle:
    """An answer begins."""

    @wraps(original)
    async def prepare(self: Any, request: Any) -> Any:
        exchange = None
        try:
            exchange = None if self.prepared else exchange_of(request)
            added = () if exchange is None else response_headers(exchange, self.headers.items())
            for name, value in added:
                self.headers[name] = value
        except Exception as error:
            report("an answer", error)
        writer = await original(self, request)
        if exchange is not None and not exchange.status:
            exchange.begin_answer(self.status, self.headers.items())
            if (handshake := _handshakes.get(exchange)) is not None:
                handshake.answer(self.status)
            if exchange.bodies is not None:
                exchange.bodies.answered(whole_body(self))
        return writer

    return prepare


def _writing(original: Handle) -> Handle:
    """A part of an answer goes out, whose length may be declared nowhere."""

    @wraps(original)
    async def write(self: Any, data: Any) -> None:
        if (exchange := current()) is not None and exchange.status:
            exchange.sent(len(data))
            if exchange.bodies is not None:
                exchange.bodies.answered(data)
        await original(self, data)

    return write


def _failing(original: Callable[..., Any]) -> Callable[..., Any]:
    """A handler's exception becomes an answer."""

    @wraps(original)
    def handle_error(
        self: Any,
        request: Any,
        status: int = 500,
        exc: BaseException | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        if exc is not None and (exchange := exchange_of(request)) is not None:
            exchange.failed(exc)
        return original(self, request, status, exc, *args, **kwargs)

    return handle_error


async def _answer(hosting: Hosting, handler: Handle, request: Any) -> Any:
    """An endpoint's answer to this request, or the application's."""
    from aiohttp import web

    answer = await hosting.whole_answer(request.path, scope_of(request))
    if answer is None:
        return await handler(request)
    status, headers, body = answer
    return web.Response(status=status, headers=headers, body=body)
