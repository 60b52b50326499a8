"""Probes and what they add up to."""

from bext_otel.health.builtin import database, disk, isolates, telemetry
from bext_otel.health.checks import Check, Status
from bext_otel.health.evaluation import Health, HealthReport

__all__ = ["Check", "Health", "HealthReport", "Status", "database", "disk", "isolates", "telemetry"]
