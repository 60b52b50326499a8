"""Upstream's middleware of aiohttp within a request that is measured: its only span and durations are of
requests, so that it stands down, unless the application gave it a provider of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any

from opentelemetry import trace

from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.exchange import current
from bext_otel_instrumentors.http.inner_telemetry import is_own

__all__ = ["UPSTREAM", "cover"]

UPSTREAM = "opentelemetry.instrumentation.aiohttp_server"

Middleware = Callable[[Any, Any], Awaitable[Any]]

_keeping: ContextVar[bool] = ContextVar("bext-otel-aiohttp-keeping", default=False)


def cover(patches: Patches, module: Any) -> None:
    """Have the middlewares stand down, those that were made before too: each asks this function whether it is
    to instrument."""
    patches.wrap(module, "is_http_instrumentation_enabled", _asking)
    patches.wrap(module, "create_aiohttp_middleware", _making)


def _asking(original: Callable[[], bool]) -> Callable[[], bool]:
    @wraps(original)
    def is_http_instrumentation_enabled() -> bool:
        exchange = current()
        if exchange is None or exchange.finished or _keeping.get():
            return original()
        return False

    return is_http_instrumentation_enabled


def _making(original: Callable[..., Middleware]) -> Callable[..., Middleware]:
    @wraps(original)
    def create(tracer_provider: Any = None) -> Middleware:
        middleware = original(tracer_provider)
        if is_own(tracer_provider, trace.get_tracer_provider(), "ProxyTracerProvider"):
            return _kept(middleware)
        return middleware

    return create


def _kept(original: Middleware) -> Middleware:
    @wraps(original)
    async def middleware(request: Any, handler: Any) -> Any:
        async def within(inner: Any) -> Any:
            handling = _keeping.set(False)
            try:
                return await handler(inner)
            finally:
                _keeping.reset(handling)

        asking = _keeping.set(True)
        try:
            if (exchange := current()) is not None:
                exchange.meet_upstream()
            return await original(request, within)
        finally:
            _keeping.reset(asking)

    return middleware
