"""The state of checks as telemetry: a gauge and a duration by check, and one entry at each change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from opentelemetry._logs import SeverityNumber

from bext_otel.apps import clean
from bext_otel.catalogue import HEALTH_CHECK_DURATION, HEALTH_STATUS
from bext_otel.entries import emit
from bext_otel.health.checks import Check, Status
from bext_otel.health.standing import Standing
from bext_otel.measuring import measure, observe
from bext_otel.process import Undo

__all__ = ["VALUES", "observe_checks", "tell"]

VALUES: Mapping[Status, float] = {"healthy": 1.0, "degraded": 0.5, "unhealthy": 0.0}
"""What the gauge says. Nothing is known of a check that is `starting`."""


def observe_checks(checks: Callable[[], Mapping[str, Check]]) -> Undo:
    """Show what `checks` says at each reading, until the answer is called."""

    def values() -> Iterable[tuple[float, tuple[str, ...]]]:
        return [
            (VALUES[check.status], (clean(name),))
            for name, check in checks().items()
            if check.status in VALUES
        ]

    return observe(HEALTH_STATUS, values, "check")


def tell(name: str, critical: bool, latency_ms: float, before: Standing | None, now: Standing) -> None:
    """Measure a run of a check, and write an entry if its status is another than before: an error for
    something critical that is unhealthy, a warning for what else is not well."""
    with suppress(Exception):  # health goes on without telemetry
        measure(HEALTH_CHECK_DURATION, latency_ms, check=clean(name))
        if now.status == (before.status if before is not None else "healthy"):
            return
        _entry(name, critical, before, now)


def _entry(name: str, critical: bool, before: Standing | None, now: Standing) -> None:
    severity = SeverityNumber.WARN
    if now.status == "healthy":
        severity = SeverityNumber.INFO
    elif now.status == "unhealthy" and critical:
        severity = SeverityNumber.ERROR
    fields: dict[str, str | float] = {"check": clean(name), "status": now.status}
    reason = now.check.details.get("reason") or (before.check.details.get("reason") if before else None)
    if isinstance(reason, str):
        fields["reason"] = reason
    if before is not None:
        fields["previous_status"] = before.status
        fields["lasted_seconds"] = round(now.since - before.since, 3)
    emit("bext.health", severity, f"health check is {now.status}", fields, event="bext.health.changed")
