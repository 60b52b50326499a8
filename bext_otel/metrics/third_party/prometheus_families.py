"""A metric of `prometheus_client` as families of a snapshot.

How workers become one: a `Gauge` by its `multiprocess_mode`; an info metric and a state of an enumeration are
1 where they are in any worker; of what a collector of the application says that is no count the newest answer
holds, as they mostly look at one thing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, get_args

from bext_otel.apps import clean
from bext_otel.metrics.snapshot import (
    Exemplar,
    Family,
    FamilyType,
    GaugeMerge,
    Histogram,
    LabelSet,
    Point,
    Series,
    Summary,
)
from bext_otel.metrics.third_party.prometheus_forks import set_times

__all__ = ["families"]

_TYPES: Mapping[str, FamilyType] = {"gauge": "gauge", "info": "info", "stateset": "stateset"}
_MODES = frozenset(get_args(GaugeMerge))

# What the library tells of a process: each worker has its own.
_OF_PROCESS = {"prometheus_client.process_collector", "prometheus_client.platform_collector"}
_NOT_ADDED: Mapping[str, GaugeMerge] = {
    "process_max_fds": "livemax",
    "process_start_time_seconds": "livemin",
    "python_info": "livemax",
}

# What each of its types calls the sum and the count of a distribution.
_SUM_AND_COUNT = {
    "histogram": ("_sum", "_count"),
    "summary": ("_sum", "_count"),
    "gaugehistogram": ("_gsum", "_gcount"),
}


def _merge(collector: Any, name: str, kind: FamilyType) -> GaugeMerge:
    """How what this collector says becomes one value of several workers."""
    mode = getattr(collector, "_multiprocess_mode", None)
    if kind == "gauge" and isinstance(mode, str) and mode in _MODES:
        return mode  # type: ignore[return-value]  # one of the literals
    if type(collector).__module__ in _OF_PROCESS:
        return _NOT_ADDED.get(name, "livesum")
    return "livemax" if kind in {"info", "stateset"} else "livemostrecent"


def families(metric: Any, collector: Any, failed: Callable[[Exception], None]) -> Iterator[Family]:
    """One of its metrics as families, without the times at which series were created."""
    name = str(metric.name)
    told = [sample for sample in metric.samples if sample.name != f"{name}_created"]
    plain = partial(_plain, metric, collector, failed)
    if metric.type == "counter":
        total = f"{name}_total"
        yield from plain([sample for sample in told if sample.name == total], "counter")
        told = [sample for sample in told if sample.name != total]
    elif metric.type in _SUM_AND_COUNT:
        own = {f"{name}_bucket", name, *(f"{name}{suffix}" for suffix in _SUM_AND_COUNT[metric.type])}
        points = []
        for labels, samples in _grouped([sample for sample in told if sample.name in own]).items():
            try:
                points.append(_measured(metric.type, name, labels, samples))
            except Exception as error:  # a bound or a count that is no number
                failed(error)
        if points:
            yield _family(metric, collector, name, metric.type, points)
        told = [sample for sample in told if sample.name not in own]
    kind = _TYPES.get(metric.type, "unknown")
    if kind == "info":
        yield from plain([sample for sample in told if sample.name == f"{name}_info"], "info")
        told = [sample for sample in told if sample.name != f"{name}_info"]
        kind = "unknown"
    yield from plain(told, kind)


def _family(metric: Any, collector: Any, name: str, kind: FamilyType, points: Iterable[Point]) -> Family:
    unit = str(getattr(metric, "unit", "") or "")
    return Family(
        name, kind, str(metric.documentation), unit, tuple(points), merge=_merge(collector, name, kind)
    )


def _plain(
    metric: Any, collector: Any, failed: Callable[[Exception], None], samples: Iterable[Any], kind: FamilyType
) -> Iterator[Family]:
    """Samples whose value is a number: a family for each of their names."""
    by_name: dict[str, list[Point]] = {}
    recent = "mostrecent" in str(getattr(collector, "_multiprocess_mode", ""))
    times = set_times(collector) if recent else {}
    for sample in samples:
        try:
            labels, at = _labels(sample), _time(sample.timestamp)
            point = Point(
                Series(labels), sample.value, _exemplar(sample), time_unix=at, set_at=times.get(labels, 0.0)
            )
            by_name.setdefault(str(sample.name), []).append(point)
        except Exception as error:
            failed(error)
    for name, points in by_name.items():
        yield _family(metric, collector, name, kind, points)


def _grouped(samples: Iterable[Any]) -> dict[LabelSet, list[Any]]:
    found: dict[LabelSet, list[Any]] = {}
    for sample in samples:
        found.setdefault(_labels(sample, without=("le", "quantile")), []).append(sample)
    return found


def _measured(kind: str, name: str, labels: LabelSet, samples: Iterable[Any]) -> Point:
    buckets: list[tuple[float, float, Exemplar | None]] = []
    quantiles: list[tuple[float, float]] = []
    at, total, count = None, math.nan, 0
    sums, counts = _SUM_AND_COUNT[kind]
    for sample in samples:
        at = _time(sample.timestamp) or at
        if sample.name == f"{name}_bucket":
            buckets.append((_bound(sample.labels["le"]), sample.value, _exemplar(sample)))
        elif sample.name == f"{name}{sums}":
            total = sample.value
        elif sample.name == f"{name}{counts}":
            count = int(sample.value)
        elif "quantile" in sample.labels:
            quantiles.append((_bound(sample.labels["quantile"]), sample.value))
    if kind == "summary":
        return Point(Series(labels), Summary(count, total, tuple(quantiles)), time_unix=at)
    buckets.sort(key=lambda bucket: bucket[0])
    bounds = tuple(bound for bound, *_ in buckets if bound < math.inf)
    cumulative = [int(below) for _, below, _ in buckets]
    if len(buckets) == len(bounds):
        cumulative.append(count)
    each = tuple(after - before for before, after in zip((0, *cumulative), cumulative, strict=False))
    exemplars = tuple((position, found) for position, (*_, found) in enumerate(buckets) if found is not None)
    return Point(
        Series(labels), Histogram(bounds, each, total, cumulative[-1]), exemplars=exemplars, time_unix=at
    )


def _bound(text: Any) -> float:
    bound = float(text)
    if math.isnan(bound):
        raise ValueError(f"{text!r} is no number")
    return bound


def _time(told: Any) -> float | None:
    """Unix seconds that a sample has, if it has any."""
    if told is None:
        return None
    at = float(told)
    return at if math.isfinite(at) else None


def _labels(sample: Any, *, without: tuple[str, ...] = ()) -> LabelSet:
    return tuple(
        (str(name), clean(value, str(name))) for name, value in sample.labels.items() if name not in without
    )


def _exemplar(sample: Any) -> Exemplar | None:
    """Its exemplar, as the application gave it."""
    told = sample.exemplar
    if told is None:
        return None
    labels = tuple((str(name), str(value)) for name, value in told.labels.items())
    at = _time(told.timestamp)
    ids = dict(labels)
    return Exemplar(
        told.value, math.nan if at is None else at, ids.get("trace_id", ""), ids.get("span_id", ""), labels
    )
