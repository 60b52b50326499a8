"""Django: its WSGI and ASGI handlers, at the outermost place; route templates from its URL resolver."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors import asgi, wsgi
from bext_otel_instrumentors._base import Instrumentor
from bext_otel_instrumentors._exchange import KEY, Exchange
from bext_otel_instrumentors._guard import report
from bext_otel_instrumentors._patch import Patches
from bext_otel_instrumentors._peer import around_asgi, around_wsgi
from bext_otel_instrumentors._serving import Hosting

__all__ = ["DjangoInstrumentor"]

_UPSTREAM = "opentelemetry.instrumentation.django.middleware.otel_middleware._DjangoMiddleware"


class DjangoInstrumentor(Instrumentor):
    """Instruments Django. `instrument(mount=..., on_serving=...)`: see `Hosting`. Settings are not touched, and no middleware is added."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Django."""
        return ("django >= 4.2",)

    def _patch(self, patches: Patches, hosting: Hosting) -> None:
        from django.core.handlers.asgi import ASGIHandler
        from django.core.handlers.base import BaseHandler
        from django.core.handlers.wsgi import WSGIHandler
        from django.core.signals import got_request_exception

        patches.wrap(WSGIHandler, "__call__", partial(_serving_wsgi, hosting))
        patches.wrap(WSGIHandler, "__init__", hosting.after)
        patches.wrap(ASGIHandler, "__call__", partial(_serving_asgi, hosting))
        patches.wrap(ASGIHandler, "__init__", hosting.after)
        patches.wrap(BaseHandler, "resolve_request", _resolving)
        if self._upstream:
            patches.wrap(WSGIHandler, "__call__", around_wsgi)
            patches.wrap(ASGIHandler, "__call__", around_asgi)
        got_request_exception.connect(_failed, weak=False, dispatch_uid=_failed.__qualname__)

    def _uninstrument(self, **kwargs: Any) -> None:
        from django.core.signals import got_request_exception

        got_request_exception.disconnect(dispatch_uid=_failed.__qualname__)
        super()._uninstrument(**kwargs)


def _has_upstream() -> bool:
    from django.conf import settings

    return _UPSTREAM in settings.MIDDLEWARE


def _serving_wsgi(hosting: Hosting, original: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    @wraps(original)
    def call(self: Any, environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        return wsgi.serve(partial(original, self), environ, start_response, hosting, upstream=_has_upstream())

    return call


def _serving_asgi(hosting: Hosting, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @wraps(original)
    async def call(self: Any, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await asgi.serve(partial(original, self), scope, receive, send, hosting, upstream=_has_upstream())

    return call


def _exchange_of(request: Any) -> Exchange | None:
    surroundings = getattr(request, "scope", None) or getattr(request, "environ", None) or {}
    found: Exchange | None = surroundings.get(KEY)
    return found


def _resolving(original: Callable[..., Any]) -> Callable[..., Any]:
    """A request is resolved to a view, or not."""

    @wraps(original)
    def resolve_request(self: Any, request: Any) -> Any:
        exchange = _exchange_of(request)
        if exchange is None:
            return original(self, request)
        exchange.match(None)
        match = original(self, request)
        try:
            exchange.match_below(request.path.removesuffix(request.path_info), _template(match.route))
        except Exception as error:
            report("a Django route", error)
        return match

    return resolve_request


def _template(route: str) -> str:
    """Django's routes have no leading slash; those made from regular expressions are anchored."""
    return f"/{route.removeprefix('^').removesuffix('$')}"


def _failed(request: Any = None, **_: Any) -> None:
    """Django turns an unhandled exception into an answer, after it told about it."""
    exchange = _exchange_of(request)
    error = sys.exc_info()[1]
    if exchange is not None and error is not None:
        exchange.failed(error)
