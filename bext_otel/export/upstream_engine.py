"""`engine = "upstream"`: the SDK's own meter provider and Prometheus reader, read through the same faces.

The way out if our engine ever fails somebody, the oracle of the tests and the peer of the benchmarks. It
knows this process only, has no quantiles and no rates, and appends `_total` to every counter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import Metric as PrometheusFamily

from bext_otel.catalogue import METRICS, Metric
from bext_otel.declarations import rows
from bext_otel.export.delivery import Delivery
from bext_otel.export.otlp import CountedMetricExporter
from bext_otel.metrics.snapshot import Family, FamilyType, Histogram, LabelSet, Point, Series, Snapshot
from bext_otel.metrics.usage import ProcessUsage

__all__ = ["UpstreamReader", "build_upstream"]


def build_upstream(
    resource: Resource,
    exporters: Sequence[tuple[MetricExporter, Delivery]],
    interval_seconds: float,
    shown: Mapping[str, str],
    telemetry: Callable[[], Mapping[str, int | float | str]],
    views: Sequence[View] = (),
    others: Sequence[MetricReader] = (),
) -> tuple[MeterProvider, UpstreamReader]:
    """The SDK's provider with the catalogue as views, and what reads its Prometheus registry; `views` and
    `others`, readers, are the application's."""
    readers: list[MetricReader] = [_prometheus_reader(), *others]
    readers += [
        PeriodicExportingMetricReader(
            CountedMetricExporter(exporter, delivery), export_interval_millis=interval_seconds * 1e3
        )
        for exporter, delivery in exporters
    ]
    provider = MeterProvider(
        readers, resource, shutdown_on_exit=False, views=[*[_view(row) for row in METRICS], *views]
    )
    return provider, UpstreamReader(REGISTRY, shown, telemetry)


def _prometheus_reader() -> MetricReader:
    """Without labels that tell the scope; older ones have none."""
    if "scope_info_enabled" in signature(PrometheusMetricReader).parameters:
        return PrometheusMetricReader(scope_info_enabled=False)
    return PrometheusMetricReader()


def _view(row: Metric) -> View:
    # Instruments come without a unit here, so the name has to carry it; the reader appends `_total` by
    # itself.
    return View(
        instrument_name=row.name,
        name=row.exported.removesuffix("_total"),
        attribute_keys=set(row.label_names),
    )


class UpstreamReader:
    """Snapshots of a Prometheus registry."""

    def __init__(
        self,
        registry: CollectorRegistry,
        resource: Mapping[str, str],
        telemetry: Callable[[], Mapping[str, int | float | str]],
    ) -> None:
        self._registry = registry
        self._resource = resource
        self._telemetry = telemetry
        self._started_unix, self._started = time.time(), time.monotonic()
        self._system = ProcessUsage()

    def snapshot(self) -> Snapshot:
        """A fresh picture of this process."""
        known = {row.exported: row for row in rows()}
        return Snapshot(
            time_unix=time.time(),
            started_unix=self._started_unix,
            uptime_seconds=time.monotonic() - self._started,
            families=tuple(
                _family(family, known) for family in self._registry.collect() if _is_shown(family)
            ),
            system=self._system.figures(),
            telemetry=self._telemetry(),
            resource=self._resource,
        )


def _is_shown(family: PrometheusFamily) -> bool:
    """Not what is empty, nor what tells of the resource, which every page of ours does by itself."""
    return bool(family.samples) and family.type != "info"


_TYPES: Mapping[str, FamilyType] = {"counter": "counter", "gauge": "gauge", "histogram": "histogram"}


def _family(family: PrometheusFamily, rows: Mapping[str, Metric]) -> Family:
    kind = _TYPES.get(family.type, "unknown")
    name = f"{family.name}_total" if kind == "counter" else family.name
    points = _histograms(family) if kind == "histogram" else _numbers(family, name)
    return Family(name, kind, family.documentation, "", tuple(points), rows.get(name))


def _labels(labels: Mapping[str, str]) -> LabelSet:
    return tuple((name, value) for name, value in labels.items() if name != "le")


def _numbers(family: PrometheusFamily, name: str) -> Iterable[Point]:
    return [
        Point(Series(_labels(sample.labels)), sample.value)
        for sample in family.samples
        if sample.name == name
    ]


def _histograms(family: PrometheusFamily) -> Iterable[Point]:
    buckets: dict[LabelSet, list[tuple[float, float]]] = {}
    sums: dict[LabelSet, float] = {}
    for sample in family.samples:
        labels = _labels(sample.labels)
        if sample.name.endswith("_bucket"):
            buckets.setdefault(labels, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_sum"):
            sums[labels] = sample.value
    for labels, cumulative in buckets.items():
        bounds = tuple(bound for bound, _ in cumulative if bound < math.inf)
        totals = [int(total) for _, total in cumulative]
        counts = tuple(after - before for before, after in zip((0, *totals), totals, strict=False))
        yield Point(Series(labels), Histogram(bounds, counts, sums.get(labels, 0.0), totals[-1]))
