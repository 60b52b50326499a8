"""The telemetry that FastAPI (0.137 and newer) and Starlette's own middleware make, inside of a request that
is measured.

One server span and one duration a request are enough, and ours are there already: theirs are left out, and
all else that they tell is kept, FastAPI's spans of dependencies, endpoint, serialization and background
tasks, its records and its data for processors. Where the application gave them providers of its own, those
get everything: ours are not among them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import context, metrics, trace

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.current_request import measured
from bext_otel_instrumentors.http.exchange import Exchange

__all__ = ["cover", "is_own", "joining", "passing", "quieten", "uncover"]


_FASTAPI, _STARLETTE = "fastapi.telemetry", "starlette.opentelemetry"
_covered = False


def cover() -> None:
    """Both are covered from now on, and need not be told that a request is measured."""
    global _covered
    _covered = True


def uncover() -> None:
    """They are as they were."""
    global _covered
    _covered = False


def quieten(scope: Any, _: object = None) -> None:
    """Have neither make a server span for this request, by the marks that they leave in a scope; where they
    are not covered."""
    if _covered:
        return
    if "fastapi" in sys.modules:
        scope[_FASTAPI] = None
    if "starlette.middleware.opentelemetry" in sys.modules:
        scope[_STARLETTE] = True


def is_own(provider: Any, of_process: Any, proxy: str) -> bool:
    """Whether the application gave a provider that is not the process's."""
    return provider is not None and provider is not of_process and type(provider).__name__ != proxy


def passing(original: Callable[..., Any]) -> Callable[..., Any]:
    """`__call__` of Starlette's `OpenTelemetryMiddleware`: its only span is a server span."""

    @wraps(original)
    async def call(self: Any, scope: Any, receive: Any, send: Any) -> None:
        provider = getattr(self, "_tracer_provider", None)
        if measured(scope) is None or is_own(provider, trace.get_tracer_provider(), "ProxyTracerProvider"):
            await original(self, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    return call


_joined: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def joining(original: Callable[..., Any]) -> Callable[..., Any]:
    """`__call__` of FastAPI's `NativeTelemetry`."""

    @wraps(original)
    async def call(self: Any, *, app: Any, scope: Any, receive: Any, send: Any, **more: Any) -> None:
        request = measured(scope)
        if request is None:
            await original(self, app=app, scope=scope, receive=receive, send=send, **more)
            return
        config = self.config
        own_spans = is_own(config.get("tracer_provider"), trace.get_tracer_provider(), "ProxyTracerProvider")
        own_metrics = is_own(
            config.get("meter_provider"), metrics.get_meter_provider(), "_ProxyMeterProvider"
        )
        told = {
            **config,
            "tracing": config["tracing"] and own_spans,
            "metrics": config["metrics"] and own_metrics,
        }
        joined = _joined.get(self)
        if joined is None or joined.config != told:
            joined = _joined[self] = type(self)(told)
        inner = app
        # Below a request that is left out there are no spans of ours, so none of its operations either.
        if (
            isinstance(request, Exchange)
            and config["tracing"]
            and not own_spans
            and not more.get("legacy_otel")
        ):
            inner = _below_ours(self, app)
        await original(joined, app=inner, scope=scope, receive=receive, send=send, **more)

    return call


def _below_ours(telemetry: Any, app: Any) -> Any:
    """`app` with FastAPI's spans of operations below the current span, which is ours."""

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        prepared = None
        try:
            prepared = _prepare(telemetry, scope)
        except Exception as error:  # FastAPI's inside has changed; it goes on without these spans
            report("FastAPI's own telemetry", error)
        try:
            await app(scope, receive, send)
        finally:
            if prepared is not None:
                made, token = prepared
                made.data = None
                scope.pop(_FASTAPI, None)
                context.detach(token)

    return inner


def _prepare(telemetry: Any, scope: Any) -> tuple[Any, Any] | None:
    """Give FastAPI its tracer, in what it keeps of a request; that and the token of its context, where
    FastAPI has not made it itself."""
    from fastapi.telemetry import _api

    config = telemetry.config
    tracer = None
    if config["operation_spans"]:
        tracer = telemetry._get_tracer(provider=config["tracer_provider"] or trace.get_tracer_provider())
    made = scope.get(_FASTAPI)
    if made is not None:
        made.tracer = tracer
        return None
    prefix = (scope.get("app_root_path") or scope.get("root_path") or "").rstrip("/")
    made = _api._RequestTelemetry(
        span=None, span_method=scope.get("method", "WS"), tracer=tracer, _mount_prefix=prefix
    )
    scope[_FASTAPI] = made
    return made, context.attach(context.set_value(_api._REQUEST_TELEMETRY_KEY, made))
