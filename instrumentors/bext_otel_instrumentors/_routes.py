"""The route template of an ASGI request, from what Starlette, FastAPI, or a framework mounted in them, left behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bext_otel_instrumentors._exchange import Exchange
from bext_otel_instrumentors._guard import report

__all__ = ["path_of", "template"]


def template(exchange: Exchange, scope: Mapping[str, Any]) -> str | None:
    """The whole template, with what the application is mounted under; None where no route matched, or none is known. Never raises."""
    try:
        return _told(exchange, scope) if exchange.routed else _guess(scope)
    except Exception as error:
        report("a route", error)
        return None


def _told(exchange: Exchange, scope: Mapping[str, Any]) -> str | None:
    """What the framework told."""
    if exchange.matched is None:
        return None
    # A mount keeps under `app_root_path` what the root path was before the first one.
    root = scope.get("app_root_path")
    if root is None:
        root = scope.get("root_path") or ""
    return f"{root}{exchange.mounts}{exchange.matched}"


def path_of(route: Any, scope: Mapping[str, Any]) -> str | None:
    """The template of a route of Starlette or FastAPI, up to the application that it belongs to; None if it has none.

    A route of FastAPI that an included router brought has its own part only; the whole is in what FastAPI calls the effective context.
    """
    context = (scope.get("fastapi") or {}).get("effective_route_context")
    path = getattr(context if context is not None and context.original_route is route else route, "path", None)
    return path if isinstance(path, str) else None


def _guess(scope: Mapping[str, Any]) -> str | None:
    """The template of an application whose framework is not instrumented: root path and path of the route in the scope.

    Below a mount whose path has parameters the root path holds their values, which clients choose: those are put back to their names,
    and where that does not work out there is no template.
    """
    route = scope.get("route")
    path = path_of(route, scope)
    if path is None:
        return None
    root = scope.get("root_path") or ""
    outer = scope.get("app_root_path", root) or ""
    segments = root[len(outer) :].split("/")
    own = getattr(route, "param_convertors", {})
    for name, value in (scope.get("path_params") or {}).items() if len(segments) > 1 else ():
        if name in own:
            continue
        if segments.count(str(value)) != 1:
            return None
        segments[segments.index(str(value))] = f"{{{name}}}"
    mounts = "/".join(segments)
    if hasattr(route, "app") and not hasattr(route, "endpoint"):
        # A Mount: what it serves has no routes of its own that we could see.
        return None if getattr(route, "routes", None) else f"{outer}{mounts}/{{path}}"
    return f"{outer}{mounts}{path}"
