"""What receivers are sent: alerts as the JSON that each kind takes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec

from bext_otel.alerts.evaluation import Alert

__all__ = ["alertmanager", "documents", "signed", "slack", "webhook"]

_LASTS_SECONDS = 300.0
"""How long Alertmanager takes an alert to go on that it hears nothing more of."""


def _time(seconds: float) -> str:
    return (
        datetime.fromtimestamp(seconds, timezone.utc)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def documents(alerts: Sequence[Alert]) -> list[dict[str, Any]]:
    """As plain data; times as in RFC 3339."""
    return [
        {
            "rule": alert.rule,
            "state": alert.state,
            "labels": dict(alert.labels),
            "value": alert.value,
            "text": alert.text,
            "description": alert.description,
            "runbook_url": alert.runbook_url,
            "since": _time(alert.since_unix),
            "time": _time(alert.time_unix),
        }
        for alert in alerts
    ]


def webhook(receiver: str, alerts: Sequence[Alert]) -> bytes:
    """The body of a generic webhook, and what a command reads."""
    return msgspec.json.encode({"version": 1, "receiver": receiver, "alerts": documents(alerts)})


def signed(body: bytes, secret: str, now: float) -> Mapping[str, str]:
    """Headers that show who has sent the body, and when: HMAC-SHA256 of `TIMESTAMP.BODY` in hexadecimal."""
    stamp = str(int(now))
    mark = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"x-bext-timestamp": stamp, "x-bext-signature": f"v1={mark}"}


def alertmanager(alerts: Sequence[Alert]) -> bytes:
    """Alertmanager's API v2."""
    return msgspec.json.encode(
        [
            {
                "labels": dict(alert.labels),
                "annotations": {
                    name: text
                    for name, text in (
                        ("summary", alert.text),
                        ("description", alert.description),
                        ("runbook_url", alert.runbook_url),
                    )
                    if text
                },
                "startsAt": _time(alert.since_unix),
                "endsAt": _time(alert.time_unix + (_LASTS_SECONDS if alert.state == "firing" else 0)),
            }
            for alert in alerts
        ]
    )


def slack(alerts: Sequence[Alert]) -> bytes:
    """Slack's incoming webhook, and what others took over from it."""
    return msgspec.json.encode({"text": "\n".join(map(_line, alerts))})


def _line(alert: Alert) -> str:
    labels = " ".join(
        f"{name}={value}" for name, value in alert.labels.items() if name not in {"alertname", "severity"}
    )
    link = f" <{_plain(alert.runbook_url)}|runbook>" if alert.runbook_url else ""
    head = f"*{alert.state.upper()}* {alert.labels['severity']} {alert.rule}"
    return f"{_plain(f'{head} {labels}'.strip())}: {_plain(alert.text)}{link}"


def _plain(text: str) -> str:
    # As Slack wants it: what is left could mention everybody.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
