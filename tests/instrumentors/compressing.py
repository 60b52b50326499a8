"""What tests of compression ask of the telemetry."""

from __future__ import annotations

from bext_otel.catalogue import COMPRESSION_DURATION, COMPRESSION_RATIO
from tests.instrumentors.conftest import Telemetry


def ratios(telemetry: Telemetry) -> dict[str, float]:
    """Sum of the ratios by encoding, of the app `shop`."""
    return {labels[1]: value for labels, value in telemetry.sums(COMPRESSION_RATIO).items() if labels[0] == "shop"}


def times(telemetry: Telemetry) -> dict[str, int]:
    """How many bodies were timed, by encoding."""
    return {labels[1]: value for labels, value in telemetry.counts(COMPRESSION_DURATION).items()}
