"""Families for a snapshot: from this process's cells alone, or from the tally of all workers."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import zip_longest
from operator import attrgetter
from typing import Any, TypeAlias

from bext_otel.catalogue import METRICS
from bext_otel.metrics.exponential import Scaled
from bext_otel.metrics.merging.sum import Tally
from bext_otel.metrics.merging.totals import newest_exemplar, recent, sum_histograms, total
from bext_otel.metrics.merging.wire import (
    Exemplified,
    HistogramRow,
    Labels,
    NumberRow,
    SummaryRow,
    ThirdPartyFamily,
    ThirdPartyRow,
)
from bext_otel.metrics.pacing import AT_ONCE, slices
from bext_otel.metrics.snapshot import (
    Exemplar,
    Family,
    Histogram,
    LabelSet,
    Native,
    Numbers,
    Point,
    Series,
    Summary,
)
from bext_otel.metrics.store.cell import Cell
from bext_otel.metrics.store.cells import HistogramCell, SummaryCell
from bext_otel.metrics.store.streams import Stream, Streams
from bext_otel.metrics.window import Recent

__all__ = [
    "Observed",
    "foreign_parts",
    "of_foreign",
    "of_process",
    "of_service",
    "rates_of_process",
    "rates_of_service",
]

Observed: TypeAlias = Mapping[Stream, Mapping[Cell, Mapping[str, float]]]
"""What observers said, by stream, series and source."""

_series, _value, _exemplar = attrgetter("series"), attrgetter("value"), attrgetter("exemplar")

# Summaries of several workers to put together between two pauses.
_SUMMARIES_AT_ONCE = AT_ONCE // 20

_EMPTY: tuple[tuple[float, float], ...] = Recent.merged([]).quantiles()


def of_process(observed: Observed, now: float, *, native: bool = False) -> list[Family]:
    """This process's own families, of what was measured at least once. `native` asks for the buckets of
    summaries."""
    return [
        family
        for stream, values in observed.items()
        if (family := _own_family(stream, values, now, native)) is not None
    ]


def _own_family(
    stream: Stream, observed: Mapping[Cell, Mapping[str, float]], now: float, native: bool
) -> Family | None:
    cells, series = stream.columns()
    if seen := [cell for cell in observed if not cell.live]:
        cells, series = [*cells, *seen], [*series, *map(_series, seen)]
    if not cells:
        return None
    points: Sequence[Point]
    if stream.metric.kind not in {"summary", "histogram"}:
        points = _columns(cells, series, observed)
    else:
        points = tuple(Point(cell.series, _own_value(cell, now, native), cell.exemplar) for cell in cells)
    return _family(stream, points)


def _columns(
    cells: Sequence[Cell], series: Sequence[Series], observed: Mapping[Cell, Mapping[str, float]]
) -> Numbers:
    # Machine numbers, which no garbage collector looks at (see `Stream.every`): whole ones as long as all
    # are.
    values: array[Any] = array("q")
    exemplars: dict[int, Exemplar] = {}
    for part in slices(cells):
        exemplars |= {
            position: found
            for position, found in enumerate(map(_exemplar, part), len(values))
            if found is not None
        }
        values = _extended(values, list(map(_value, part)))
    if not observed:
        return Numbers(series, values, exemplars)
    told = zip(cells, values, strict=True)
    return Numbers(
        series,
        [sum(observed.get(cell, {}).values()) + (value if cell.live else 0) for cell, value in told],
        exemplars,
    )


def _extended(values: array[Any], more: list[float]) -> array[Any]:
    if values.typecode == "q":
        try:
            values.extend(array("q", more))
            return values
        except (TypeError, OverflowError):
            values = array("d", values)
    values.extend(more)
    return values


def _own_value(cell: Cell, now: float, native: bool) -> Summary | Histogram:
    if isinstance(cell, SummaryCell):
        buckets = _native(cell.buckets, cell.zeros) if native else None
        return Summary(cell.count, cell.sum, cell.window.recent(now).quantiles(), buckets)
    assert isinstance(cell, HistogramCell)
    return Histogram(cell.stream.metric.bounds, tuple(cell.counts), cell.sum, cell.count)


def rates_of_process(streams: Streams, now: float) -> dict[str, Mapping[LabelSet, float]]:
    """Increases per second, by exported name and labels."""
    return {stream.metric.exported: _growth(stream, now) for stream in streams if stream.rates is not None}


def _growth(stream: Stream, now: float) -> Mapping[LabelSet, float]:
    base, seconds = (None, 1.0) if stream.rates is None else stream.rates.base(now)
    if base is None:
        return {}
    cells, totals = stream.totals()  # as of now: what the cells hold goes on growing

    def rates() -> dict[LabelSet, float]:
        grown = zip(cells, zip_longest(totals, base, fillvalue=0.0), strict=True)
        return {
            cell.series.labels: (total - before) / seconds
            for cell, (total, before) in grown
            if total != before
        }

    return _Later(rates)


class _Later(Mapping[LabelSet, float]):
    """Rates by labels; computed when somebody looks, since most scrapers don't."""

    def __init__(self, compute: Callable[[], dict[LabelSet, float]]) -> None:
        self._compute = compute

    @cached_property
    def _made(self) -> dict[LabelSet, float]:
        return self._compute()

    def __getitem__(self, labels: LabelSet) -> float:
        return self._made[labels]

    def __iter__(self) -> Iterator[LabelSet]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def __repr__(self) -> str:
        return repr(self._made)


def of_service(streams: Streams, tally: Tally, *, native: bool = False) -> list[Family]:
    """The families of all workers together, in the catalogue's order. `native` asks for the buckets of
    summaries."""
    families = []
    for metric in METRICS:
        stream, name = streams.stream(metric), metric.exported
        if numbers := tally.numbers.get(name):
            families.append(_family(stream, _numbers(stream, numbers)))
        elif summaries := tally.summaries.get(name):
            points = [
                _summary(stream.series(labels), rows, tally.now, native)
                for part in slices(list(summaries.items()), _SUMMARIES_AT_ONCE)
                for labels, rows in part
            ]
            families.append(_family(stream, points))
        elif histograms := tally.histograms.get(name):
            families.append(
                _family(
                    stream,
                    [
                        _histogram(stream.series(labels), metric.bounds, rows)
                        for labels, rows in histograms.items()
                    ],
                )
            )
    return families


def _numbers(stream: Stream, held: Mapping[Labels, Sequence[NumberRow]]) -> Numbers:
    series: list[Series] = []
    values: list[float] = []
    exemplars: dict[int, Exemplar] = {}
    for part in slices(list(held.items()), AT_ONCE):
        told = enumerate([newest_exemplar(rows) for _, rows in part], len(series))
        exemplars |= {position: Exemplar(*found) for position, found in told if found is not None}
        series += [stream.series(labels) for labels, _ in part]
        values += [
            rows[0].value if len(rows) == 1 else total([row.value for row in rows]) for _, rows in part
        ]
    return Numbers(series, values, exemplars)


def _histogram(series: Series, bounds: tuple[float, ...], rows: Sequence[HistogramRow]) -> Point:
    row = sum_histograms(rows)
    return Point(series, Histogram(bounds, row.counts, row.sum, row.count), _measurement(row.exemplar))


def _summary(series: Series, rows: Sequence[SummaryRow], now: float, native: bool) -> Point:
    window, buckets = recent(rows, now), None
    if native:
        life = Scaled()
        for row in rows:
            life.merge(row.lifetime())
        buckets = _native(life, sum(row.zeros for row in rows))
    quantiles = window.quantiles() if window else _EMPTY
    value = Summary(sum(row.count for row in rows), total([row.sum for row in rows]), quantiles, buckets)
    return Point(series, value, _measurement(newest_exemplar(rows)))


def _measurement(told: Exemplified) -> Exemplar | None:
    return Exemplar(*told) if told is not None else None


def _native(life: Scaled, zeros: int) -> Native:
    return Native(life.scale, life.buckets.offset, tuple(life.buckets.counts), zeros)


def rates_of_service(streams: Streams, tally: Tally) -> dict[str, Mapping[LabelSet, float]]:
    """Increases per second of all workers together."""

    def rates(stream: Stream) -> dict[LabelSet, float]:
        return {
            stream.series(labels).labels: rate
            for labels, rate in tally.rates.get(stream.metric.exported, {}).items()
        }

    return {
        stream.metric.exported: _Later(partial(rates, stream))
        for stream in streams
        if stream.rates is not None
    }


def _family(stream: Stream, points: Sequence[Point]) -> Family:
    metric = stream.metric
    return Family(metric.exported, metric.type_0_0_4, metric.description, metric.unit, points, metric)


def foreign_parts(families: Iterable[Family]) -> list[ThirdPartyFamily]:
    """Other libraries' families as they are published."""
    return [
        ThirdPartyFamily(
            family.name,
            family.type,
            family.description,
            tuple(map(_foreign_row, family.points)),
            family.unit,
            family.merge,
        )
        for family in families
    ]


def _foreign_row(point: Point) -> ThirdPartyRow:
    value, labels = point.value, point.series.labels
    told = point.exemplars or (((0, point.exemplar),) if point.exemplar is not None else ())
    exemplars = tuple([(position, each.value, each.time_unix, _labels_of(each)) for position, each in told])
    more = (exemplars, point.time_unix, point.set_at, point.copied)
    if isinstance(value, Histogram):
        return ThirdPartyRow(labels, None, (value.bounds, value.counts, value.sum, value.count), *more)
    if isinstance(value, Summary):  # prometheus_client's own: without quantiles, so that it can be added up
        return ThirdPartyRow(labels, None, ((), (value.count,), value.sum, value.count), *more)
    return ThirdPartyRow(labels, value, None, *more)


def _labels_of(exemplar: Exemplar) -> LabelSet:
    return exemplar.labels or (("trace_id", exemplar.trace_id), ("span_id", exemplar.span_id))


def of_foreign(parts: Iterable[ThirdPartyFamily]) -> list[Family]:
    """Other libraries' families, back from what was published."""
    return [
        Family(
            part.name,
            part.type,
            part.description,
            part.unit,
            tuple(_foreign_point(part.type, row) for row in part.rows),
        )
        for part in parts
    ]


def _foreign_point(kind: str, row: ThirdPartyRow) -> Point:
    value: float | Histogram | Summary = math.nan if row.number is None else row.number
    if row.histogram is not None:
        value = (
            Summary(row.histogram[3], row.histogram[2], ())
            if kind == "summary"
            else Histogram(*row.histogram)
        )
    exemplars = tuple(
        [(position, Exemplar(number, at, "", "", labels)) for position, number, at, labels in row.exemplars]
    )
    if isinstance(value, Histogram):
        return Point(Series(row.labels), value, exemplars=exemplars, time_unix=row.time_unix)
    return Point(Series(row.labels), value, exemplars[0][1] if exemplars else None, time_unix=row.time_unix)
