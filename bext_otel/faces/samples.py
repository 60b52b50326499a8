"""Sample lines of Prometheus text: what stands before a value is computed once for each series, values each time.

The work for one sample is done by C code over whole columns (`map`, `join`, `replace`), since 100,000 calls of a Python function would
cost more than all the rest of a scrape.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import isfinite, isnan
from typing import Any, TypeAlias, TypeVar, cast

from bext_otel.pipeline.breathing import AT_ONCE
from bext_otel.pipeline.snapshot import Exemplar, Histogram, Numbers, Point, Series, Summary

__all__ = [
    "Exemplars",
    "cached",
    "columns",
    "distinct",
    "heads",
    "histograms",
    "is_traced",
    "lines",
    "non_negative",
    "numbers",
    "slices",
    "summaries",
]

T = TypeVar("T")
K = TypeVar("K")

Exemplars: TypeAlias = Mapping[int, Exemplar]
"""Position of a sample -> its exemplar."""

# W3C trace context; longer ones could pass the 128 characters that OpenMetrics allows an exemplar's labels.
_ID = re.compile("[0-9a-f]{1,32}")


def slices(points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    """Points, a thousand at a time, columns staying columns."""
    for start in range(0, len(points), AT_ONCE):
        end = start + AT_ONCE
        if isinstance(points, Numbers):
            yield Numbers(points.series[start:end], points.values[start:end], _within(points.exemplars, start, end))
        else:
            yield points[start:end]


def _within(exemplars: Exemplars, start: int, end: int) -> Exemplars:
    """Those of some positions, counted from there."""
    return {position - start: exemplars[position] for position in range(start, end) if position in exemplars} if exemplars else {}


def lines(heads: Sequence[str], values: Sequence[float], exemplars: Exemplars | None = None) -> Iterator[str]:
    """One line for each value, a thousand at a time.

    A line is a head, which is what stands before the value (`name{labels} `), and the value; whole numbers without a fraction.
    `exemplars` are for OpenMetrics only.
    """
    for start in range(0, len(heads), AT_ONCE):
        end = start + AT_ONCE
        yield _lines(heads[start:end], values[start:end], _within(exemplars or {}, start, end))


def _lines(heads: Sequence[str], values: Sequence[float], exemplars: Exemplars) -> str:
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
    for position, exemplar in exemplars.items():
        parts[2 * position + 1] = parts[2 * position + 1].rstrip("\n") + _exemplar(exemplar) + "\n"
    return "".join(parts)


def numbers(name: str, points: Sequence[Point], *, add: bool, declared: bool = False) -> tuple[Sequence[str], Sequence[float], Exemplars]:
    """Heads, values and exemplars of counters and gauges.

    Series whose labels are written alike (`a.b` and `a_b`, or another order) become one: added up if `add`, else the last one. `declared`
    says that their labels have a declared order, which stays, and distinct legal names: then none are alike.
    """
    series, values, exemplars = columns(points)
    written = heads((name, declared), series, _number_head)
    if declared or len(set(written)) == len(written):
        return written, values, exemplars
    return distinct(written, values, add=add)


def columns(points: Sequence[Point]) -> tuple[Sequence[Series], Sequence[float], Exemplars]:
    """Series, values and exemplars of points whose values are numbers; others are left out."""
    if isinstance(points, Numbers):
        return points.series, points.values, points.exemplars
    told = [(point.series, point.value, point.exemplar) for point in points if isinstance(point.value, (int, float))]
    exemplars = {position: exemplar for position, (_, _, exemplar) in enumerate(told) if exemplar is not None}
    return [series for series, _, _ in told], [value for _, value, _ in told], exemplars


def distinct(written: Sequence[T], values: Sequence[float], *, add: bool) -> tuple[list[T], list[float], Exemplars]:
    """One value for each head: those of heads that are alike added up if `add`, else the last one."""
    held: dict[T, float] = {}
    for head, value in zip(written, values, strict=True):
        held[head] = held[head] + value if add and head in held else value
    return list(held), list(held.values()), {}


def non_negative(heads: Sequence[str], values: Sequence[float], exemplars: Exemplars) -> tuple[Sequence[str], Sequence[float], Exemplars]:
    """Without negative values and NaN, which OpenMetrics forbids in counters."""
    keep = [position for position, value in enumerate(values) if value >= 0]
    if len(keep) == len(values):
        return heads, values, exemplars
    kept = {old: new for new, old in enumerate(keep)}
    moved = {kept[position]: exemplar for position, exemplar in exemplars.items() if position in kept}
    return [heads[position] for position in keep], [values[position] for position in keep], moved


def summaries(name: str, points: Sequence[Point], *, openmetrics: bool, declared: bool = False) -> tuple[list[str], list[float]]:
    """Heads and values of `name{...,quantile="..."}`, `name_sum` and `name_count`.

    Series whose labels are written alike become one; quantiles can't be added, so those of the busier one stay.
    """
    distinct: dict[str, tuple[list[str], Summary]] = {}
    for point in points:
        summary = point.value
        if not isinstance(summary, Summary):
            continue
        mine: list[str] = cached(point.series, (name, declared, tuple([quantile for quantile, _ in summary.quantiles])), _summary_heads)
        if mine[-1] in distinct:
            its, twin = distinct[mine[-1]]
            busier, heads_of_busier = (summary, mine) if summary.count > twin.count else (twin, its)
            mine, summary = heads_of_busier, Summary(summary.count + twin.count, summary.sum + twin.sum, busier.quantiles)
        distinct[mine[-1]] = (mine, summary)
    heads: list[str] = []
    values: list[float] = []
    for mine, summary in distinct.values():
        its_values = [*[value for _, value in summary.quantiles], summary.sum, summary.count]
        if openmetrics and not all(value >= 0 for value in its_values):
            # OpenMetrics forbids negative values here, and lets only quantiles be NaN; the rest can still be told.
            keep = [index for index, value in enumerate(its_values) if value >= 0 or (isnan(value) and index < len(its_values) - 2)]
            heads += [mine[index] for index in keep]
            values += [its_values[index] for index in keep]
        else:
            heads += mine
            values += its_values
    return heads, values


def histograms(
    name: str, points: Sequence[Point], *, openmetrics: bool, declared: bool = False
) -> tuple[list[str], list[float], Exemplars]:
    """Heads, values and exemplars of `name_bucket{...,le="..."}`, `name_sum` and `name_count`.

    Series whose labels are written alike are added up; one whose bounds differ from the first one's can't be, and is left out.
    """
    distinct: dict[str, tuple[list[str], Histogram, Exemplar | None]] = {}
    for point in points:
        histogram, exemplar = point.value, point.exemplar
        if not isinstance(histogram, Histogram):
            continue
        mine: list[str] = cached(point.series, (name, declared, histogram.bounds), _histogram_heads)
        _, twin, its_exemplar = distinct.get(mine[-1], (mine, None, None))
        if twin is None or twin.bounds == histogram.bounds:
            distinct[mine[-1]] = (mine, _sum(histogram, twin), exemplar or its_exemplar)
    heads: list[str] = []
    values: list[float] = []
    exemplars: dict[int, Exemplar] = {}
    for mine, histogram, exemplar in distinct.values():
        if exemplar is not None and isfinite(exemplar.value):
            exemplars[len(values) + bisect_left(histogram.bounds, exemplar.value)] = exemplar
        cumulative = list(accumulate(histogram.counts))
        # OpenMetrics forbids a sum where values may be negative, and a count without a sum.
        told = not openmetrics or (histogram.sum >= 0 and not any(bound < 0 for bound in histogram.bounds[:1]))
        heads += mine if told else mine[:-2]
        values += [*cumulative, histogram.sum, cumulative[-1]] if told else cumulative
    return heads, values, exemplars


def _sum(one: Histogram, other: Histogram | None) -> Histogram:
    """Two histograms of the same bounds as one."""
    if other is None:
        return one
    counts = tuple(mine + its for mine, its in zip(one.counts, other.counts, strict=True))
    return Histogram(one.bounds, counts, one.sum + other.sum, one.count + other.count)


def heads(key: K, series: Sequence[Series], compute: Callable[[Series, K], T]) -> list[T]:
    """What `compute` makes of each series and the key, from its cache; computed for those that have none yet."""
    found: list[Any] = [cache[1] if (cache := one.cache) is not None and cache[0] == key else None for one in series]
    if None not in found:
        return found
    return [cached(one, key, compute) if head is None else head for head, one in zip(found, series, strict=True)]


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
    """The labels of a series, one named like a label of the format itself becoming `exported_...`, as Prometheus names such clashes."""
    if any(name == reserved for name, _ in series.labels):
        series = Series(tuple((f"exported_{name}" if name == reserved else name, value) for name, value in series.labels))
    return series.text if declared else series.sorted_text


def _summary_heads(series: Series, key: tuple[str, bool, tuple[float, ...]]) -> list[str]:
    name, declared, quantiles = key
    text = _own(series, "quantile", declared=declared)
    heads = [_head(name, text, f'quantile="{quantile}"') for quantile in quantiles]
    return [*heads, _head(f"{name}_sum", text), _head(f"{name}_count", text)]


def _histogram_heads(series: Series, key: tuple[str, bool, tuple[float, ...]]) -> list[str]:
    name, declared, bounds = key
    text = _own(series, "le", declared=declared)
    limits = [*[str(float(bound)) for bound in bounds], "+Inf"]
    return [*[_head(f"{name}_bucket", text, f'le="{limit}"') for limit in limits], _head(f"{name}_sum", text), _head(f"{name}_count", text)]


def is_traced(exemplar: Exemplar) -> bool:
    """Whether an exemplar's ids are ids, and its time is known."""
    return bool(_ID.fullmatch(exemplar.trace_id) and _ID.fullmatch(exemplar.span_id) and isfinite(exemplar.time_unix))


def _exemplar(exemplar: Exemplar) -> str:
    """` # {trace_id="...",span_id="..."} value time`; empty for one whose ids are none, or whose time is not known."""
    if not is_traced(exemplar):
        return ""
    value = _lines([""], [exemplar.value], {}).rstrip("\n")
    return f' # {{trace_id="{exemplar.trace_id}",span_id="{exemplar.span_id}"}} {value} {exemplar.time_unix:.3f}'
