"""What a framework tells of its applications, by whichever interface a server calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bext_otel_instrumentors.http.routed import Routed

__all__ = ["UNROUTED", "Framework"]


def _no(*_: Any) -> bool:
    return False


class Framework(NamedTuple):
    """`ask` knows the route of a request that was answered before anybody told: see `Asked`. `has_route` says
    whether an application has a route of its own at a path, which the endpoints would hide, `has_upstream`
    whether upstream's instrumentation is inside of it."""

    ask: Callable[[Any, Routed, Mapping[str, Any]], str | None]
    has_route: Callable[[Any, str], bool] = _no
    has_upstream: Callable[[Any], bool] = _no


def _nothing(*_: Any) -> None:
    """No route is known but what is told."""


UNROUTED = Framework(_nothing)
"""Of applications whose routes cannot be asked for: what has not been told when a request is answered is not
known."""
