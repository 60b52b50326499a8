"""aiosqlite: a query is work of who asks. Its connection has a thread, which runs the queries of all that
share it (SQLAlchemy's pool)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any

from opentelemetry import context

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.carrying import in_context
from bext_otel_instrumentors._kit.patch import Patches

__all__ = ["AiosqliteInstrumentor"]


class AiosqliteInstrumentor(Instrumentor):
    """Instruments aiosqlite as soon as it is imported. It makes no spans: those are of who instruments
    sqlite3."""

    requires = ("aiosqlite >= 0.17",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported(
            "aiosqlite.core", lambda core: patches.wrap(core.Connection, "_execute", _executing)
        )


def _executing(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(original)
    async def _execute(self: Any, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        here = context.get_current()
        return await original(self, partial(in_context, here, fn) if here else fn, *args, **kwargs)

    return _execute
