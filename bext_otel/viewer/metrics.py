"""Metrics, held by name and series."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.points import Kind, Labels, points
from bext_otel.viewer.series import StoredSeries
from bext_otel.viewer.values import attributes, shortened

__all__ = ["MetricStore", "SeriesKey", "Source", "StoredMetric"]

Source = tuple[str, str]
"""Who sent: service name and instance id."""

SeriesKey = tuple[str, Source, Labels]
"""A series: metric name, who sent it, labels."""


class StoredMetric:
    """A metric: its name, kind, unit and description, and its series by sender and labels."""

    __slots__ = ("description", "kind", "name", "series", "unit")

    def __init__(self, name: str, kind: Kind, unit: str, description: str) -> None:
        self.name = name
        self.kind = kind
        self.unit = unit
        self.description = description
        self.series: dict[SeriesKey, StoredSeries] = {}


class MetricStore:
    """A bounded set of series, each a ring of points. Not locked: its owner is."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.families: dict[str, StoredMetric] = {}
        # Least recently updated first, so that the series to let go of is always the first.
        self._recent: OrderedDict[SeriesKey, StoredMetric] = OrderedDict()
        self._sources: OrderedDict[Source, int] = OrderedDict()
        self.received = 0
        self.dropped = 0
        self.dropped_series = 0

    def add(self, request: ExportMetricsServiceRequest) -> int:
        """Take a batch; returns how many of its points had to be refused, because they can't be used."""
        refused = 0
        for resource in request.resource_metrics:
            source = _source(resource.resource, self._limits.text)
            newest = 0
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    bad, time_ns = self._add_metric(metric, source)
                    refused += bad
                    newest = max(newest, time_ns)
            self._saw(source, newest)
        return refused

    def __len__(self) -> int:
        return len(self._recent)

    def sources(self) -> Iterable[Source]:
        """Who has sent, as far as remembered."""
        return self._sources

    def _add_metric(self, metric: metrics_pb2.Metric, source: Source) -> tuple[int, int]:
        """Returns how many points were refused, and the newest point's time."""
        refused = newest = 0
        name = shortened(metric.name, self._limits.text)
        for point in points(metric, self._limits):
            self.received += 1
            if point is None or not name:
                refused += 1
                continue
            family = self._family(metric, name, point.kind)
            series = self._series(family, (name, source, point.labels))
            if (
                not series.add(point, source_last_ns=self._sources.get(source, 0))
                and point.time_ns < series.last_ns
            ):
                # Older than what is shown. One that came twice is no loss.
                self.dropped += 1
            newest = max(newest, point.time_ns)
        return refused, newest

    def _family(self, metric: metrics_pb2.Metric, name: str, kind: Kind) -> StoredMetric:
        family = self.families.get(name)
        if family is not None and family.kind != kind:
            # Series of another kind can't share a chart: the newest kind wins.
            for key in family.series:
                del self._recent[key]
            family = None
        if family is None:
            limit = self._limits.text
            family = self.families[name] = StoredMetric(
                name, kind, shortened(metric.unit, 64), shortened(metric.description, limit)
            )
        return family

    def _series(self, family: StoredMetric, key: SeriesKey) -> StoredSeries:
        series = family.series.get(key)
        if series is None:
            series = family.series[key] = StoredSeries(self._limits.points)
        self._recent[key] = family
        self._recent.move_to_end(key)
        while len(self._recent) > self._limits.series:
            gone, owner = self._recent.popitem(last=False)
            del owner.series[gone]
            self.dropped_series += 1
            if not owner.series:
                del self.families[owner.name]
        return series

    def _saw(self, source: Source, time_ns: int) -> None:
        self._sources[source] = max(time_ns, self._sources.get(source, 0))
        self._sources.move_to_end(source)
        while len(self._sources) > self._limits.series:
            self._sources.popitem(last=False)


def _source(resource: Resource, limit: int) -> Source:
    held = attributes(resource.attributes, limit)
    return str(held.get("service.name", "")), str(held.get("service.instance.id", ""))
