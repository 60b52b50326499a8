"""What a middleware finds out depends on the Starlette that is installed."""

from __future__ import annotations

import inspect

import pytest
from starlette.routing import Router

__all__ = ["tells_its_route"]

tells_its_route = pytest.mark.skipif(
    'scope["route"]' not in inspect.getsource(Router.app),
    reason="this Starlette leaves no route in the scope: only the instrumentor knows it",
)
