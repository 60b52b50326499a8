"""What the instrumentors of frameworks have in common."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from bext_otel_instrumentors._kit.base import HostingInstrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http import asgi, wsgi
from bext_otel_instrumentors.http.current_request import exchange_of
from bext_otel_instrumentors.http.environment import choices
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.framework import Framework
from bext_otel_instrumentors.http.upstream_middleware import around_asgi, around_wsgi

__all__ = ["FrameworkInstrumentor", "tell", "tell_below"]


class FrameworkInstrumentor(HostingInstrumentor):
    """Instruments a framework as soon as it is imported, at its applications' `__call__`: a request begins
    there, unless whoever calls the application has begun it."""

    library = ""
    """Upstream's name for it, for `OTEL_PYTHON_<LIBRARY>_EXCLUDED_URLS`."""

    def _cover_asgi(self, application: type, framework: Framework) -> None:
        """Measure what applications of this class are called with by ASGI servers."""
        chosen = choices(self.library)
        self._patches.wrap(application, "__call__", partial(asgi.serving, framework, self._hosting, chosen))
        if self._upstream:
            self._patches.wrap(application, "__call__", partial(around_asgi, chosen))
        self._patches.wrap(application, "__init__", self._hosting.after)

    def _cover_wsgi(self, application: type, framework: Framework) -> None:
        """Measure what applications of this class are called with by WSGI servers."""
        chosen = choices(self.library)
        self._patches.wrap(application, "__call__", partial(wsgi.serving, framework, self._hosting, chosen))
        if self._upstream:
            self._patches.wrap(application, "__call__", partial(around_wsgi, chosen))
        self._patches.wrap(application, "__init__", self._hosting.after)


def tell(scope: Mapping[str, Any], route: str | None) -> None:
    """A framework matched this template (None: it has none that matches) for the request of an ASGI scope.
    Never raises."""
    try:
        if (exchange := exchange_of(scope)) is not None:
            exchange.match(route)
    except Exception as error:
        report("a route", error)


def tell_below(environ: Mapping[str, Any], route: str | None) -> Exchange | None:
    """As `tell`, for the request of a WSGI environ, whose exchange is returned."""
    try:
        if (exchange := exchange_of(environ)) is not None:
            exchange.match_below(wsgi.text_of(environ.get("SCRIPT_NAME") or ""), route)
        return exchange
    except Exception as error:
        report("a route", error)
        return None
