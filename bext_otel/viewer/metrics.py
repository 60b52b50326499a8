"""Metrics, held by name and series."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterable

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.points import DataPoint, Kind, Labels, label_bytes, points
from bext_otel.viewer.series import StoredSeries
from bext_otel.viewer.values import instance_of, service_of, shortened

__all__ = ["MetricStore", "SeriesKey", "Source", "StoredMetric"]

Source = tuple[str, str]
"""Who sent: service name and instance id."""

SeriesKey = tuple[str, Source, Labels]
"""A series: metric name, who sent it, labels."""

# What a series takes in the mappings that hold it.
_ENTRY_BYTES = 400


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
        self.size = 0
        self.received = 0
        self.dropped = 0
        self.dropped_series = 0

    def add(self, request: ExportMetricsServiceRequest, heard: dict[Source, int] | None = None) -> int:
        """Take a batch; returns how many of its points had to be refused, because they can't be used.

        `heard` is given where a batch comes in several parts, the same mapping to each: it keeps when its
        senders had last been heard of before it.
        """
        refused = 0
        heard = {} if heard is None else heard
        for resource in request.resource_metrics:
            source = service_of(resource.resource, self._limits), instance_of(resource.resource, self._limits)
            heard.setdefault(source, self._sources.get(source, 0))
            newest = 0
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    bad, time_ns = self._add_metric(metric, source, heard[source])
                    refused += bad
                    newest = max(newest, time_ns)
            self._saw(source, newest)
        return refused

    def __len__(self) -> int:
        return len(self._recent)

    def sources(self) -> Iterable[Source]:
        """Who has sent, as far as remembered."""
        return self._sources

    def _add_metric(self, metric: metrics_pb2.Metric, source: Source, source_last_ns: int) -> tuple[int, int]:
        """Returns how many points were refused, and the newest point's time."""
        refused = newest = 0
        name = shortened(metric.name, self._limits.name)
        for point in points(metric, self._limits):
            self.received += 1
            if point is None or not name:
                refused += 1
                continue
            family = self._family(metric, name, point.kind)
            self._put(point, family, (name, source, point.labels), source_last_ns)
            newest = max(newest, point.time_ns)
        return refused, newest

    def _put(self, point: DataPoint, family: StoredMetric, key: SeriesKey, source_last_ns: int) -> None:
        series = family.series.get(key)
        if series is None:
            series = family.series[key] = StoredSeries(self._limits.points)
            self.size += _own_bytes(family, key) + series.spent
        self._recent[key] = family
        self._recent.move_to_end(key)
        before = series.spent
        if series.add(point, source_last_ns=source_last_ns):
            self.size += series.spent - before
        elif point.time_ns < series.last_ns:
            # Older than what is shown. One that came twice is no loss.
            self.dropped += 1
        self._make_room()

    def _make_room(self) -> None:
        while len(self._recent) > self._limits.series or (
            self.size > self._limits.metric_bytes and len(self._recent) > 1
        ):
            gone, owner = self._recent.popitem(last=False)
            self._forget(owner, gone)
            self.dropped_series += 1
            if not owner.series:
                del self.families[owner.name]

    def _forget(self, family: StoredMetric, key: SeriesKey) -> None:
        self.size -= _own_bytes(family, key) + family.series.pop(key).spent

    def _family(self, metric: metrics_pb2.Metric, name: str, kind: Kind) -> StoredMetric:
        family = self.families.get(name)
        if family is not None and family.kind != kind:
            # Series of another kind can't share a chart: the newest kind wins.
            for key in list(family.series):
                del self._recent[key]
                self._forget(family, key)
            family = None
        if family is None:
            description = shortened(metric.description, self._limits.name)
            family = self.families[name] = StoredMetric(name, kind, shortened(metric.unit, 64), description)
        return family

    def _saw(self, source: Source, time_ns: int) -> None:
        self._sources[source] = max(time_ns, self._sources.get(source, 0))
        self._sources.move_to_end(source)
        while len(self._sources) > self._limits.series:
            self._sources.popitem(last=False)


def _own_bytes(family: StoredMetric, key: SeriesKey) -> int:
    """What a series takes in memory besides its points, in bytes; its metric and its sender counted for each,
    as it may be the only one of them."""
    name, source, labels = key
    texts = (name, *source, family.unit, family.description)
    return _ENTRY_BYTES + sum(map(sys.getsizeof, texts)) + label_bytes(labels)
