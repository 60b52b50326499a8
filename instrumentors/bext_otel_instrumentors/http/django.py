"""Django: its WSGI and ASGI handlers, at the outermost place; route templates from its URL resolver."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors._kit.base import HostingInstrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http import asgi, wsgi
from bext_otel_instrumentors.http.current_request import exchange_of
from bext_otel_instrumentors.http.django_test_client import asking_asgi, asking_wsgi
from bext_otel_instrumentors.http.environment import NO_CHOICES, Choices, choices
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.hosting import Hosting
from bext_otel_instrumentors.http.routed import Routed
from bext_otel_instrumentors.http.upstream_middleware import around_asgi, around_wsgi

__all__ = ["DjangoInstrumentor"]

_UPSTREAM = "opentelemetry.instrumentation.django.middleware.otel_middleware._DjangoMiddleware"


_HANDLERS = (
    "django.core.handlers.base",
    "django.core.handlers.wsgi",
    "django.core.handlers.asgi",
    "django.test.client",
)


class DjangoInstrumentor(HostingInstrumentor):
    """Instruments Django as soon as it is imported. `instrument(asgi=..., wsgi=...)`: see `Hosting`. Settings
    are not touched, and no middleware is added.

    Importing it for an application that does not use it takes time and makes objects that raise when they are
    looked at while there are no settings, as gevent does that patches threads.
    """

    _chosen = NO_CHOICES

    requires = ("django >= 4.2",)

    def _patch(self, patches: Patches) -> None:
        self._chosen = choices("django")
        for name in _HANDLERS:
            patches.when_imported(name, self._cover)

    def _cover(self, module: Any) -> None:
        if hasattr(module, "WSGIHandler"):
            self._cover_handler(module.WSGIHandler, _serving_wsgi, around_wsgi)
        elif hasattr(module, "ASGIHandler"):
            self._cover_handler(module.ASGIHandler, _serving_asgi, around_asgi)
        elif hasattr(module, "ClientHandler"):
            self._patches.wrap(
                module.ClientHandler, "__call__", partial(asking_wsgi, partial(self._test, wsgi.serve))
            )
            self._patches.wrap(
                module.AsyncClientHandler, "__call__", partial(asking_asgi, partial(self._test, asgi.serve))
            )
        else:
            from django.core.signals import got_request_exception

            self._patches.wrap(module.BaseHandler, "resolve_request", _resolving)
            got_request_exception.connect(_failed, weak=False, dispatch_uid=_failed.__qualname__)
            self._patches.callback(got_request_exception.disconnect, dispatch_uid=_failed.__qualname__)

    def _test(self, serve: Callable[..., Any], *request: Any) -> Any:
        return serve(*request, _NOT_SERVING, self._chosen, upstream=_has_upstream(), asked=_ASKED)

    def _cover_handler(self, handler: type, serving: Callable[..., Any], around: Callable[..., Any]) -> None:
        self._patches.wrap(handler, "__call__", partial(serving, self._hosting, self._chosen))
        self._patches.wrap(handler, "__init__", self._hosting.after)
        if self._upstream:
            self._patches.wrap(handler, "__call__", partial(around, self._chosen))


def _has_upstream() -> bool:
    from django.conf import settings

    return _UPSTREAM in settings.MIDDLEWARE


def _has_route(path: str) -> bool:
    from django.urls import Resolver404, resolve

    try:
        return _template(resolve(path).route) == path
    except Resolver404:
        return False


def _serving_wsgi(
    hosting: Hosting, chosen: Choices, original: Callable[..., Iterable[bytes]]
) -> Callable[..., Iterable[bytes]]:
    @wraps(original)
    def call(self: Any, environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        if hosting.wsgi is not None:
            hosting.expect(hosting.wsgi, wsgi.text_of(environ.get("PATH_INFO") or ""), _has_route)
        return wsgi.serve(
            partial(original, self),
            environ,
            start_response,
            hosting,
            chosen,
            upstream=_has_upstream(),
            asked=_ASKED,
        )

    return call


def _serving_asgi(
    hosting: Hosting, chosen: Choices, original: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    @wraps(original)
    async def call(self: Any, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if hosting.asgi is not None and scope["type"] == "http":
            hosting.expect(hosting.asgi, asgi.path_below(scope), _has_route)
        await asgi.serve(
            partial(original, self),
            scope,
            receive,
            send,
            hosting,
            chosen,
            upstream=_has_upstream(),
            asked=_ASKED,
        )

    return call


def _exchange_of(request: Any) -> Exchange | None:
    surroundings = getattr(request, "scope", None) or getattr(request, "environ", None)
    return None if surroundings is None else exchange_of(surroundings)


def _ask(_: None, request: Routed, __: Any) -> str | None:
    """The template of a request that a middleware answered before Django resolved it."""
    from django.urls import Resolver404, resolve

    try:
        return _template(resolve(request.path.removeprefix(request.mounted)).route)
    except Resolver404:
        return None


_ASKED = (_ask, None)
# Who tests an application serves nobody.
_NOT_SERVING = Hosting()


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
