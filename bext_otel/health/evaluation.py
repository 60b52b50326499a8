"""What `/health`, `/health/live` and `/health/ready` say."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from bext_otel.errors import ConfigError
from bext_otel.health.checks import Check, Status, combined, weighed
from bext_otel.health.probes import Ask, Clock, Probe, Prober

__all__ = ["READINESS", "Health", "HealthReport"]

Apps: TypeAlias = Mapping[str, Mapping[str, str]]

READINESS = frozenset({"database", "isolates"})
"""Checks that readiness asks for as soon as they are registered."""


@dataclass(frozen=True)
class HealthReport:
    """The state of the service. `uptime_seconds` counts since the `Health` was made."""

    status: Status
    checks: Mapping[str, Check] = field(default_factory=dict)
    apps: Apps = field(default_factory=dict)
    version: str = ""
    uptime_seconds: float = 0.0

    @property
    def http_status(self) -> int:
        """503 if unhealthy, else 200: what is degraded still serves."""
        return 503 if self.status == "unhealthy" else 200

    def document(self) -> dict[str, Any]:
        """The document that the platform's specification shows, ready for JSON."""
        return {
            "status": self.status,
            "version": self.version,
            "uptime_secs": int(self.uptime_seconds),
            "checks": {name: check.document() for name, check in self.checks.items()},
            "apps": {name: dict(app) for name, app in self.apps.items()},
        }


class Health:
    """The registered probes and apps, and the three questions about them.

    `timeout_seconds` limits a probe that names no limit of its own, `cache_seconds` is how long an answer is
    good for, `version` is the service's. Asking is safe from any thread; it blocks for at most the longest
    timeout, except `live`, which asks nobody.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float = 2.0,
        cache_seconds: float = 1.0,
        version: str = "",
        clock: Clock = time.monotonic,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._version = version
        self._clock = clock
        self._started = clock()
        self._prober = Prober(cache_seconds=cache_seconds, clock=clock)
        # Setting, deleting and copying are one step each, so neither needs a lock, which a fork could leave
        # held.
        self._probes: dict[str, Probe] = {}
        self._apps: dict[str, Mapping[str, str]] = {}

    def register(
        self, name: str, probe: Ask, *, critical: bool | None = None, timeout_seconds: float | None = None
    ) -> None:
        """Ask `probe` from now on, under `name`; it takes the place of one with the same name.

        It is called in a thread of its own and returns a `Check`, a mapping of details, or None or True for
        healthy, False for unhealthy; what it raises is unhealthy, with the exception's type as the reason.
        `critical` says that the service can't do without: readiness asks for it (default: only for the names
        in `READINESS`). Raises ConfigError for a probe that can't be called like this.
        """
        if inspect.iscoroutinefunction(probe) or not callable(probe):
            raise ConfigError(
                f"health probe {name!r} = {probe!r}: expected a plain function; it is called in a thread of "
                "its own"
            )
        limit = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        if not limit > 0:
            raise ConfigError(
                f"health probe {name!r}: timeout_seconds = {limit!r}: expected seconds above 0, e.g. 2"
            )
        self._probes[name] = Probe(probe, name in READINESS if critical is None else critical, limit)

    def unregister(self, name: str) -> None:
        """Stop asking the probe of this name; nothing happens if there is none."""
        self._probes.pop(name, None)

    def register_app(self, name: str, status: str = "running", version: str = "") -> None:
        """Show an app, or its new state; the state "failed" degrades the service."""
        self._apps[name] = MappingProxyType({"status": status, "version": version})

    def live(self) -> HealthReport:
        """Is the process alive? It answers, so it is; asks no probe, takes no lock."""
        return self._report("healthy")

    def ready(self) -> HealthReport:
        """Can it serve traffic? Asks what is critical."""
        return self._asked({name: probe for name, probe in self._probes.copy().items() if probe.critical})

    def full(self) -> HealthReport:
        """All probes and apps: unhealthy if something critical is, degraded if anything else isn't
        healthy."""
        return self._asked(self._probes.copy(), self._apps.copy())

    def _asked(self, probes: Mapping[str, Probe], apps: Apps | None = None) -> HealthReport:
        apps = apps or {}
        checks = dict(zip(probes, self._prober.checks(list(probes.values())), strict=True))
        weights = [weighed(check.status, critical=probes[name].critical) for name, check in checks.items()]
        if any(app["status"] == "failed" for app in apps.values()):
            weights.append("degraded")
        return self._report(combined(weights), checks, apps)

    def _report(
        self, status: Status, checks: Mapping[str, Check] | None = None, apps: Apps | None = None
    ) -> HealthReport:
        return HealthReport(status, checks or {}, apps or {}, self._version, self._clock() - self._started)
