"""Django: each alias of DATABASES that was connected to, by a connection of the asking thread's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from bext_otel.reached import reach
from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.patch import Patches

__all__ = ["DjangoReached"]


class DjangoReached(Instrumentor):
    """Has databases asked from their first connection on."""

    requires = ("django >= 3.2",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported(
            "django.db.backends.base.base",
            lambda module: patches.wrap(module.BaseDatabaseWrapper, "connect", _connecting),
        )


def _connecting(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def connect(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        is_in_memory = getattr(self, "is_in_memory_db", None)
        if is_in_memory is None or not is_in_memory():
            reach("database", "django", self.alias, _ping)

    return connect


def _ping(alias: str) -> None:
    from django.db import connections

    connection = connections[alias]  # the thread's own
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT 1{connection.features.bare_select_suffix}")
            cursor.fetchone()
    finally:
        connection.close()  # into Django's pool, where it has one
