"""The route of a request that no framework tells: what the operator lists, or a package knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bext_otel.operation import settings
from bext_otel_instrumentors.http.exchange import Exchange

__all__ = ["or_operators", "or_operators_by"]


def or_operators(route: str | None, exchange: Exchange, surroundings: Mapping[str, Any]) -> str | None:
    """`route`, the whole template that a framework told; where that is none, or only says what something
    without routes of its own is mounted under, what the settings know."""
    return or_operators_by(route, exchange, _itself, surroundings)


def or_operators_by(
    route: str | None, exchange: Exchange, scope_of: Callable[[Any], Mapping[str, Any]], request: Any
) -> str | None:
    """As `or_operators`, for servers that speak neither ASGI nor WSGI: `scope_of` shows a request of theirs
    as an ASGI scope, to functions that ask for one."""
    route_of = settings().route_of
    if route_of is None or (route is not None and not exchange.is_mount):
        return route
    return route_of(exchange.app, exchange.path, scope_of(request)) or route


def _itself(surroundings: Mapping[str, Any]) -> Mapping[str, Any]:
    return surroundings
