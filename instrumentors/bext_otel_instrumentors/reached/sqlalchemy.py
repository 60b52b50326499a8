"""SQLAlchemy: each engine, by a connection of its pool."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from bext_otel.reached import BUSY, reach
from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.reached.loops import asked_in, running_loop

__all__ = ["SQLAlchemyReached"]


class SQLAlchemyReached(Instrumentor):
    """Has engines asked that are made from now on; those for event loops, as soon as they are used in one."""

    requires = ("sqlalchemy >= 1.4",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported(
            "sqlalchemy.engine.base", lambda module: patches.wrap(module.Engine, "__init__", _making)
        )
        patches.when_imported(
            "sqlalchemy.ext.asyncio.engine",
            lambda module: patches.wrap(module.AsyncEngine, "connect", _connecting),
        )


def _making(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, *args, **kwargs)
        if not getattr(getattr(self, "dialect", None), "is_async", False) and not _is_shared(self):
            reach("database", "sqlalchemy", self, _ping)

    return __init__


def _connecting(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def connect(self: Any, *args: Any, **kwargs: Any) -> Any:
        loop = running_loop()
        if loop is not None and not _is_shared(self):
            reach("database", "sqlalchemy", self, lambda engine: _ping_async(engine, loop))
        return original(self, *args, **kwargs)

    return connect


def _is_shared(engine: Any) -> bool:
    """Whether the connection of a ping would be the application's own, which may be in a transaction, or
    another database than its."""
    if type(engine.pool).__name__ in {"StaticPool", "AssertionPool", "SingletonThreadPool"}:
        return True
    url = engine.url
    name = url.database or ""
    return url.get_backend_name() == "sqlite" and (not name or ":memory:" in name or "mode=memory" in name)


def _is_busy(engine: Any) -> bool:
    """Whether all connections of the pool are in use: to wait for one would take it from a request."""
    pool = engine.pool
    most, used = getattr(pool, "_max_overflow", -1), getattr(pool, "checkedout", None)
    return used is not None and most >= 0 and used() >= pool.size() + most


def _one() -> Any:
    """What each database has its own words for; the library is there, since its engine is."""
    library = sys.modules["sqlalchemy"]
    return library.select(library.literal(1))


def _ping(engine: Any) -> object:
    if _is_busy(engine):
        return BUSY
    with engine.connect() as connection:
        connection.execute(_one()).scalar()
    return None


def _ping_async(engine: Any, loop: Any) -> object:
    return BUSY if _is_busy(engine) else asked_in(loop, partial(_asked, engine))


async def _asked(engine: Any) -> None:
    async with engine.connect() as connection:
        await connection.execute(_one())
