"""Upstream's own middleware around an application: `engine = "upstream"` has it make the span and its
metrics, and ours only count. Where the application has one around itself already, that one does; where it
has one inside, that one counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial, wraps
from typing import Any
from weakref import WeakKeyDictionary

from bext_otel._compat import get_current
from bext_otel_instrumentors.http.asgi_request import ASGI
from bext_otel_instrumentors.http.current_request import measured
from bext_otel_instrumentors.http.environment import Choices
from bext_otel_instrumentors.http.incoming import leaves_out
from bext_otel_instrumentors.http.opening import parentage, span_for_this_request
from bext_otel_instrumentors.http.strangers import hide, restore
from bext_otel_instrumentors.http.upstream_counts import CountsUntilMet, counting_around
from bext_otel_instrumentors.http.wsgi_request import WSGI

__all__ = ["around_asgi", "around_wsgi"]


def around_asgi(chosen: Choices, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """`__call__` of an ASGI application class, with `OpenTelemetryMiddleware` around each application."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    middlewares: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    async def seeing_all(self: Any, scope: Any, receive: Any, send: Any) -> None:
        restore(scope)
        await original(self, scope, receive, send)

    @wraps(original)
    async def call(self: Any, scope: Any, receive: Any, send: Any) -> None:
        if (
            scope["type"] not in {"http", "websocket"}
            or measured(scope) is not None
            or leaves_out(ASGI, chosen, scope)
            or span_for_this_request(get_current(), scope.get("scheme", "http")) is not None
        ):
            await original(self, scope, receive, send)
            return
        middleware = middlewares.get(self)
        if middleware is None:
            middleware = middlewares[self] = OpenTelemetryMiddleware(
                partial(seeing_all, self), meter_provider=CountsUntilMet()
            )
        hide(ASGI, scope)
        with parentage(), counting_around():
            await middleware(scope, receive, send)

    return call


def around_wsgi(chosen: Choices, original: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """`__call__` of a WSGI application class, with upstream's `OpenTelemetryMiddleware` around each
    application."""
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

    middlewares: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def seeing_all(self: Any, environ: Any, start_response: Any) -> Iterable[bytes]:
        restore(environ)
        return original(self, environ, start_response)

    @wraps(original)
    def call(self: Any, environ: Any, start_response: Any) -> Iterable[bytes]:
        if (
            measured(environ) is not None
            or leaves_out(WSGI, chosen, environ)
            or span_for_this_request(get_current(), environ.get("wsgi.url_scheme", "http")) is not None
        ):
            return original(self, environ, start_response)
        middleware = middlewares.get(self)
        if middleware is None:
            middleware = middlewares[self] = OpenTelemetryMiddleware(
                partial(seeing_all, self), meter_provider=CountsUntilMet()
            )
        hide(WSGI, environ)
        # Not within `parentage`: this one keeps its context attached until its answer is closed.
        with counting_around():
            answer: Iterable[bytes] = middleware(environ, start_response)
        return answer

    return call
