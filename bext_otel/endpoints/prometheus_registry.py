"""Our metrics in `prometheus_client`'s own registry, so that a `/metrics` that an application has of its own
shows them as well."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import accumulate
from math import isfinite
from typing import Any

from bext_otel.endpoints.formats import naming, samples
from bext_otel.endpoints.formats.naming import Head
from bext_otel.metrics.snapshot import (
    Distribution,
    Exemplar,
    Family,
    Histogram,
    LabelSet,
    Snapshot,
    Summary,
    legal_labels,
)
from bext_otel.metrics.third_party.name_conflicts import log_left_out
from bext_otel.metrics.third_party.prometheus_client import names_of_others, within_reading
from bext_otel.process import on_import

__all__ = ["Collector", "expose"]

_log = logging.getLogger(__name__)


def expose(read: Callable[[], Snapshot]) -> Callable[[], None]:
    """Register a collector as soon as somebody imports `prometheus_client`, or now if somebody has; call the
    answer to undo it."""
    collector = Collector(read)
    undoing = ExitStack()
    undoing.callback(collector.close)
    undoing.callback(on_import("prometheus_client", collector.register))
    return undoing.close


class Collector:
    """What `prometheus_client` asks: our families as its own, but for those whose names the registry has
    already."""

    def __init__(self, read: Callable[[], Snapshot]) -> None:
        self._read = read
        self._registry: Any = None
        self._closed = False

    def register(self, library: Any) -> None:
        """Join the registry of the library, which was just imported."""
        if not self._closed:
            self._registry = library.REGISTRY
            self._registry.register(self)

    def close(self) -> None:
        """Leave the registry, and never join it."""
        self._closed = True
        registry, self._registry = self._registry, None
        if registry is not None:
            try:
                registry.unregister(self)
            except KeyError:  # the application has cleared its registry
                _log.debug("our collector had left prometheus_client's registry already")

    def describe(self) -> list[Any]:
        """Nothing is promised: the registry would otherwise collect everything when we join it."""
        return []

    def collect(self) -> Iterator[Any]:
        """Our families; none while the registry is read for a snapshot of ours. Never raises: it is the
        application's own page."""
        if self._closed or within_reading():
            return
        try:
            snapshot = self._read()
            others = frozenset[str]().union(
                *(naming.occupied(name, kind) for name, kind in names_of_others())
            )
            made = [
                _metric(family, head)
                for family, head in naming.headed(snapshot, openmetrics=True)
                if _fits(family, head, others)
            ]
        except Exception as error:
            _log.warning("our metrics are left out of prometheus_client's registry: %r", error)
            return
        yield from made


def _fits(family: Family, head: Head, others: frozenset[str]) -> bool:
    """Whether a family has names of its own. The registry is the application's: what others have in it stays
    theirs."""
    clashing = head.names & others
    if clashing and (
        family.metric is not None or head.sample not in others
    ):  # any other is most likely the registry's own
        log_left_out(family.name, of="prometheus_client's registry", holder=f"one that shows {min(clashing)}")
    return not (head.left_out or clashing)


def _metric(family: Family, head: Head) -> Any:
    from prometheus_client.core import Metric
    from prometheus_client.samples import Sample

    metric = Metric(head.name, family.description or head.name, head.type)
    seen: set[LabelSet] = set()
    for point in family.points:
        labels = legal_labels(point.series.labels)
        key = tuple(sorted(labels.items()))
        if key in seen:
            continue
        seen.add(key)
        exemplars = (
            {0: point.exemplar}
            if head.type == "counter" and point.exemplar is not None
            else samples.by_bucket(point)
        )
        metric.samples += [
            Sample(name, {**labels, **more}, value, point.time_unix, _exemplar(exemplars.get(position)))
            for position, (name, more, value) in enumerate(
                _samples(head.sample, point.value, gauge=head.type == "gaugehistogram")
            )
        ]
    return metric


def _samples(
    name: str, value: float | Distribution | Histogram | Summary, *, gauge: bool
) -> Iterable[tuple[str, dict[str, str], float]]:
    if isinstance(value, (Distribution, Summary)):
        quantiles = [(name, {"quantile": str(quantile)}, found) for quantile, found in value.quantiles()]
        return [*quantiles, (f"{name}_count", {}, value.count), (f"{name}_sum", {}, value.sum)]
    if isinstance(value, Histogram):
        limits = [*[str(float(bound)) for bound in value.bounds], "+Inf"]
        buckets = [
            (f"{name}_bucket", {"le": limit}, total)
            for limit, total in zip(limits, accumulate(value.counts), strict=True)
        ]
        own = f"{name}_g" if gauge else f"{name}_"
        return [*buckets, (f"{own}count", {}, value.count), (f"{own}sum", {}, value.sum)]
    return [(name, {}, value)]


def _exemplar(exemplar: Exemplar | None) -> Any:
    from prometheus_client.samples import Exemplar as TheirExemplar

    labels = samples.labels_of(exemplar) if exemplar is not None else ()
    if exemplar is None or not labels:
        return None
    return TheirExemplar(
        dict(labels), exemplar.value, exemplar.time_unix if isfinite(exemplar.time_unix) else None
    )
