"""Litestar: every application, made before or after; route templates from its router."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any
from weakref import WeakSet

from bext_otel.catalogue import METHODS
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.asgi import Call, Receive, Scope, Send
from bext_otel_instrumentors.http.current_request import exchange_of, measured
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.framework import Framework
from bext_otel_instrumentors.http.frameworks.instrumentor import FrameworkInstrumentor
from bext_otel_instrumentors.http.routed import Routed

__all__ = ["LitestarInstrumentor"]


class LitestarInstrumentor(FrameworkInstrumentor):
    """Instruments Litestar. `instrument(asgi=..., on_serving=...)`: see `Hosting`."""

    requires = ("litestar >= 2.11",)
    library = "litestar"

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("litestar.app", lambda module: self._cover_asgi(module.Litestar, _FRAMEWORK))
        patches.when_imported(
            "litestar._asgi.asgi_router",
            lambda module: patches.wrap(module.ASGIRouter, "__call__", _routing),
        )
        patches.when_imported(
            "litestar.middleware._internal.exceptions.middleware",
            lambda module: patches.wrap(
                module.ExceptionHandlerMiddleware, "default_http_exception_handler", _failing
            ),
        )
        for room in ("plugins", "contrib"):
            patches.when_imported(f"litestar.{room}.opentelemetry.middleware", self._cover_telemetry)

    def _cover_telemetry(self, module: Any) -> None:
        kind = module.OpenTelemetryInstrumentationMiddleware
        if not hasattr(kind.__call__, "__wrapped__"):  # in one room it is the other's
            self._patches.wrap(kind, "__init__", _making)
            self._patches.wrap(kind, "__call__", _passing)


# Litestar's own telemetry that the application gave providers.
_own: WeakSet[Any] = WeakSet()
_PROVIDERS = ("tracer", "tracer_provider", "meter", "meter_provider")


def _making(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def __init__(self: Any, app: Any, config: Any) -> None:  # noqa: N807  # it becomes that method
        original(self, app, config)
        if any(getattr(config, name, None) is not None for name in _PROVIDERS):
            _own.add(self)

    return __init__


def _passing(original: Call) -> Call:
    """Litestar's own telemetry is upstream's middleware, whose only spans and durations are of requests."""

    @wraps(original)
    async def __call__(self: Any, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: N807  # likewise
        if measured(scope) is None or self in _own:
            await original(self, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    return __call__


def _routing(original: Call) -> Call:
    """A request is about to be routed; what its router finds, that remembers for itself."""

    @wraps(original)
    async def __call__(self: Any, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: N807  # it becomes that method
        try:
            if (exchange := exchange_of(scope)) is not None:
                _tell(self, exchange, scope)
        except Exception as error:
            report("a route of Litestar", error)
        await original(self, scope, receive, send)

    return __call__


def _tell(router: Any, exchange: Exchange, scope: Mapping[str, Any]) -> None:
    root = scope.get("root_path") or ""
    path = scope["path"]
    template, mounted = _find(router, path.split(root, maxsplit=1)[-1] if root else path, scope.get("method"))
    if template is None or mounted is None:
        exchange.match(template)
    else:
        exchange.enter_mount(template, f"{exchange.mounted}{mounted}", routes=False)


def _find(router: Any, path: str, method: str | None) -> tuple[str | None, str | None]:
    """The template for a path, which the router finds, and how much of the path a mount takes off; also of
    one for another method."""
    from litestar.exceptions import HTTPException, MethodNotAllowedException
    from litestar.utils import normalize_path

    path = normalize_path(path)
    found = None
    # Which methods there are, its exception does not say in all versions; a websocket has none.
    for tried in (method, *METHODS, None):
        try:
            found = router.handle_routing(path=path, method=tried)
            break
        except MethodNotAllowedException:
            pass
        except HTTPException:
            break
    if found is None:
        return None, None
    _, handler, remaining, _, template = found
    if getattr(handler, "is_mount", False):
        taken = path.removesuffix(remaining.rstrip("/"))
        return taken.rstrip("/"), taken.rstrip("/")
    return template, None


def _ask(app: Any, request: Routed, scope: Mapping[str, Any]) -> str | None:
    """The template of a request that a middleware answered before it was routed."""
    path = request.path.removeprefix(request.mounted)
    template, mounted = _find(app.asgi_router, path, scope.get("method"))
    return template if mounted is None else f"{template}/{{path}}"


def _has_route(app: Any, path: str) -> bool:
    return any(route.path == path for route in app.routes)


_FRAMEWORK = Framework(_ask, _has_route)


def _failing(original: Callable[..., Any]) -> Callable[..., Any]:
    """Litestar turns an exception that the application does not handle into an answer."""

    @wraps(original)
    def default_http_exception_handler(self: Any, request: Any, exc: Exception) -> Any:
        from litestar.exceptions import HTTPException

        exchange = exchange_of(request.scope)
        if exchange is not None and (not isinstance(exc, HTTPException) or exc.status_code >= 500):
            exchange.failed(exc)
        return original(self, request, exc)

    return default_http_exception_handler
