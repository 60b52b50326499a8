"""Django: its WSGI and ASGI handlers, at the outermost place; route templates from its URL resolver."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors._kit.base import HostingInstrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http import asgi, wsgi
from bext_otel_instrumentors.http.current_request import exchange_of
from bext_otel_instrumentors.http.django_test_client import asking_asgi, asking_wsgi
from bext_otel_instrumentors.http.environment import NO_CHOICES, choices
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.framework import Framework
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
            self._cover_handler(module.WSGIHandler, wsgi.serving, around_wsgi)
        elif hasattr(module, "ASGIHandler"):
            self._cover_handler(module.ASGIHandler, asgi.serving, around_asgi)
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
        self._patches.wrap(handler, "__call__", partial(serving, _FRAMEWORK, self._hosting, self._chosen))
        self._patches.wrap(handler, "__init__", self._hosting.after)
        if self._upstream:
            self._patches.wrap(handler, "__call__", partial(around, self._chosen))


def _has_upstream(_: object = None) -> bool:
    from django.conf import settings

    return _UPSTREAM in settings.MIDDLEWARE


def _has_route(_: object, path: str) -> bool:
    from django.urls import Resolver404, resolve

    try:
        return _template(resolve(path).route) == path
    except Resolver404:
        return False


def _exchange_of(request: Any) -> Exchange | None:
    surroundings = getattr(request, "scope", None) or getattr(request, "environ", None)
    return None if surroundings is None else exchange_of(surroundings)


def _ask(_: object, request: Routed, __: Any) -> str | None:
    """The template of a request that a middleware answered before Django resolved it."""
    from django.urls import Resolver404, resolve

    try:
        return _template(resolve(request.path.removeprefix(request.mounted)).route)
    except Resolver404:
        return None


_ASKED = (_ask, None)
_FRAMEWORK = Framework(_ask, _has_route, _has_upstream)
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
