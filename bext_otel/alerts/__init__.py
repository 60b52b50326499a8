"""Alerts: what is unusual in a series of numbers."""

from __future__ import annotations

from bext_otel.alerts.alarm import Alarm, Detector
from bext_otel.alerts.seasonal import SeasonalDetector

__all__ = ["Alarm", "Detector", "SeasonalDetector", "detector"]


def detector(*, counter: bool = False, minimum: float = 0.0) -> SeasonalDetector:
    """A detector for one series, which needs no training: `feed(timestamp, value)` is an `Alarm` or None.

    With `counter`, values are totals since some start, and what is judged is their increase per second; a
    total that falls is a restart. Below `minimum` traffic, where `feed` is told of it, nothing is judged.
    """
    return SeasonalDetector(counter=counter, minimum=minimum)
