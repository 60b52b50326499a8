"""What an application brings for its metrics."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader
from opentelemetry.sdk.metrics.view import View

__all__ = ["NO_PARTS", "MetricParts"]


class MetricParts(msgspec.Struct, frozen=True):
    """The SDK's own: views, readers that get every metric, and exporters beside those that variables name."""

    views: Sequence[View] = ()
    readers: Sequence[MetricReader] = ()
    exporters: Sequence[MetricExporter] = ()


NO_PARTS = MetricParts()
