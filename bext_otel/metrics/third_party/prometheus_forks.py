"""What a fork copies of `prometheus_client`: its counts are the parent's, and are subtracted in the child;
its gauges are the child's too.

A parent that has told the service nothing by then, such as a server's master that has loaded the application,
tells what it has counted when it forks (`counted`). Read in the process itself and without a lock, since a
thread of the parent may have held it at the fork. No collector of the application is asked, as that would run
its code in the middle of a fork: only the library's own counters, gauges, histograms and summaries, and what
it tells of the garbage collector, are known here.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Any, TypeAlias

from bext_otel.apps import clean
from bext_otel.metrics.snapshot import (
    BORN_WITH,
    FORKED_SINCE,
    Family,
    FamilyType,
    Histogram,
    LabelSet,
    Point,
    Series,
    Summary,
)
from bext_otel.metrics.values import minus

__all__ = ["counted", "forked_child", "has_forked", "set_times", "since_fork", "take_baseline"]

_log = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, LabelSet]
Total: TypeAlias = "float | Histogram | Summary"

# By name of the family and labels: totals at this process's birth, gauges at its birth, and gauges when it
# forked last.
_inherited: dict[Key, Total] = {}
_born_with: dict[Key, float] = {}
_bequeathed: dict[Key, float] = {}
_forked = False


def forked_child() -> None:
    """This process has forked a child, whose gauges are what they are here now."""
    global _forked
    _forked = True
    _bequeathed.clear()
    _bequeathed.update(_all(_gauges))


def has_forked() -> bool:
    """Whether this process has forked a child, and may fork more."""
    return _forked


def take_baseline() -> None:
    """This process was forked just now, and has counted nothing yet. Takes 2 us for each series; nothing if
    nobody uses the library."""
    global _forked
    _forked = False
    for held, read in ((_inherited, _totals), (_born_with, _gauges)):
        held.clear()
        held.update(_all(read))
    _bequeathed.clear()


def counted() -> list[Family]:
    """What the library's own counters, histograms and summaries have counted in this process."""
    return since_fork(
        _families({key: value for key, value in _all(_totals).items() if not key[0].startswith("python_")})
    )


def since_fork(families: Iterable[Family]) -> list[Family]:
    """The families, without what their series had counted before this process was forked, and with gauges
    that a fork has copied marked."""
    return [_without(family) for family in families]


def set_times(gauge: Any) -> dict[LabelSet, float]:
    """When a gauge of the library's was set last (Unix seconds), by labels, as far as that was seen
    (`hearing.py`)."""
    found: dict[LabelSet, float] = {}
    for labels, child in _children(gauge):
        if (at := getattr(getattr(child, "_value", None), "bext_set_at", None)) is not None:
            found[labels] = at
    return found


def _all(read: Callable[[Any], Iterator[tuple[Key, Any]]]) -> dict[Key, Any]:
    registry = getattr(sys.modules.get("prometheus_client.registry"), "REGISTRY", None)
    found: dict[Key, Any] = {}
    for collector in tuple(getattr(registry, "_collector_to_names", None) or ()):
        try:
            found.update(read(collector))
        except Exception as error:
            # It is not what it was in the versions known here: its counts are shown as they are.
            _log.warning(
                "what %s had counted before a fork is not known, and counted again: %r",
                type(collector).__qualname__,
                error,
            )
    return found


def _families(totals: Mapping[Key, Total]) -> list[Family]:
    points: dict[str, list[Point]] = {}
    for (name, labels), value in totals.items():
        points.setdefault(name, []).append(Point(Series(labels), value))
    return [Family(name, _kind(found[0].value), "", "", tuple(found)) for name, found in points.items()]


def _kind(value: object) -> FamilyType:
    if isinstance(value, Histogram):
        return "histogram"
    return "summary" if isinstance(value, Summary) else "counter"


def _without(family: Family) -> Family:
    if family.type == "gauge" and (_born_with or _bequeathed):
        return replace(family, points=tuple(_marked(family.name, point) for point in family.points))
    if family.type not in {"counter", "histogram", "summary"} or not _inherited:
        return family
    return replace(family, points=tuple(_since(family.name, point) for point in family.points))


def _marked(name: str, point: Point) -> Point:
    key = (name, point.series.labels)
    copied = 0
    for held, mark in ((_born_with, BORN_WITH), (_bequeathed, FORKED_SINCE)):
        if key in held:
            if held[key] == point.value:
                copied |= mark
            else:  # it has moved on: it is this process's own from now on, also if it returns to what it was
                del held[key]
    return replace(point, copied=copied) if copied else point


def _since(name: str, point: Point) -> Point:
    key = (name, point.series.labels)
    before = _inherited.get(key)
    if before is None:
        return point
    value = minus(point.value, before)
    if value is None:  # it has begun anew: the application has reset or replaced it
        _inherited.pop(key, None)
        return point
    return replace(point, value=value)


def _children(collector: Any) -> Iterator[tuple[LabelSet, Any]]:
    """The series of one of the library's own metrics, by labels."""
    if hasattr(collector, "_labelvalues"):
        children = collector._metrics.items() if collector._is_parent() else [((), collector)]
        for values, child in tuple(children):
            yield _labels(dict(zip(collector._labelnames, values, strict=True))), child


def _totals(collector: Any) -> Iterator[tuple[Key, Total]]:
    if type(collector).__module__ == "prometheus_client.gc_collector":
        for metric in collector.collect():
            for sample in metric.samples:
                yield (sample.name, _labels(sample.labels)), sample.value
        return
    known = _READ.get(getattr(collector, "_type", None) or "")
    if known is None:
        return
    suffix, total = known
    for labels, child in _children(collector):
        with suppress(_SharedError):
            yield (f"{collector._name}{suffix}", labels), total(child)


def _gauges(collector: Any) -> Iterator[tuple[Key, float]]:
    if getattr(collector, "_type", None) != "gauge":
        return
    for labels, child in _children(collector):
        if "_child_samples" not in vars(
            child
        ):  # as after `set_function`: what that says is each process's own
            with suppress(_SharedError):
                yield (collector._name, labels), _value(child._value)


def _labels(labels: Mapping[str, str]) -> LabelSet:
    return tuple((str(name), clean(value)) for name, value in labels.items())


class _SharedError(Exception):
    """A value that the library keeps in a file of each process (its multiprocess mode), where a child begins
    at nothing."""


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
    return Histogram(
        tuple(bound for bound in metric._upper_bounds if bound < inf),
        counts,
        _value(metric._sum),
        sum(counts),
    )


_READ: Mapping[str, tuple[str, Callable[[Any], Total]]] = {
    "counter": ("_total", _counter),
    "summary": ("", _summary),
    "histogram": ("", _histogram),
}
