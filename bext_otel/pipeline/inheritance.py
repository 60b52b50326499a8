"""What `prometheus_client` had counted when this process was forked: that is the parent's, and is subtracted here.

Its values are copied by a fork, so without this the workers of a service would each count them once more. Read in the child, which has one
thread, and without a lock, since a thread of the parent may have held it at the fork. No collector of the application is asked, as that
would run its code in the middle of a fork: only the library's own counters, histograms and summaries, and what it tells of the garbage
collector, are known here.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from math import inf
from typing import Any, TypeAlias

from bext_otel.apps import clean
from bext_otel.pipeline.snapshot import Family, Histogram, LabelSet, Point, Summary

__all__ = ["bequeath", "has_forked", "inherit", "since_fork"]

_log = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, LabelSet]
Total: TypeAlias = "float | Histogram | Summary"

# By name of the family and labels.
_inherited: dict[Key, Total] = {}

_forked = False


def bequeath() -> None:
    """This process has forked a child."""
    global _forked
    _forked = True


def has_forked() -> bool:
    """Whether this process has forked a child, and may fork more."""
    return _forked


def inherit() -> None:
    """This process was forked just now, and has counted nothing yet. Takes 2 us for each series; nothing if nobody uses the library."""
    global _forked
    _forked = False
    _inherited.clear()
    registry = getattr(sys.modules.get("prometheus_client.registry"), "REGISTRY", None)
    if registry is None:
        return
    try:
        _inherited.update(_totals(registry))
    except Exception as error:  # the library is not what it was: its counts are shown as they are
        _log.warning("what prometheus_client had counted before a fork is not known, and counted again: %r", error)


def since_fork(families: Iterable[Family]) -> list[Family]:
    """The families, without what their series had counted before this process was forked."""
    return [_without(family) for family in families] if _inherited else list(families)


def _without(family: Family) -> Family:
    if family.type not in {"counter", "histogram", "summary"}:
        return family
    return replace(family, points=tuple(_since(family.name, point) for point in family.points))


def _since(name: str, point: Point) -> Point:
    key = (name, point.series.labels)
    before = _inherited.get(key)
    if before is None:
        return point
    value = _less(point.value, before)
    if value is None:  # it has begun anew: the application has reset or replaced it
        _inherited.pop(key, None)
        return point
    return replace(point, value=value)


def _less(value: Total, before: Total) -> Total | None:
    """What was counted since; None if that can't be, since there is less than before."""
    if isinstance(value, Histogram) and isinstance(before, Histogram) and value.bounds == before.bounds:
        counts = tuple(now - then for now, then in zip(value.counts, before.counts, strict=True))
        made = Histogram(value.bounds, counts, value.sum - before.sum, value.count - before.count)
        return made if min(counts) >= 0 else None
    if isinstance(value, Summary) and isinstance(before, Summary):
        return Summary(value.count - before.count, value.sum - before.sum, value.quantiles) if value.count >= before.count else None
    if isinstance(value, (int, float)) and isinstance(before, (int, float)):
        return value - before if value >= before else None
    return None


def _totals(registry: Any) -> Iterator[tuple[Key, Total]]:
    for collector in tuple(registry._collector_to_names):
        kind = type(collector)
        if kind.__module__ == "prometheus_client.gc_collector":
            for metric in collector.collect():
                for sample in metric.samples:
                    yield (sample.name, _labels(sample.labels)), sample.value
        elif (tell := _READ.get(getattr(collector, "_type", None) or "")) is not None and hasattr(collector, "_labelvalues"):
            suffix, total = tell
            children = collector._metrics.items() if collector._is_parent() else [((), collector)]
            for values, child in tuple(children):
                try:
                    found = total(child)
                except _SharedError:
                    continue
                yield (f"{collector._name}{suffix}", _labels(dict(zip(collector._labelnames, values, strict=True)))), found


def _labels(labels: Mapping[str, str]) -> LabelSet:
    return tuple((str(name), clean(value)) for name, value in labels.items())


class _SharedError(Exception):
    """A value that the library keeps in a file of each process (its multiprocess mode), where a child begins at nothing."""


def _value(value: Any) -> float:
    if getattr(value, "_multiprocess", False):
        raise _SharedError
    return float(value._value)


def _counter(metric: Any) -> float:
    return _value(metric._value)


def _summary(metric: Any) -> Summary:
    return Summary(int(_value(metric._count)), _value(metric._sum), ())


def _histogram(metric: Any) -> Histogram:
    counts = tuple(int(_value(bucket)) for bucket in metric._buckets)
    return Histogram(tuple(bound for bound in metric._upper_bounds if bound < inf), counts, _value(metric._sum), sum(counts))


_READ: Mapping[str, tuple[str, Callable[[Any], Total]]] = {
    "counter": ("_total", _counter),
    "summary": ("", _summary),
    "histogram": ("", _histogram),
}
