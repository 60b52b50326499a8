"""What tests of compression ask of the telemetry."""

from __future__ import annotations

from typing import Any

from bext_otel.catalogue import COMPRESSION_DURATION, COMPRESSION_RATIO
from tests.instrumentors.conftest import Telemetry


def ratios(telemetry: Telemetry) -> dict[str, float]:
    """Sum of the ratios by encoding, of the app `shop`."""
    return {
        labels[1]: value for labels, value in telemetry.sums(COMPRESSION_RATIO).items() if labels[0] == "shop"
    }


def times(telemetry: Telemetry) -> dict[str, int]:
    """How many bodies were timed, by encoding."""
    return {labels[1]: value for labels, value in telemetry.counts(COMPRESSION_DURATION).items()}


def told(telemetry: Telemetry) -> list[tuple[str, dict[str, Any], int]]:
    """What the log says about bodies, at debug: encoding, facts other than the duration, and the span that it
    belongs to."""
    records = [
        data.log_record
        for data in telemetry._records.get_finished_logs()
        if data.log_record.body == "body compressed"
    ]
    assert {"DEBUG"} >= {record.severity_text for record in records}
    found = []
    for record in records:
        facts = dict(record.attributes or {})
        assert facts.pop("duration_us") >= 0
        found.append((facts.pop("encoding"), facts, record.span_id or 0))
    return found
