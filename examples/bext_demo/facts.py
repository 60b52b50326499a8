"""Business facts for telemetry: the only module that knows there is any.

Without a telemetry provider every function here costs next to nothing and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import bext_otel
from bext_otel import catalogue
from bext_otel.operation import Operation, count, gauge, operation
from bext_otel_instrumentors.cachetools import invalidating

__all__ = [
    "isolates",
    "plugin_fuel",
    "plugin_hook",
    "render",
    "tags_dropped",
    "watch",
]


def tags_dropped() -> AbstractContextManager[None]:
    """What the body drops from a cache was selected by its tags; cachetools knows of keys and of age only."""
    return invalidating("tag")


def render(app: str) -> AbstractContextManager[Operation]:
    """A render: `with render("marketing"): ...`."""
    return operation(catalogue.RENDER, app=app)


def isolates(app: str, *, active: int, memory_bytes: int) -> None:
    """How many isolates are up, and the heap that they hold together."""
    gauge(catalogue.ISOLATE_COUNT, active, app)
    gauge(catalogue.ISOLATE_MEMORY, memory_bytes, app)


def plugin_hook(plugin: str, hook: str) -> AbstractContextManager[Operation]:
    """A call of a plugin's hook: `with plugin_hook("fingerprint", "on_request"): ...`."""
    return operation(catalogue.PLUGIN_HOOK, plugin=plugin, hook=hook)


def plugin_fuel(plugin: str, fuel: int) -> None:
    """Fuel that a call consumed."""
    count(catalogue.PLUGIN_FUEL_CONSUMED, plugin, by=fuel)


def watch(*, database: Callable[[], None], isolates: Callable[[], Mapping[str, int]]) -> Callable[[], None]:
    """Have `/health` ask these two, and `/health/ready` wait for them; the returned function ends that.

    `database` raises if it is not there; `isolates` tells how many are `active`, of at most `max`.
    """

    def isolate_check() -> Mapping[str, object]:
        found = isolates()
        return {"status": "healthy" if found["active"] else "unhealthy", **found}

    telemetry = bext_otel.running()
    if telemetry is None:
        return lambda: None
    health = telemetry.health
    health.register("database", database, critical=True)
    health.register("isolates", isolate_check, critical=True)

    def end() -> None:
        health.unregister("database")
        health.unregister("isolates")

    return end
