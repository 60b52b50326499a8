"""The route template of a request of Sanic's, by its own server or another one."""

from __future__ import annotations

from typing import Any

__all__ = ["route_of"]


def route_of(request: Any) -> str | None:
    """The template that matched, with what its blueprints stand under, also that of another method; None
    where none has. Files below a folder are one route."""
    route = request.route
    if route is None:
        route = _for_another_method(request)
    return None if route is None else f"/{route.path.lstrip('/')}"


def _for_another_method(request: Any) -> Any:
    from sanic.exceptions import MethodNotAllowed, NotFound

    router, host = request.app.router, request.headers.getone("host", None)
    try:
        return router.get(request.path, request.method, host)[0]  # which a middleware was quicker than
    except NotFound:
        return None
    except MethodNotAllowed as other:
        allowed = other.headers.get("Allow", "").split(",")[0].strip()
        return router.get(request.path, allowed, host)[0] if allowed else None
