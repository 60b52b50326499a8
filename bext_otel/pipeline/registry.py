"""What other libraries register with `prometheus_client` itself: read from its registry into the same snapshot.

Its default collectors (`process_*`, `python_*`) are among them: whoever has imported the library is used to seeing them. A process in which
nobody has is left without: nothing here imports it.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from bext_otel.apps import clean
from bext_otel.pipeline.inheritance import has_forked, since_fork
from bext_otel.pipeline.snapshot import Exemplar, Family, FamilyType, Histogram, LabelSet, Point, Series, Summary

__all__ = ["names_of_others", "registered", "watched", "within_reading"]

_log = logging.getLogger(__name__)

# True while the registry is read from here: our own collector, which is in it, then has nothing to say. A context variable is right for
# threads, tasks and greenlets alike.
_reading: ContextVar[bool] = ContextVar("bext_otel_reading_registry", default=False)

_names: frozenset[tuple[str, str]] = frozenset()
_failing = ""

# Those that are there as soon as the library is imported, and ours.
_NOT_WATCHED = {
    "prometheus_client.process_collector",
    "prometheus_client.platform_collector",
    "prometheus_client.gc_collector",
    "bext_otel.faces.collector",
}

_TYPES: Mapping[str, FamilyType] = {"gauge": "gauge", "info": "gauge", "stateset": "gauge"}


def within_reading() -> bool:
    """Whether the registry is being read for a snapshot."""
    return _reading.get()


def names_of_others() -> frozenset[tuple[str, str]]:
    """Name and type, as the library has them, of all that the registry showed when it was read last, without ours."""
    return _names


def watched() -> bool:
    """Whether somebody may count with the library, which tells nobody of it: then it is worth looking again and again.

    Not in a process that forks: a child forked while we look would inherit a lock of the library's that nobody gives back.
    """
    registry = getattr(sys.modules.get("prometheus_client.registry"), "REGISTRY", None)
    if registry is None or has_forked():
        return False
    # A tuple of all at once: others may register meanwhile.
    return any(type(collector).__module__ not in _NOT_WATCHED for collector in tuple(getattr(registry, "_collector_to_names", ())))


def registered() -> list[Family]:
    """What is in `prometheus_client.REGISTRY` now, but for our own metrics; nothing if nobody has imported the library.

    A forked child counts from the fork, as far as the library itself does the counting.
    Calls collectors of the application, so no lock may be held. What one of them fails to tell is left out, with all that comes after it,
    and told in the log once.
    """
    global _names, _failing
    registry = getattr(sys.modules.get("prometheus_client.registry"), "REGISTRY", None)
    if registry is None:
        return []
    found: list[Family] = []
    names: set[tuple[str, str]] = set()
    token = _reading.set(True)
    try:
        for metric in registry.collect():
            names.add((str(metric.name), str(metric.type)))
            found.extend(_families(metric))
        _failing = ""
    except Exception as error:  # a collector of the application is broken: the others are still worth showing
        if type(error).__name__ != _failing:
            _failing = type(error).__name__
            _log.warning("prometheus_client's registry could not be read to its end: %r", error)
    finally:
        _reading.reset(token)
    _names = frozenset(names)
    return since_fork(found)


def _families(metric: Any) -> Iterator[Family]:
    """One of its metrics as families, without the times at which series were created."""
    name, text = str(metric.name), str(metric.documentation)
    told = [sample for sample in metric.samples if sample.name != f"{name}_created"]
    if metric.type == "counter":
        total = f"{name}_total"
        yield from _plain(metric, [sample for sample in told if sample.name == total], "counter")
        told = [sample for sample in told if sample.name != total]
    elif metric.type in {"histogram", "summary"}:
        own = {f"{name}_bucket", f"{name}_sum", f"{name}_count", name}
        grouped = _grouped([sample for sample in told if sample.name in own])
        points = [_measured(metric.type, name, labels, samples) for labels, samples in grouped.items()]
        if points:
            yield Family(name, metric.type, text, "", tuple(points))
        told = [sample for sample in told if sample.name not in own]
    yield from _plain(metric, told, _TYPES.get(metric.type, "unknown"))


def _plain(metric: Any, samples: Iterable[Any], kind: FamilyType) -> Iterator[Family]:
    """Samples whose value is a number: a family for each of their names."""
    by_name: dict[str, list[Point]] = {}
    for sample in samples:
        by_name.setdefault(str(sample.name), []).append(Point(Series(_labels(sample)), sample.value, _exemplar(sample)))
    for name, points in by_name.items():
        yield Family(name, kind, str(metric.documentation), "", tuple(points))


def _grouped(samples: Iterable[Any]) -> dict[LabelSet, list[Any]]:
    found: dict[LabelSet, list[Any]] = {}
    for sample in samples:
        found.setdefault(_labels(sample, without=("le", "quantile")), []).append(sample)
    return found


def _measured(kind: str, name: str, labels: LabelSet, samples: Iterable[Any]) -> Point:
    buckets: list[tuple[float, float]] = []
    quantiles: list[tuple[float, float]] = []
    exemplar, total, count = None, math.nan, 0
    for sample in samples:
        if sample.name == f"{name}_bucket":
            buckets.append((float(sample.labels["le"]), sample.value))
            exemplar = exemplar or _exemplar(sample)
        elif sample.name == f"{name}_sum":
            total = sample.value
        elif sample.name == f"{name}_count":
            count = int(sample.value)
        elif "quantile" in sample.labels:
            quantiles.append((float(sample.labels["quantile"]), sample.value))
    if kind == "summary":
        return Point(Series(labels), Summary(count, total, tuple(quantiles)))
    buckets.sort()
    bounds = tuple(bound for bound, _ in buckets if bound < math.inf)
    cumulative = [int(below) for _, below in buckets] if len(buckets) > len(bounds) else [*(int(below) for _, below in buckets), count]
    counts = tuple(after - before for before, after in zip((0, *cumulative), cumulative, strict=False))
    return Point(Series(labels), Histogram(bounds, counts, total, cumulative[-1]), exemplar)


def _labels(sample: Any, *, without: tuple[str, ...] = ()) -> LabelSet:
    return tuple((str(name), clean(value)) for name, value in sample.labels.items() if name not in without)


def _exemplar(sample: Any) -> Exemplar | None:
    """Its exemplar, if that is a trace's."""
    told = sample.exemplar
    if told is None or not told.labels.get("trace_id"):
        return None
    ids = told.labels
    return Exemplar(told.value, told.timestamp or math.nan, ids["trace_id"], ids.get("span_id", ""))
