"""What an application brings for its metrics."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader
from opentelemetry.sdk.metrics.view import View

from bext_otel.metrics.producers import MetricFilter, MetricProducer

__all__ = ["NO_PARTS", "MetricParts"]


class MetricParts(msgspec.Struct, frozen=True):
    """The SDK's own: views, readers that get every metric, and exporters beside those that variables name.
    `producers` and `metric_filter` are for what is exported; readers have their own (`producing`)."""

    views: Sequence[View] = ()
    readers: Sequence[MetricReader] = ()
    exporters: Sequence[MetricExporter] = ()
    producers: Sequence[MetricProducer] = ()
    metric_filter: MetricFilter | None = None


NO_PARTS = MetricParts()
