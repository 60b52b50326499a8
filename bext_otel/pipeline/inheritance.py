"""What `prometheus_client` had counted when this process was forked: that is the parent's, and is subtracted here.

A parent that says nothing to the service, such as a server's master that has loaded the application, is spoken for by its children: they
all tell what it had counted, and whose that is, so that it counts once.

Its values are copied by a fork, so without this the workers of a service would each count them once more. Read in the child, which has one
thread, and without a lock, since a thread of the parent may have held it at the fork. No collector of the application is asked, as that
would run its code in the middle of a fork: only the library's own counters, histograms and summaries, and what it tells of the garbage
collector, are known here.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Any, TypeAlias

from bext_otel.apps import clean
from bext_otel.pipeline.snapshot import Family, FamilyType, Histogram, LabelSet, Point, Series, Summary

__all__ = ["bequeath", "has_forked", "inherit", "since_fork", "speak"]

_log = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, LabelSet]
Total: TypeAlias = "float | Histogram | Summary"

# By name of the family and labels.
_inherited: dict[Key, Total] = {}

# Which process this is, for good: process ids are used again.
_me = f"{os.getpid()}.{time.monotonic_ns()}"
_forked = False
_spoken = False
_spoken_for = False

# What ancestors had counted that have not spoken, by who they are; the first ancestors first.
_estate: list[tuple[str, list[Family]]] = []
_MOST_ANCESTORS = 8


def bequeath() -> None:
    """This process has forked a child."""
    global _forked, _spoken_for
    _forked = True
    _spoken_for = _spoken_for or not _spoken


def speak() -> tuple[list[str], list[tuple[str, list[Family]]]]:
    """This process tells what it has counted: who it is, if children may have told some of it before, and for whom else it speaks."""
    global _spoken
    _spoken = True
    return ([_me] if _spoken_for else []), _estate


def has_forked() -> bool:
    """Whether this process has forked a child, and may fork more."""
    return _forked


def inherit() -> None:
    """This process was forked just now, and has counted nothing yet. Takes 2 us for each series; nothing if nobody uses the library."""
    global _forked, _spoken, _spoken_for, _me
    parent, silent = _me, not _spoken
    _me = f"{os.getpid()}.{time.monotonic_ns()}"
    _forked = _spoken = _spoken_for = False
    earlier = dict(_inherited)
    _inherited.clear()
    if not silent:
        _estate.clear()
    registry = getattr(sys.modules.get("prometheus_client.registry"), "REGISTRY", None)
    if registry is None:
        return
    for collector in tuple(getattr(registry, "_collector_to_names", ())):
        try:
            _inherited.update(_totals(collector))
        except Exception as error:  # it is not what it was in the versions known here: its counts are shown as they are
            _log.warning("what %s had counted before a fork is not known, and counted again: %r", type(collector).__qualname__, error)
    left = {key: own for key, value in _inherited.items() if _some(own := _own(value, earlier.get(key)))}
    if silent and left:
        _estate.append((parent, _families(left)))
        del _estate[:-_MOST_ANCESTORS]


def since_fork(families: Iterable[Family]) -> list[Family]:
    """The families, without what their series had counted before this process was forked."""
    return [_without(family) for family in families] if _inherited else list(families)


def _own(value: Total, before: Total | None) -> Total:
    since = _less(value, before) if before is not None else None
    return value if since is None else since


def _some(value: Total) -> bool:
    return bool(value if isinstance(value, (int, float)) else value.count)


def _families(totals: Mapping[Key, Total]) -> list[Family]:
    points: dict[str, list[Point]] = {}
    for (name, labels), value in totals.items():
        points.setdefault(name, []).append(Point(Series(labels), value))
    return [Family(name, _kind(found[0].value), "", "", tuple(found)) for name, found in points.items()]


def _kind(value: Total) -> FamilyType:
    if isinstance(value, Histogram):
        return "histogram"
    return "summary" if isinstance(value, Summary) else "counter"


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


def _totals(collector: Any) -> Iterator[tuple[Key, Total]]:
    kind = type(collector)
    if kind.__module__ == "prometheus_client.gc_collector":
        for metric in collector.collect():
            for sample in metric.samples:
                yield (sample.name, _labels(sample.labels)), sample.value
        return
    known = _READ.get(getattr(collector, "_type", None) or "")
    if known is None or not hasattr(collector, "_labelvalues"):
        return
    suffix, total = known
    children = collector._metrics.items() if collector._is_parent() else [((), collector)]
    for values, child in tuple(children):
        with suppress(_SharedError):
            yield (f"{collector._name}{suffix}", _labels(dict(zip(collector._labelnames, values, strict=True)))), total(child)


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
