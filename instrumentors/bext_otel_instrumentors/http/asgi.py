"""ASGI applications: one server span, the request metrics and a completion record for each HTTP request; one
span for each websocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any, TypeAlias

from bext_otel._compat import get_current
from bext_otel.operation import settings
from bext_otel_instrumentors.http.asgi_messages import Message, Receive, Send, receiving, sending
from bext_otel_instrumentors.http.asgi_request import ASGI, Scope
from bext_otel_instrumentors.http.background import log_late_failure
from bext_otel_instrumentors.http.body_log import bodies_of, noting_receive, noting_send
from bext_otel_instrumentors.http.current_request import (
    enter,
    leave,
    left_out,
    measured,
    request_here,
    working_for,
)
from bext_otel_instrumentors.http.environment import NO_CHOICES, Choices
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.framework import Framework
from bext_otel_instrumentors.http.hosting import ASGIMount, Hosting
from bext_otel_instrumentors.http.incoming import exchange_for, inside, is_further_inside, leaves_out
from bext_otel_instrumentors.http.inner_telemetry import quieten
from bext_otel_instrumentors.http.middleware import Middleware
from bext_otel_instrumentors.http.outermost import opening
from bext_otel_instrumentors.http.routed import Asked
from bext_otel_instrumentors.http.routes import template
from bext_otel_instrumentors.http.websocket import Handshake

__all__ = ["ASGIApp", "ASGIMiddleware", "Call", "Receive", "Scope", "Send", "path_below", "serve", "serving"]

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class ASGIMiddleware(Middleware):
    """Instruments one ASGI application by hand: `app = ASGIMiddleware(app)`."""

    def __init__(
        self, app: ASGIApp, *, mount: ASGIMount | None = None, on_serving: Callable[[], None] | None = None
    ) -> None:
        super().__init__(app, Hosting(asgi=mount, on_serving=on_serving), "asgi")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._hosting.asgi is not None and scope["type"] == "http":
            path = path_below(scope)
            if self._answers_inside(self._hosting.asgi, path, scope) and await self._hosting.answers_asgi(
                path, scope, receive, send
            ):
                return
        await serve(self.app, scope, receive, send, self._hosting, self._chosen)


async def serve(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    hosting: Hosting,
    chosen: Choices = NO_CHOICES,
    *,
    upstream: bool = False,
    asked: Asked | None = None,
) -> None:
    """Call `app`, measured; untouched where the request is being measured further outside, or is none, or
    where the context says that HTTP, or anything, is not to be instrumented
    (`opentelemetry.instrumentation.utils`).

    `chosen` says which requests are left out, also by whoever is further inside. `upstream` says that
    upstream's instrumentation is inside of `app`: its span is then a child of ours. `asked` knows the route
    of a request that is answered before anybody told.
    """
    if hosting.waiting:
        hosting.first()
    if (found := measured(scope)) is not None:
        if is_further_inside(found, scope, chosen, upstream=upstream):
            found.may_ask(asked)
            await app(scope, receive, send)
            return
        if found.surroundings is not scope:
            quieten(scope)
        with inside(ASGI, found, scope, chosen, upstream=upstream, asked=asked):
            await app(scope, receive, send)
        return
    kind = scope.get("type", "")
    if (
        kind == "http"
        and hosting.asgi is not None
        and await hosting.answers_asgi(path_below(scope), scope, receive, send)
    ):
        return
    serving = _SERVES.get(kind)  # of what has another type, or none, the application knows more
    if serving is None:
        await app(
            scope, receive, _telling(send, hosting) if kind == "lifespan" and hosting.hears_end else send
        )
    elif chosen.excluded is not None and leaves_out(ASGI, chosen, scope):
        with left_out(scope, scope["path"], asgi=True):
            quieten(scope)
            await app(scope, receive, send)
    elif (exchange := exchange_for(ASGI, scope, chosen, upstream=upstream, asked=asked)) is None:
        await app(scope, receive, send)
    else:
        await serving(app, scope, receive, send, exchange)


Call: TypeAlias = Callable[[Any, Scope, Receive, Send], Awaitable[None]]


def serving(framework: Framework, hosting: Hosting, chosen: Choices, original: Call) -> Call:
    """`__call__` of a framework's applications, measured."""

    @wraps(original)
    async def __call__(self: Any, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: N807  # it becomes that method
        found, upstream = request_here(), framework.has_upstream(self)
        if found is not None:
            if not hosting.waiting and is_further_inside(found, scope, chosen, upstream=upstream):
                found.may_ask((framework.ask, self))
                await original(self, scope, receive, send)
                return
        elif (
            scope.get("type") == "http"
            and chosen.excluded is None
            and not hosting.waiting
            and (hosting.asgi is None or not hosting.asgi.owns(path_below(scope)))
            and (not get_current() or measured(scope) is None)
        ):
            # What most requests are, without the way through `serve`.
            exchange = exchange_for(ASGI, scope, chosen, upstream=upstream, asked=(framework.ask, self))
            app = partial(original, self)
            if exchange is None:
                await app(scope, receive, send)
            else:
                await _serve_http(app, scope, receive, send, exchange)
            return
        if hosting.asgi is not None and scope["type"] == "http" and measured(scope) is None:
            hosting.expect(hosting.asgi, path_below(scope), partial(framework.has_route, self))
        await serve(
            partial(original, self),
            scope,
            receive,
            send,
            hosting,
            chosen,
            upstream=upstream,
            asked=(framework.ask, self),
        )

    return opening(__call__)


def _telling(send: Send, hosting: Hosting) -> Send:
    async def told(message: Message) -> None:
        if message["type"] in {"lifespan.shutdown.complete", "lifespan.shutdown.failed"}:
            hosting.ended()
        await send(message)

    return told


async def _serve_http(app: ASGIApp, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
    entered = enter(exchange)
    try:
        exchange.begin()
        if settings().bodies and (bodies := bodies_of(exchange, lambda: scope["headers"])):
            exchange.bodies = bodies
            receive, send = noting_receive(receive, bodies), noting_send(send, bodies)
        await app(scope, receiving(receive, exchange), sending(send, scope, exchange))
    except BaseException as error:
        if exchange.finished:
            log_late_failure(exchange, error)
        else:
            exchange.finish(template(exchange, scope), error)
        raise
    finally:
        leave(entered)
        if not exchange.finished:
            exchange.finish(template(exchange, scope))


async def _serve_websocket(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, exchange: Exchange
) -> None:
    handshake = Handshake(exchange, partial(template, exchange, scope))
    try:
        with working_for(exchange):
            await app(scope, handshake.watching(receive), handshake.observing(send))
    except BaseException as error:
        handshake.finish(error)
        raise
    finally:
        handshake.finish()


_SERVES = {"http": _serve_http, "websocket": _serve_websocket}


def path_below(scope: Scope) -> str:
    """The path below what the server mounts the application under."""
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    return path[len(root) :] if root and path.startswith(root) else path
