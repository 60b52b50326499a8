"""Upstream's own middlewares, that an application has put within a request that is measured: their span
stays, within ours, and what they count is counted once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.current_request import exchange_of

__all__ = ["ASGIWithin", "WSGIWithin"]


class ASGIWithin(Instrumentor):
    """Meets upstream's `OpenTelemetryMiddleware` of ASGI."""

    def _patch(self, patches: Patches) -> None:
        patches.when_imported(
            "opentelemetry.instrumentation.asgi",
            lambda module: patches.wrap(module.OpenTelemetryMiddleware, "__call__", _meeting_asgi),
        )


class WSGIWithin(Instrumentor):
    """Meets upstream's `OpenTelemetryMiddleware` of WSGI."""

    def _patch(self, patches: Patches) -> None:
        patches.when_imported(
            "opentelemetry.instrumentation.wsgi",
            lambda module: patches.wrap(module.OpenTelemetryMiddleware, "__call__", _meeting),
        )


def _meet(surroundings: Any) -> None:
    try:
        if (exchange := exchange_of(surroundings)) is not None:
            exchange.meet_upstream()
    except Exception as error:
        report("upstream's middleware", error)


def _meeting(original: Callable[..., Any]) -> Callable[..., Any]:
    """It is called with an environ."""

    @wraps(original)
    def __call__(self: Any, environ: Any, *args: Any) -> Any:  # noqa: N807  # it becomes that method
        _meet(environ)
        return original(self, environ, *args)

    return __call__


def _meeting_asgi(original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """It is called with a scope. A coroutine function, as servers and test clients tell by that which ASGI an
    application speaks."""

    @wraps(original)
    async def __call__(self: Any, scope: Any, *args: Any) -> None:  # noqa: N807  # as above
        _meet(scope)
        await original(self, scope, *args)

    return __call__
