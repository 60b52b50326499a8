"""Alerts as log records: who gets them where nobody else is named."""

from __future__ import annotations

from opentelemetry._logs import SeverityNumber
from opentelemetry.util.types import AttributeValue

from bext_otel.alerts.evaluation import Alert
from bext_otel.entries import emit

__all__ = ["SCOPE", "log_alert"]

SCOPE = "bext.alerts"
"""The scope of these records."""

_SEVERITIES = {
    "critical": SeverityNumber.ERROR,
    "warning": SeverityNumber.WARN,
    "info": SeverityNumber.INFO,
}


def log_alert(alert: Alert) -> None:
    """One record: `bext.alert.firing` in the alert's severity, or `bext.alert.resolved` at info."""
    firing = alert.state == "firing"
    facts: dict[str, AttributeValue] = {
        "alert": alert.rule,
        "alert_severity": alert.labels["severity"],
        "alert_value": float(alert.value),
        "alert_seconds": max(alert.time_unix - alert.since_unix, 0.0),
        **({"runbook_url": alert.runbook_url} if alert.runbook_url else {}),
    }
    labels = {name: value for name, value in alert.labels.items() if name not in {"alertname", "severity"}}
    told = " ".join(f"{name}={value}" for name, value in labels.items())
    emit(
        SCOPE,
        _SEVERITIES[alert.labels["severity"]] if firing else SeverityNumber.INFO,
        f"alert {alert.rule} {'fires' if firing else 'is resolved'}{told and f' ({told})'}: {alert.text}",
        {**labels, **facts},
        event=f"bext.alert.{alert.state}",
    )
