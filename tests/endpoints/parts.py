"""Endpoints over fixed parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bext_otel import config
from bext_otel.endpoints.endpoints import Endpoints, Reply
from bext_otel.endpoints.token import Token
from bext_otel.health.checks import Check, Status
from bext_otel.health.evaluation import HealthReport
from bext_otel.metrics.snapshot import Snapshot
from tests.endpoints.snapshots import SPECIFICATION

APPS = {"marketing": {"status": "running", "version": "abc1234"}}
CHECKS = {
    "database": Check("healthy", {}, 2.0),
    "cache": Check("healthy", {"entries": 4573, "hit_rate": 0.93}, None),
}


@dataclass
class FixedHealth:
    """Says what it was told to say."""

    status: Status = "healthy"
    asked: list[str] = field(default_factory=list)
    broken: bool = False

    def begin(self) -> None:
        """It asks nobody."""

    apps = tuple(APPS)

    def app(self, name: str) -> HealthReport:
        return self._say(f"apps/{name}")

    def live(self) -> HealthReport:
        return self._say("live")

    def group(self, name: str) -> HealthReport:
        return self._say(name)

    def full(self) -> HealthReport:
        return self._say("full")

    def _say(self, question: str) -> HealthReport:
        self.asked.append(question)
        if self.broken:
            raise RuntimeError("cannot even ask")
        return HealthReport(self.status, CHECKS, APPS, "0.5.0", 86400.9)


def endpoints(
    *,
    read: Callable[[], Snapshot] | None = lambda: SPECIFICATION,
    health: FixedHealth | None = None,
    token: str = "",
    metrics: dict[str, Any] | None = None,
    health_settings: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
) -> Endpoints:
    return Endpoints(
        metrics=config.MetricsSettings(**(metrics or {})),
        health_settings=config.HealthSettings(**(health_settings or {})),
        read=read,
        health=health or FixedHealth(),
        settings=config.EndpointsSettings(**(settings or {})),
        token=Token(token, log=print),
    )


def get(
    which: Endpoints,
    path: str,
    query: str = "",
    *,
    method: str = "GET",
    trusted: bool = False,
    **headers: str,
) -> Reply:
    """The reply for one of our own paths; header names with `_` for `-`."""
    reply = which.reply(
        method,
        path,
        query,
        {name.replace("_", "-"): value for name, value in headers.items()},
        trusted=trusted,
    )
    assert reply is not None
    return reply
