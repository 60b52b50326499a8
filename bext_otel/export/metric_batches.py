"""Metrics of one moment, cut into requests of a limited size (specification, metrics SDK,
`maxExportBatchSize`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import MetricsData

__all__ = ["batches_of"]


def batches_of(told: MetricsData, size: int) -> Iterator[MetricsData]:
    """The data in parts of at most `size` data points, or whole where `size` is 0; none where there are no
    points. The points are the same objects; a metric whose points do not fit is in several parts."""
    metrics = [
        (resource, scope, metric)
        for resource in told.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    points = sum(len(metric.data.data_points) for _, _, metric in metrics)
    if not points:
        return
    if not size or points <= size:
        yield told
        return
    batch, room = _Batch(), size
    for resource, scope, metric in metrics:
        left = list(metric.data.data_points)
        while left:
            part, left = left[:room], left[room:]
            batch.add(resource, scope, _with(metric, part))
            room -= len(part)
            if not room:
                yield batch.data()
                batch, room = _Batch(), size
    if room < size:
        yield batch.data()


def _with(metric: sdk.Metric, points: list[Any]) -> sdk.Metric:
    data: Any = metric.data
    return replace(metric, data=replace(data, data_points=points))


class _Batch:
    """Metrics by their resource and scope, in the order in which they came."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[sdk.ResourceMetrics, dict[int, sdk.ScopeMetrics]]] = {}

    def add(self, resource: sdk.ResourceMetrics, scope: sdk.ScopeMetrics, metric: sdk.Metric) -> None:
        _, scopes = self._found.setdefault(id(resource), (resource, {}))
        held = scopes.setdefault(id(scope), replace(scope, metrics=[]))
        held.metrics.append(metric)  # type: ignore[attr-defined]  # the list of the line above

    def data(self) -> MetricsData:
        return MetricsData(
            [
                replace(resource, scope_metrics=list(scopes.values()))
                for resource, scopes in self._found.values()
            ]
        )
