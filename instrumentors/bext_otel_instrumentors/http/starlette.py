"""Starlette and FastAPI: every application, made before or after, at the outermost place; route templates
from their routers."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors._kit.base import HostingInstrumentor
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http import background_tasks
from bext_otel_instrumentors.http.asgi import Call, Receive, Scope, Send, serving
from bext_otel_instrumentors.http.current_request import exchange_of, left_out, measured
from bext_otel_instrumentors.http.environment import Choices, choices
from bext_otel_instrumentors.http.framework import Framework
from bext_otel_instrumentors.http.inner_telemetry import cover, joining, passing, uncover
from bext_otel_instrumentors.http.outermost import opening
from bext_otel_instrumentors.http.routes import ask_router, path_of
from bext_otel_instrumentors.http.upstream_middleware import around_asgi

__all__ = ["StarletteInstrumentor"]


class StarletteInstrumentor(HostingInstrumentor):
    """Instruments Starlette, and FastAPI as soon as it is imported.

    `instrument(asgi=..., on_serving=...)`: see `Hosting`. The applications' `__call__` is wrapped, which is
    outside of the error middleware and of FastAPI's own telemetry: an unhandled exception is seen, and
    neither FastAPI nor Starlette's middleware adds a second server span or a second
    `http.server.request.duration`; what else they tell stays.
    """

    # Starlette; FastAPI brings it
    requires = ("starlette >= 0.40",)

    def _patch(self, patches: Patches) -> None:
        from starlette.applications import Starlette
        from starlette.background import BackgroundTask
        from starlette.routing import Mount, Route, WebSocketRoute

        if "starlette" not in self._disabled:
            self._cover(Starlette, choices("starlette"))
        patches.wrap(Route, "handle", _matching)
        patches.wrap(WebSocketRoute, "handle", _matching)
        patches.wrap(Mount, "handle", _mounting)
        patches.wrap(BackgroundTask, "__call__", background_tasks.running)
        cover()
        patches.callback(uncover)
        patches.when_imported("starlette.middleware.opentelemetry", self._cover_middleware)
        patches.when_imported("fastapi.applications", self._cover_fastapi)

    def _cover(self, application: type, chosen: Choices) -> None:
        self._patches.wrap(application, "__call__", partial(serving, _FRAMEWORK, self._hosting, chosen))
        if self._upstream:
            self._patches.wrap(application, "__call__", partial(around_asgi, chosen))
        self._patches.wrap(application, "__init__", self._hosting.after)

    def _cover_middleware(self, module: Any) -> None:
        self._patches.wrap(module.OpenTelemetryMiddleware, "__call__", passing)

    def _cover_fastapi(self, module: Any) -> None:
        if "fastapi" in self._disabled:
            self._patches.wrap(module.FastAPI, "__call__", _unmeasured)
            return
        from fastapi.routing import APIRoute

        if (telemetry := getattr(module, "NativeTelemetry", None)) is not None:
            self._patches.wrap(telemetry, "__call__", joining)
        self._cover(module.FastAPI, choices("fastapi"))
        self._patches.wrap(APIRoute, "handle", _matching_api)


def _has_route(app: Any, path: str) -> bool:
    return any(getattr(route, "path", None) == path for route in app.routes)


def _has_upstream(app: Any) -> bool:
    return getattr(app, "_is_instrumented_by_opentelemetry", False)


_FRAMEWORK = Framework(ask_router, _has_route, _has_upstream)


def _unmeasured(original: Call) -> Call:
    """FastAPI's applications are Starlette's too, which would measure them."""

    @wraps(original)
    async def __call__(self: Any, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: N807  # it becomes that method
        if scope["type"] not in {"http", "websocket"} or measured(scope) is not None:
            await original(self, scope, receive, send)
            return
        with left_out(scope, scope["path"], asgi=True):
            await original(self, scope, receive, send)

    return opening(__call__)


def _matching(original: Call) -> Call:
    """A route was matched."""

    @wraps(original)
    def handle(self: Any, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange = exchange_of(scope)
        if exchange is not None:
            exchange.match(self.path)
        return original(self, scope, receive, send)

    return handle


def _matching_api(original: Call) -> Call:
    """A route of FastAPI was matched."""

    @wraps(original)
    def handle(self: Any, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange = exchange_of(scope)
        if exchange is not None:
            exchange.match(path_of(self, scope))
        return original(self, scope, receive, send)

    return handle


def _mounting(original: Call) -> Call:
    """A mount was entered: its template, not the path that matched it, goes before the route that is found
    further inside."""

    @wraps(original)
    def handle(self: Any, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange = exchange_of(scope)
        if exchange is not None:
            exchange.enter_mount(self.path, scope.get("root_path", ""), routes=bool(self.routes))
        return original(self, scope, receive, send)

    return handle
