"""What an application brings for its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.metrics.view import View

from bext_otel.errors import ConfigError

__all__ = ["NO_PARTS", "MetricParts"]


@dataclass(frozen=True)
class MetricParts:
    """The SDK's own: views, and readers that get every metric. Raises ConfigError for what is neither."""

    views: Sequence[View] = ()
    readers: Sequence[MetricReader] = ()

    def __post_init__(self) -> None:
        for name, given, kind in (
            ("views", self.views, View),
            ("metric_readers", self.readers, MetricReader),
        ):
            for each in given:
                if not isinstance(each, kind):
                    raise ConfigError(
                        f"{name}: {each!r} is no {kind.__module__.split('._')[0]}.{kind.__name__}"
                    )


NO_PARTS = MetricParts()
