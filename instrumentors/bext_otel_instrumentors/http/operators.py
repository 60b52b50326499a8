"""The route of a request that no framework tells: what the operator lists, or a package knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bext_otel.operation import settings
from bext_otel_instrumentors.http.exchange import Exchange

__all__ = ["or_operators"]


def or_operators(route: str | None, exchange: Exchange, surroundings: Mapping[str, Any]) -> str | None:
    """`route`, the whole template that a framework told; where that is none, or only says what something
    without routes of its own is mounted under, what the settings know."""
    route_of = settings().route_of
    if route_of is None or (route is not None and not exchange.is_mount):
        return route
    return route_of(exchange.app, exchange.path, surroundings) or route
