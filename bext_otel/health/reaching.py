"""Databases and caches that the process uses, asked without a word from the application."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from bext_otel.health.checks import Check
from bext_otel.reached import BUSY, GONE, Kind, reached

__all__ = ["reaching"]


def reaching(kind: Kind, facts: Callable[[], Mapping[str, Any]] = dict) -> Callable[[], Check]:
    """Unhealthy if one of those of this `kind` raises; degraded if all of its connections are in use. `facts`
    are details beside."""

    def probe() -> Check:
        libraries: dict[str, float] = {}
        failed: dict[str, str] = {}
        busy = False
        for library, ping in reached(kind):
            began = time.monotonic()
            try:
                answer = ping()
            except Exception as error:  # its message may tell an address, or a password
                failed.setdefault(library, type(error).__name__)
                continue
            if answer is GONE:
                continue
            busy = busy or answer is BUSY
            took_ms = round((time.monotonic() - began) * 1e3, 1)
            libraries[library] = max(libraries.get(library, 0.0), took_ms)
        details: dict[str, Any] = {**facts(), **({"ping_ms": libraries} if libraries else {})}
        if failed:
            library, reason = next(iter(failed.items()))
            return Check.unhealthy(reason=f"{library}: {reason}", **details)
        if busy:
            return Check.degraded(reason="all connections of a pool are in use", **details)
        return Check.healthy(**details)

    return probe
