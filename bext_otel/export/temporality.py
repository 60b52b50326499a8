"""Which temporality and aggregation OTLP's exporters prefer, without importing one: upstream's take half as
long to import as all of ours."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality

__all__ = ["otlp_aggregation", "otlp_temporality"]

_VARIABLE = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_HISTOGRAMS = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
_KINDS = (
    Counter,
    UpDownCounter,
    Histogram,
    ObservableCounter,
    ObservableUpDownCounter,
    ObservableGauge,
)
# OpenTelemetry specification, "Metrics exporter - OTLP".
_DELTAS: dict[str, frozenset[type]] = {
    "DELTA": frozenset({Counter, ObservableCounter, Histogram}),
    "LOWMEMORY": frozenset({Counter, Histogram}),
}


def otlp_temporality() -> dict[type, AggregationTemporality]:
    """By the SDK's classes of instruments, as the standard variable says."""
    deltas = _DELTAS.get(os.environ.get(_VARIABLE, "").strip().upper(), frozenset())
    return {
        kind: AggregationTemporality.DELTA if kind in deltas else AggregationTemporality.CUMULATIVE
        for kind in _KINDS
    }


def otlp_aggregation() -> dict[type, Any]:
    """Likewise; empty where histograms have explicit buckets, as they have by default."""
    if os.environ.get(_HISTOGRAMS, "").strip().lower() != "base2_exponential_bucket_histogram":
        return {}
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

    return {Histogram: ExponentialBucketHistogramAggregation()}
