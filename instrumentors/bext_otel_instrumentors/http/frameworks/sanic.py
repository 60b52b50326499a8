"""Sanic under ASGI: every application, made before or after; route templates from its router."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.exchange import current
from bext_otel_instrumentors.http.framework import Framework
from bext_otel_instrumentors.http.frameworks.instrumentor import FrameworkInstrumentor
from bext_otel_instrumentors.http.routed import Routed
from bext_otel_instrumentors.http.sanic_routes import route_of

__all__ = ["SanicInstrumentor"]


class SanicInstrumentor(FrameworkInstrumentor):
    """Instruments Sanic, but for its own server. `instrument(asgi=..., on_serving=...)`: see `Hosting`."""

    requires = ("sanic >= 22.9",)
    library = "sanic"

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("sanic.app", lambda module: self._cover_asgi(module.Sanic, _FRAMEWORK))
        patches.when_imported(
            "sanic.handlers.error",
            lambda module: patches.wrap(module.ErrorHandler, "default", _failing),
        )


def _ask(app: Any, request: Routed, _: Mapping[str, Any]) -> str | None:
    """Sanic rewrites the source of what routes, so that nothing can be put around it; a request keeps its
    route."""
    from sanic.request import Request

    request_here: Any = Request.get_current()  # raises where there is none, which is as good
    if request_here.app is not app:
        return None
    route = route_of(request_here)  # Sanic routes by the whole path
    return None if route is None else route.removeprefix(request.mounted)


_FRAMEWORK = Framework(_ask)


def _failing(original: Callable[..., Any]) -> Callable[..., Any]:
    """Sanic turns an exception that the application does not handle into an answer; its own are answers."""

    @wraps(original)
    def default(self: Any, request: Any, exception: Exception) -> Any:
        if not hasattr(exception, "status_code") and (exchange := current()) is not None:
            exchange.failed(exception)
        return original(self, request, exception)

    return default
