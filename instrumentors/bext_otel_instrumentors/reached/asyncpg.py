"""asyncpg's pools, by a connection of theirs, in their event loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from bext_otel.reached import BUSY, GONE, reach
from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.reached.loops import asked_in, running_loop

__all__ = ["AsyncpgReached"]


class AsyncpgReached(Instrumentor):
    """Has pools asked that are made from now on, within a running event loop."""

    requires = ("asyncpg >= 0.27",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("asyncpg.pool", lambda module: patches.wrap(module.Pool, "__init__", _making))


def _making(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, *args, **kwargs)
        if (loop := running_loop()) is not None:
            reach("database", "asyncpg", self, lambda pool: asked_in(loop, lambda: _asked(pool)))

    return __init__


async def _asked(pool: Any) -> object:
    if pool.is_closing():
        return GONE
    if not pool.get_idle_size() and pool.get_size() >= pool.get_max_size():
        return BUSY
    await pool.fetchval("SELECT 1")
    return None
