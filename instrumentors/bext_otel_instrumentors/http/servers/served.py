"""An application as its server calls it: with its requests measured, and otherwise as it is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import wrapt
from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_DISABLED_INSTRUMENTATIONS

from bext_otel.serving import is_aside
from bext_otel_instrumentors.http import asgi, wsgi
from bext_otel_instrumentors.http.environment import Choices, choices
from bext_otel_instrumentors.http.hosting import Hosting
from bext_otel_instrumentors.http.outermost import opens
from bext_otel_instrumentors.http.upstream_middleware import around_asgi, around_wsgi

__all__ = ["Served"]


class Served:
    """What becomes of the applications that one server is given; `upstream` has upstream's middleware make
    the spans, around ours."""

    def __init__(self, hosting: Hosting, *, upstream: bool = False) -> None:
        self.hosting = hosting
        self.ended = False
        self.asgi_choices, self.wsgi_choices = choices("asgi"), choices("wsgi")
        self._asgi: type[_Application] = _ASGIApplication
        self._wsgi: type[_Application] = _WSGIApplication
        if upstream:
            self._asgi = _around(_ASGIApplication, around_asgi(self.asgi_choices, _ASGIApplication.__call__))
            self._wsgi = _around(_WSGIApplication, around_wsgi(self.wsgi_choices, _WSGIApplication.__call__))
        self._disabled = _disabled()

    def asgi(self, app: Any) -> Any:
        """This ASGI application, measured; itself where it needs no help, or is none."""
        return app if self._is_left(app) else self._asgi(app, self, self.asgi_choices)

    def wsgi(self, app: Any) -> Any:
        """This WSGI application, likewise."""
        return app if self._is_left(app) else self._wsgi(app, self, self.wsgi_choices)

    def _is_left(self, app: Any) -> bool:
        return (
            not callable(app)
            or isinstance(app, _Application)
            or opens(app)
            or is_aside(app)
            or not self._disabled.isdisjoint(_packages(app))
        )


def _disabled() -> frozenset[str]:
    """The libraries that are not to be instrumented, whoever serves them."""
    words = os.environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, "").split(",")
    return frozenset(word.strip() for word in words)


def _packages(app: Any) -> Iterable[str]:
    """The packages that the class of an application, and those that it inherits from, are of."""
    return {base.__module__.partition(".")[0] for base in type(app).__mro__}


class _Application(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic in wrapt 2 only
    """Shows everything that the application has: servers look at more than whether it can be called. Copies
    are copies of the application."""

    def __init__(self, app: Any, served: Served, chosen: Choices) -> None:
        super().__init__(app)
        self._self_parts = (served, chosen)

    def __copy__(self) -> Any:
        import copy

        return copy.copy(self.__wrapped__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        import copy

        return copy.deepcopy(self.__wrapped__, memo)

    def __reduce_ex__(self, _: object) -> Any:
        return _itself, (self.__wrapped__,)


def _itself(app: Any) -> Any:
    return app


class _ASGIApplication(_Application):
    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        served, chosen = self._self_parts  # in one look, since each is one into the proxy
        app = self.__wrapped__
        if served.ended:
            await app(scope, receive, send)
        else:
            await asgi.serve(app, scope, receive, send, served.hosting, chosen)


class _WSGIApplication(_Application):
    def __call__(self, environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        served, chosen = self._self_parts
        app = self.__wrapped__
        if served.ended:
            answer: Iterable[bytes] = app(environ, start_response)
            return answer
        return wsgi.serve(app, environ, start_response, served.hosting, chosen)


def _around(kind: type[_Application], call: Any) -> type[_Application]:
    return type(kind.__name__, (kind,), {"__call__": call})
