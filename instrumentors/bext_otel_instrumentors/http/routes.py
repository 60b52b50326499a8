"""The route template of an ASGI request, from what Starlette, FastAPI, or a framework mounted in them, left
behind."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from bext_otel.operation import settings
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.operators import or_operators
from bext_otel_instrumentors.http.routed import Routed

__all__ = ["ask_router", "path_of", "template"]


def template(exchange: Exchange, scope: Mapping[str, Any]) -> str | None:
    """The whole template, with what the application is mounted under; None where no route matched, or none is
    known. Never raises."""
    try:
        if exchange.routed and not exchange.mounts and "app_root_path" not in scope:
            # What nearly all are: below no mount.
            found, root = exchange.matched, scope.get("root_path")
            found = f"{root}{found}" if root and found is not None else found
        else:
            found = _by_framework(exchange, scope)
        return found if settings().route_of is None else or_operators(found, exchange, scope)
    except Exception as error:
        report("a route", error)
        return None


def _by_framework(exchange: Exchange, scope: Mapping[str, Any]) -> str | None:
    if not exchange.routed and exchange.asked is None:
        app, router = scope.get("app"), scope.get("router")
        if router is not None and "endpoint" in scope and scope.get("route") is None:
            # Starlette before 1.8, not instrumented: it leaves what it has found, but not by which route. The
            # router is the outermost one, while the application may be a mounted one.
            app = router
        elif router is not None or not hasattr(app, "routes"):
            return _guess(scope)
        # Else Starlette or FastAPI, not instrumented, and it has not come to its routes.
        exchange.may_ask((ask_router, app))
    exchange.ask(scope)
    return _told(exchange, scope)


def _told(exchange: Exchange, scope: Mapping[str, Any]) -> str | None:
    """What the framework told."""
    if exchange.matched is None:
        return None
    # A mount keeps under `app_root_path` what the root path was before the first one.
    root = scope.get("app_root_path")
    if root is None:
        root = scope.get("root_path") or ""
    return f"{root}{exchange.mounts}{exchange.matched}"


# A router does as much for each request, but nobody waits for this one.
_MAX_ROUTES = 2000
_MAX_MOUNTS = 8
_LEFT_BEHIND = frozenset({"app", "app_root_path", "endpoint", "fastapi", "path_params", "route", "router"})


def ask_router(app: Any, request: Routed, scope: Mapping[str, Any]) -> str | None:
    """The template of a request that was answered before it was routed, by the routes of this application of
    Starlette or FastAPI.

    Their `matches` is asked with a scope of its own, as it was before anything was mounted.
    """
    own = {name: value for name, value in scope.items() if name not in _LEFT_BEHIND}
    own |= {
        "path": request.path,
        "root_path": scope.get("app_root_path", scope.get("root_path") or ""),
        "path_params": {},
    }
    found = _matching(app.routes, own, _MAX_MOUNTS)
    if found is not None:
        request.forget_mounts()
    return found


def _matching(routes: Iterable[Any], scope: dict[str, Any], mounts: int) -> str | None:
    """The template of the first route that matches, also of one for another method, below mounts too."""
    other: str | None = None
    for count, route in enumerate(_flat(routes)):
        if count == _MAX_ROUTES:
            break
        match, child = route.matches(scope)
        if match.name == "NONE":
            continue
        path: str = getattr(route, "path", None) or ""
        if hasattr(route, "app") and getattr(route, "endpoint", None) is None:
            # A Mount, or a Host, which has no path.
            if not route.routes:
                return f"{path}/{{path}}"
            below = _matching(route.routes, {**scope, **child}, mounts - 1) if mounts else None
            return None if below is None else f"{path}{below}"
        if match.name == "FULL":
            return path
        other = other or path
    return other


def _flat(routes: Iterable[Any]) -> Iterable[Any]:
    """Routes; those of included routers, which FastAPI keeps by themselves, with the whole path."""
    contexts = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", None)
    return routes if contexts is None else contexts(routes)


def path_of(route: Any, scope: Mapping[str, Any]) -> str | None:
    """The template of a route of Starlette or FastAPI, up to the application that it belongs to; None if it
    has none.

    A route of FastAPI that an included router brought has its own part only; the whole is in what FastAPI
    calls the effective context.
    """
    context = (scope.get("fastapi") or {}).get("effective_route_context")
    path = getattr(
        context if context is not None and context.original_route is route else route, "path", None
    )
    return path if isinstance(path, str) else None


def _guess(scope: Mapping[str, Any]) -> str | None:
    """The template of an application whose framework is not instrumented: root path and path of the route in
    the scope.

    Below a mount whose path has parameters the root path holds their values, which clients choose: those are
    put back to their names, and where that does not work out there is no template.
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
