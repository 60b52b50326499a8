"""Business facts for telemetry: the only module that knows there is any.

Without a telemetry provider every function here costs next to nothing and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from opentelemetry.instrumentation.utils import suppress_instrumentation

import bext_otel
from bext_otel.deploys import deploy
from bext_otel.flows import flow, step
from bext_otel_instrumentors.cache.cachetools.instrumentor import invalidating

__all__ = [
    "deploy",
    "flow",
    "no_render",
    "step",
    "tags_dropped",
    "watch",
]


def tags_dropped() -> AbstractContextManager[None]:
    """What the body drops from a cache was selected by its tags; cachetools knows of keys and of age only."""
    return invalidating("tag")


def no_render() -> AbstractContextManager[None]:
    """What the body has an isolate evaluate is no page: mini-racer can't tell a script that is loaded from
    one that renders."""
    return suppress_instrumentation()


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
