"""ASGI applications: one server span, the request metrics and a completion record for each HTTP request; one
span for each websocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from opentelemetry.context import attach, detach

from bext_otel.operation import set_request_logged
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.asgi_messages import Message, Receive, Send, receiving, sending
from bext_otel_instrumentors.http.asgi_request import Scope, exchange_for, url_of
from bext_otel_instrumentors.http.background import log_late_failure
from bext_otel_instrumentors.http.current_request import LeftOut, adopted, enter, leave, left_out, measured
from bext_otel_instrumentors.http.environment import NO_CHOICES, Choices, choices
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.hosting import ASGIMount, Hosting
from bext_otel_instrumentors.http.inner_telemetry import quieten
from bext_otel_instrumentors.http.routed import Asked
from bext_otel_instrumentors.http.routes import template
from bext_otel_instrumentors.http.websocket import Handshake

__all__ = ["ASGIApp", "ASGIMiddleware", "Receive", "Scope", "Send", "leaves_out", "path_below", "serve"]

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class ASGIMiddleware:
    """Instruments one ASGI application by hand: `app = ASGIMiddleware(app)`. Put it outside of everything
    else.

    `mount` answers requests for endpoints before the application, `on_serving` hears that the process serves:
    see `Hosting`.
    """

    def __init__(
        self, app: ASGIApp, *, mount: ASGIMount | None = None, on_serving: Callable[[], None] | None = None
    ) -> None:
        self.app = app
        self._hosting = Hosting(asgi=mount, on_serving=on_serving)
        self._hosting.made()
        self._chosen = choices("asgi")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
    if (found := measured(scope)) is not None:
        await _further_inside(app, scope, receive, send, found, asked)
        return
    kind = scope["type"]
    if hosting.waiting:
        hosting.first()
    if (
        kind == "http"
        and hosting.asgi is not None
        and await hosting.answers_asgi(path_below(scope), scope, receive, send)
    ):
        return
    serving = _SERVES.get(kind)
    if serving is None:
        await app(
            scope, receive, _telling(send, hosting) if kind == "lifespan" and hosting.hears_end else send
        )
    elif leaves_out(chosen, scope):
        with left_out(scope, scope["path"], asgi=True):
            quieten(scope)
            await app(scope, receive, send)
    elif (exchange := exchange_for(scope, chosen, upstream=upstream, asked=asked)) is None:
        await app(scope, receive, send)
    else:
        await serving(app, scope, receive, send, exchange)


async def _further_inside(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, found: Exchange | LeftOut, asked: Asked | None
) -> None:
    """Call an application inside of the one where this request was found to begin."""
    if isinstance(found, Exchange) and found.asgi:
        found.may_ask(asked)
    if found.surroundings is scope:
        await app(scope, receive, send)
        return
    with adopted(found, scope):
        quieten(scope)
        await app(scope, receive, send)


def leaves_out(chosen: Choices, scope: Scope) -> bool:
    """Whether this request is excluded. Never raises."""
    if chosen.excluded is None:
        return False
    try:
        if not chosen.excluded(url_of(scope)):
            return False
    except Exception as error:
        report("an excluded URL", error)
        return False
    set_request_logged(told=False)
    return True


def _telling(send: Send, hosting: Hosting) -> Send:
    async def told(message: Message) -> None:
        if message["type"] in {"lifespan.shutdown.complete", "lifespan.shutdown.failed"}:
            hosting.ended()
        await send(message)

    return told


async def _serve_http(app: ASGIApp, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
    token = attach(exchange.context)
    before = enter(exchange)
    try:
        exchange.begin()
        await app(scope, receiving(receive, exchange), sending(send, scope, exchange))
    except BaseException as error:
        if exchange.finished:
            log_late_failure(exchange, error)
        else:
            exchange.finish(template(exchange, scope), error)
        raise
    finally:
        leave(before)
        detach(token)
        if not exchange.finished:
            exchange.finish(template(exchange, scope))


async def _serve_websocket(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, exchange: Exchange
) -> None:
    handshake = Handshake(exchange, partial(template, exchange, scope))
    token = attach(exchange.context)
    before = enter(exchange)
    try:
        await app(scope, handshake.watching(receive), handshake.observing(send))
    except BaseException as error:
        handshake.finish(error)
        raise
    finally:
        leave(before)
        detach(token)
        handshake.finish()


_SERVES = {"http": _serve_http, "websocket": _serve_websocket}


def path_below(scope: Scope) -> str:
    """The path below what the server mounts the application under."""
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    return path[len(root) :] if root and path.startswith(root) else path
