"""ASGI applications: one server span, the request metrics and a completion record for each HTTP request; one
span for each websocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, TypeAlias

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled

from bext_otel.operation import set_request_logged
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.background import log_late_failure, watch
from bext_otel_instrumentors.http.current_request import adopted, enter, leave, left_out, measured
from bext_otel_instrumentors.http.environment import NO_CHOICES, Choices, choices
from bext_otel_instrumentors.http.exchange import BODILESS, Asked, Exchange, declared_length
from bext_otel_instrumentors.http.hosting import ASGIMount, Hosting
from bext_otel_instrumentors.http.inner_telemetry import quieten
from bext_otel_instrumentors.http.opening import current, open_exchange
from bext_otel_instrumentors.http.propagation import extract, is_w3c_only
from bext_otel_instrumentors.http.response_propagation import response_headers
from bext_otel_instrumentors.http.routes import template
from bext_otel_instrumentors.http.websocket import Handshake

__all__ = ["ASGIApp", "ASGIMiddleware", "Receive", "Scope", "Send", "leaves_out", "path_below", "serve"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_NOTHING = Context()
_VERSIONS: Mapping[str, str] = {"1": "1.0", "2.0": "2", "3.0": "3"}


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
        if isinstance(found, Exchange) and found.asked is None and found.asgi:
            found.asked = asked
        if found.surroundings is scope:
            await app(scope, receive, send)
            return
        with adopted(found, scope):
            quieten(scope)
            await app(scope, receive, send)
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
    if kind in _SERVES:
        if leaves_out(chosen, scope):
            with left_out(scope, scope["path"], asgi=True):
                quieten(scope)
                await app(scope, receive, send)
            return
        exchange = _open(scope, upstream, chosen)
        if exchange is not None:
            exchange.asked = asked
            await _SERVES[kind](app, scope, receive, send, exchange)
            return
    elif kind == "lifespan" and hosting.hears_end:
        send = _telling(send, hosting)
    await app(scope, receive, send)


def leaves_out(chosen: Choices, scope: Scope) -> bool:
    """Whether this request is excluded. Never raises."""
    if chosen.excluded is None:
        return False
    try:
        server = scope.get("server")
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), None)
        if host is None:
            host = f"{server[0]}:{server[1]}" if server else ""
        if not chosen.excluded(f"{scope.get('scheme', 'http')}://{host}{scope['path']}"):
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


def _open(scope: Scope, upstream: bool, chosen: Choices) -> Exchange | None:
    """Begin the exchange of this scope; None where that failed or is not wanted, and the application is to be
    called as if we were not there."""
    try:
        pairs = scope["headers"]
        if not isinstance(pairs, list | tuple):
            # Any iterable is allowed, and the application is to find it as it was.
            pairs = scope["headers"] = list(pairs)
        headers: dict[bytes, bytes] = dict(pairs)
        context = get_current()
        if context:
            if not is_http_instrumentation_enabled():
                return None
            if (around := current(context)) is not None and around.ended_ns:
                # A server that reads the next request of a connection inside the task of the last one hands
                # on that one's context.
                context = _NOTHING
        if b"traceparent" in headers or b"baggage" in headers or not is_w3c_only():
            context = extract(_all_values(pairs), context)
        host, agent, query = headers.get(b"host"), headers.get(b"user-agent"), scope.get("query_string")
        version = scope.get("http_version", "")
        exchange = open_exchange(
            scope.get("method", "GET"),
            scope.get("scheme") or ("http" if scope["type"] == "http" else "ws"),
            scope["path"],
            query.decode("latin-1") if query else "",
            _VERSIONS.get(version, version),
            host.decode("latin-1") if host else "",
            scope.get("server"),
            scope.get("client"),
            agent.decode("latin-1") if agent else "",
            context,
        )
        exchange.asgi = True
        exchange.upstream = upstream
        exchange.mounted = scope.get("root_path") or ""
        exchange.captured = chosen.response
        if chosen.request is not None:
            exchange.show_headers(chosen.request, pairs)
        length = declared_length(headers.get(b"content-length"))
        # Without a declared length a message of HTTP/1 has no body, unless its coding says so (RFC 9112,
        # section 6.3).
        exchange.request_bytes = length if length is not None else 0
        exchange.counting = length is None and (b"transfer-encoding" in headers or version not in _HTTP_1)
        quieten(scope)
        exchange.surroundings = scope
    except Exception as error:
        report("the start of a request", error)
        return None
    return exchange


_HTTP_1 = frozenset({"1.0", "1.1", "1"})


def _all_values(pairs: Any) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return values


async def _serve_http(app: ASGIApp, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
    token = attach(exchange.context)
    before = enter(exchange)
    try:
        exchange.begin()
        await app(scope, _received(receive, exchange), _observed(send, scope, exchange))
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


def _received(receive: Receive, exchange: Exchange) -> Receive:
    """`receive`, telling the exchange what was sent, and that the client has left."""

    async def receiving() -> Message:
        message = await receive()
        if message.get("type") == "http.disconnect":
            exchange.leave()
        elif exchange.counting:
            exchange.request_bytes += len(message.get("body") or b"")
        return message

    return receiving


def _observed(send: Send, scope: Scope, exchange: Exchange) -> Send:
    """`send`, telling the exchange what goes by."""
    bodiless = exchange.method == "HEAD"
    trailers = False

    async def observing(message: Message) -> None:
        nonlocal bodiless, trailers
        last = False
        try:
            kind = message["type"]
            if kind == "http.response.body":
                if not bodiless and (body := message.get("body")):
                    exchange.response_bytes += len(body)
                last = not trailers and not message.get("more_body", False)
            elif kind == "http.response.start":
                status = message["status"]
                exchange.begin_answer(status, message.get("headers") or ())
                trailers = message.get("trailers", False)
                if added := response_headers(exchange):
                    more = [
                        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in added
                    ]
                    message = {**message, "headers": [*(message.get("headers") or ()), *more]}
                bodiless = bodiless or status in BODILESS
                if not exchange.owned:
                    exchange.annotate(template(exchange, scope))
            else:
                last = _extension(message, exchange, bodiless=bodiless, trailers=trailers)
        except Exception as error:
            report("an answer", error)
        try:
            await send(message)
        except OSError as error:  # so a server says that the client is not there any more
            if message.get("type") == "http.response.start":
                exchange.status = 0
            exchange.leave(error)
            raise
        if last:
            exchange.answered()
            watch(exchange, scope)

    return observing


def _extension(message: Message, exchange: Exchange, *, bodiless: bool, trailers: bool) -> bool:
    """Account for a message of an ASGI extension; True for the last of an answer."""
    kind = message["type"]
    if kind in {"http.response.pathsend", "http.response.zerocopysend"}:
        if not bodiless:
            # The server reads the file itself; the application only says how much it is.
            exchange.response_bytes = _response_length(exchange)
        return not trailers and not message.get("more_body", False)
    return bool(kind == "http.response.trailers" and not message.get("more_trailers", False))


def _response_length(exchange: Exchange) -> int:
    for name, value in exchange.headers:
        if name.lower() == b"content-length":
            return declared_length(value) or 0
    return 0


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
