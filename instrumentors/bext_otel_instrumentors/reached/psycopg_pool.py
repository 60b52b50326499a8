"""psycopg's pools, by a connection of theirs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from bext_otel.reached import BUSY, GONE, reach
from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.patch import Patches

__all__ = ["PsycopgPoolReached"]


class PsycopgPoolReached(Instrumentor):
    """Has pools asked that are made from now on; those for event loops are not."""

    requires = ("psycopg_pool >= 3.1",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported(
            "psycopg_pool.pool", lambda module: patches.wrap(module.ConnectionPool, "__init__", _making)
        )


def _making(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, *args, **kwargs)
        reach("database", "psycopg", self, _ping)

    return __init__


def _ping(pool: Any) -> object:
    if pool.closed:
        return GONE
    figures = pool.get_stats()
    if figures.get("pool_size", 0) >= pool.max_size and not figures.get("pool_available", 0):
        return BUSY
    with pool.connection() as connection:
        connection.execute("SELECT 1")
    return None
