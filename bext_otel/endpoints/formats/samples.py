"""Sample lines of Prometheus text: what stands before a value is computed once for each series, values each
time.

The work for one sample is done by C code over whole columns (`map`, `join`, `replace`), since 100,000 calls
of a Python function would cost more than all the rest of a scrape.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import isfinite, isnan
from typing import Any, TypeAlias, TypeVar, cast

from bext_otel.metrics.pacing import AT_ONCE
from bext_otel.metrics.snapshot import (
    Distribution,
    Exemplar,
    Histogram,
    Numbers,
    Point,
    Series,
    Summary,
    escape,
    legal_labels,
)
from bext_otel.metrics.values import Quantiles, merged

__all__ = [
    "AT_ONCE",
    "QUANTILES_AT_ONCE",
    "Exemplars",
    "Times",
    "by_bucket",
    "cached",
    "columns",
    "distinct",
    "heads",
    "histograms",
    "labels_of",
    "lines",
    "non_negative",
    "numbers",
    "slices",
    "summaries",
    "times",
]

QUANTILES_AT_ONCE = AT_ONCE // 20
"""Points whose quantiles are computed between two pauses."""

T = TypeVar("T")
K = TypeVar("K")

Exemplars: TypeAlias = Mapping[int, Exemplar]
"""Position of a sample -> its exemplar."""

Times: TypeAlias = Mapping[int, float]
"""Position of a sample -> the time (Unix seconds) that its collector gave it."""

_ID = re.compile("[0-9a-f]{1,32}")  # W3C trace context

# Characters that OpenMetrics allows an exemplar's labels, names and values together.
_MOST_CHARACTERS = 128


def slices(points: Sequence[Point], size: int = AT_ONCE) -> Iterator[Sequence[Point]]:
    """Points, `size` at a time, columns staying columns."""
    for start in range(0, len(points), size):
        end = start + size
        if isinstance(points, Numbers):
            yield Numbers(
                points.series[start:end], points.values[start:end], _within(points.exemplars, start, end)
            )
        else:
            yield points[start:end]


def _within(held: Mapping[int, T], start: int, end: int) -> dict[int, T]:
    """Those of some positions, counted from there."""
    return (
        {position - start: held[position] for position in range(start, end) if position in held}
        if held
        else {}
    )


def lines(
    heads: Sequence[str],
    values: Sequence[float],
    exemplars: Exemplars | None = None,
    times: Times | None = None,
    *,
    openmetrics: bool = True,
) -> Iterator[str]:
    """One line for each value, a thousand at a time.

    A line is a head, which is what stands before the value (`name{labels} `), and the value; whole numbers
    without a fraction. `exemplars` are for OpenMetrics only, which also has times in seconds, and the other
    format in milliseconds.
    """
    for start in range(0, len(heads), AT_ONCE):
        end = start + AT_ONCE
        told = _within(times or {}, start, end)
        yield _lines(
            heads[start:end],
            values[start:end],
            _within(exemplars or {}, start, end),
            told,
            openmetrics=openmetrics,
        )


def _lines(
    heads: Sequence[str], values: Sequence[float], exemplars: Exemplars, times: Times, *, openmetrics: bool
) -> str:
    # str, not repr: numpy's numbers are floats whose repr is not a number.
    written = "\n".join(map(str, values)).replace(".0\n", "\n") + "\n"
    if written.endswith(".0\n"):
        written = written[:-3] + "\n"
    if "e" in written:  # "True" or "False" from a callback, or an exponent
        written = written.replace("True", "1").replace("False", "0")
    if "n" in written:  # "inf" or "nan": Python's spelling is not Prometheus' one
        written = written.replace("inf", "+Inf").replace("-+Inf", "-Inf").replace("nan", "NaN")
    parts = [""] * (2 * len(heads))
    parts[::2] = heads
    parts[1::2] = written.splitlines(keepends=True)
    for position, at in times.items():
        written = f"{at:.3f}".rstrip("0").rstrip(".") if openmetrics else str(round(at * 1e3))
        parts[2 * position + 1] = parts[2 * position + 1].rstrip("\n") + f" {written}\n"
    for position, exemplar in exemplars.items():
        parts[2 * position + 1] = parts[2 * position + 1].rstrip("\n") + _exemplar(exemplar) + "\n"
    return "".join(parts)


def numbers(
    name: str, points: Sequence[Point], *, add: bool, declared: bool = False
) -> tuple[Sequence[str], Sequence[float], Exemplars]:
    """Heads, values and exemplars of counters and gauges.

    Series whose labels are written alike (`a.b` and `a_b`, or another order) become one: added up if `add`,
    else the last one. `declared` says that their labels have a declared order, which stays, and distinct
    legal names: then none are alike.
    """
    series, values, exemplars = columns(points)
    written = heads((name, declared), series, _number_head)
    if declared or len(set(written)) == len(written):
        return written, values, exemplars
    return distinct(written, values, add=add)


def times(points: Sequence[Point], written: Sequence[object]) -> Times:
    """The times of numbers, by position in `written`; none where several points have become one there."""
    if isinstance(points, Numbers) or len(points) != len(written):
        return {}
    return {position: point.time_unix for position, point in enumerate(points) if point.time_unix is not None}


def columns(points: Sequence[Point]) -> tuple[Sequence[Series], Sequence[float], Exemplars]:
    """Series, values and exemplars of points whose values are numbers; others are left out."""
    if isinstance(points, Numbers):
        return points.series, points.values, points.exemplars
    told = [
        (point.series, point.value, point.exemplar)
        for point in points
        if isinstance(point.value, (int, float))
    ]
    exemplars = {position: exemplar for position, (_, _, exemplar) in enumerate(told) if exemplar is not None}
    return [series for series, _, _ in told], [value for _, value, _ in told], exemplars


def distinct(
    written: Sequence[T], values: Sequence[float], *, add: bool
) -> tuple[list[T], list[float], Exemplars]:
    """One value for each head: those of heads that are alike added up if `add`, else the last one."""
    held: dict[T, float] = {}
    for head, value in zip(written, values, strict=True):
        held[head] = held[head] + value if add and head in held else value
    return list(held), list(held.values()), {}


def non_negative(
    heads: Sequence[str], values: Sequence[float], exemplars: Exemplars, times: Times
) -> tuple[Sequence[str], Sequence[float], Exemplars, Times]:
    """Without negative values and NaN, which OpenMetrics forbids in counters."""
    keep = [position for position, value in enumerate(values) if value >= 0]
    if len(keep) == len(values):
        return heads, values, exemplars, times
    kept = {old: new for new, old in enumerate(keep)}
    moved = {kept[position]: exemplar for position, exemplar in exemplars.items() if position in kept}
    later = {kept[position]: at for position, at in times.items() if position in kept}
    return [heads[position] for position in keep], [values[position] for position in keep], moved, later


def summaries(
    name: str, points: Sequence[Point], *, openmetrics: bool, declared: bool = False
) -> tuple[list[str], list[float], Times]:
    """Heads, values and times of `name{...,quantile="..."}`, `name_sum` and `name_count`.

    Series whose labels are written alike become one; quantiles can't be added, so those of the busier one
    stay.
    """
    distinct: dict[str, tuple[list[str], Summary | Distribution, Quantiles]] = {}
    told: dict[str, float] = {}
    for point in points:
        summary = point.value
        if not isinstance(summary, (Summary, Distribution)):
            continue
        quantiles = summary.quantiles()
        mine: list[str] = cached(
            point.series, (name, declared, tuple([quantile for quantile, _ in quantiles])), _summary_heads
        )
        if mine[-1] in distinct:
            its, twin, of_twin = distinct[mine[-1]]
            if summary.count <= twin.count:
                mine, quantiles = its, of_twin
            summary = merged((twin, summary))
        distinct[mine[-1]] = (mine, summary, quantiles)
        if point.time_unix is not None:
            told[mine[-1]] = point.time_unix
    heads: list[str] = []
    values: list[float] = []
    times: dict[int, float] = {}
    for mine, summary, quantiles in distinct.values():
        first = len(values)
        its_values = [*[value for _, value in quantiles], summary.sum, summary.count]
        if openmetrics and not all(value >= 0 for value in its_values):
            # OpenMetrics forbids negative values here, and lets only quantiles be NaN; the rest can still be
            # told.
            keep = [
                index
                for index, value in enumerate(its_values)
                if value >= 0 or (isnan(value) and index < len(its_values) - 2)
            ]
            heads += [mine[index] for index in keep]
            values += [its_values[index] for index in keep]
        else:
            heads += mine
            values += its_values
        if mine[-1] in told:
            times |= dict.fromkeys(range(first, len(values)), told[mine[-1]])
    return heads, values, times


def histograms(
    name: str, points: Sequence[Point], *, openmetrics: bool, declared: bool = False, gauge: bool = False
) -> tuple[list[str], list[float], Exemplars, Times]:
    """Heads, values, exemplars and times of `name_bucket{...,le="..."}`, `name_sum` and `name_count`; of a
    gauge histogram, which may fall, `name_gsum` and `name_gcount`.

    Series whose labels are written alike are added up; one whose bounds differ from the first one's can't be,
    and is left out.
    """
    distinct: dict[str, tuple[list[str], Histogram, Exemplars]] = {}
    at: dict[str, float] = {}
    for point in points:
        histogram = point.value
        if not isinstance(histogram, Histogram):
            continue
        mine: list[str] = cached(point.series, (name, declared, gauge, histogram.bounds), _histogram_heads)
        _, twin, others = distinct.get(mine[-1], (mine, None, {}))
        if twin is None or twin.bounds == histogram.bounds:
            added = histogram if twin is None else twin.plus(histogram)
            distinct[mine[-1]] = (mine, added, {**others, **by_bucket(point)})
            if point.time_unix is not None:
                at[mine[-1]] = point.time_unix
    heads: list[str] = []
    values: list[float] = []
    exemplars: dict[int, Exemplar] = {}
    times: dict[int, float] = {}
    for mine, histogram, own in distinct.values():
        first = len(values)
        exemplars |= {first + position: exemplar for position, exemplar in own.items()}
        cumulative = list(accumulate(histogram.counts))
        told = not openmetrics or _may_tell_sum(histogram, gauge=gauge)
        heads += mine if told else mine[:-2]
        values += [*cumulative, histogram.sum, cumulative[-1]] if told else cumulative
        if mine[-1] in at:
            times |= dict.fromkeys(range(first, len(values)), at[mine[-1]])
    return heads, values, exemplars, times


def _may_tell_sum(histogram: Histogram, *, gauge: bool) -> bool:
    """OpenMetrics forbids a sum that may fall, but for gauges, a negative one where no value is, and a count
    without a sum."""
    negative = any(bound < 0 for bound in histogram.bounds[:1])
    return (gauge and not isnan(histogram.sum)) if negative else histogram.sum >= 0


def by_bucket(point: Point) -> dict[int, Exemplar]:
    """The exemplars of a histogram, by the position of their bucket."""
    if not isinstance(point.value, Histogram):
        return {}
    found = dict(point.exemplars)
    if point.exemplar is not None and isfinite(point.exemplar.value):
        found[bisect_left(point.value.bounds, point.exemplar.value)] = point.exemplar
    return {
        position: exemplar
        for position, exemplar in found.items()
        if isfinite(exemplar.value) and position < len(point.value.counts)
    }


def heads(key: K, series: Sequence[Series], compute: Callable[[Series, K], T]) -> list[T]:
    """What `compute` makes of each series and the key, from its cache; computed for those that have none
    yet."""
    found: list[Any] = [
        cache[1] if (cache := one.cache) is not None and cache[0] == key else None for one in series
    ]
    if None not in found:
        return found
    return [
        cached(one, key, compute) if head is None else head for head, one in zip(found, series, strict=True)
    ]


def cached(series: Series, key: K, compute: Callable[[Series, K], T]) -> T:
    """What `compute` makes of a series and a key, kept until it is asked for another key."""
    cache = series.cache
    if cache is None or cache[0] != key:
        cache = series.cache = (key, compute(series, key))
    return cast("T", cache[1])


def _head(name: str, *labels: str) -> str:
    text = ",".join([label for label in labels if label])
    return f"{name}{{{text}}} " if text else f"{name} "


def _number_head(series: Series, key: tuple[str, bool]) -> str:
    name, declared = key
    return _head(name, series.text if declared else series.sorted_text)


def _own(series: Series, reserved: str, *, declared: bool) -> str:
    """The labels of a series, one named like a label of the format itself becoming `exported_...`, as
    Prometheus names such clashes."""
    if any(name == reserved for name, _ in series.labels):
        series = Series(
            tuple((f"exported_{name}" if name == reserved else name, value) for name, value in series.labels)
        )
    return series.text if declared else series.sorted_text


def _summary_heads(series: Series, key: tuple[str, bool, tuple[float, ...]]) -> list[str]:
    name, declared, quantiles = key
    text = _own(series, "quantile", declared=declared)
    heads = [_head(name, text, f'quantile="{quantile}"') for quantile in quantiles]
    return [*heads, _head(f"{name}_sum", text), _head(f"{name}_count", text)]


def _histogram_heads(series: Series, key: tuple[str, bool, bool, tuple[float, ...]]) -> list[str]:
    name, declared, gauge, bounds = key
    text, own = _own(series, "le", declared=declared), f"{name}_g" if gauge else f"{name}_"
    limits = [*[str(float(bound)) for bound in bounds], "+Inf"]
    return [
        *[_head(f"{name}_bucket", text, f'le="{limit}"') for limit in limits],
        _head(f"{own}sum", text),
        _head(f"{own}count", text),
    ]


def labels_of(exemplar: Exemplar) -> tuple[tuple[str, str], ...]:
    """The labels of an exemplar, by legal names; none of one whose ids are none, or that has more than
    OpenMetrics allows."""
    if exemplar.labels:
        written = legal_labels(exemplar.labels)
        size = sum(len(name) + len(value) for name, value in written.items())
        return tuple(written.items()) if size <= _MOST_CHARACTERS else ()
    # An exemplar of ours has a time.
    known = (
        _ID.fullmatch(exemplar.trace_id) and _ID.fullmatch(exemplar.span_id) and isfinite(exemplar.time_unix)
    )
    return (("trace_id", exemplar.trace_id), ("span_id", exemplar.span_id)) if known else ()


def _exemplar(exemplar: Exemplar) -> str:
    """` # {trace_id="...",span_id="..."} value time`; empty for one that has no labels to show."""
    labels = labels_of(exemplar)
    if not labels:
        return ""
    written = ",".join([f'{name}="{escape(value)}"' for name, value in labels])
    value = _lines([""], [exemplar.value], {}, {}, openmetrics=True).rstrip("\n")
    at = f" {exemplar.time_unix:.3f}" if isfinite(exemplar.time_unix) else ""
    return f" # {{{written}}} {value}{at}"
