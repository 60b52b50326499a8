"""redis-py: each client, by a connection of its pool. Those for event loops are not asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from bext_otel.reached import reach
from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.patch import Patches

__all__ = ["RedisReached"]


class RedisReached(Instrumentor):
    """Has clients asked that are made from now on, synchronous ones and those of clusters."""

    requires = ("redis >= 5.0",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("redis.client", lambda module: patches.wrap(module.Redis, "__init__", _making))
        patches.when_imported(
            "redis.cluster", lambda module: patches.wrap(module.RedisCluster, "__init__", _making)
        )


def _making(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, *args, **kwargs)
        reach("cache", "redis", self, lambda client: client.ping())

    return __init__
