"""Families for a snapshot: from this process's cells alone, or from the tally of all workers."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from operator import attrgetter
from typing import Any, TypeAlias

from bext_otel.catalogue import Merge, Metric
from bext_otel.declarations import rows as declared_rows
from bext_otel.metrics.asking import Round, tell_of_hanging
from bext_otel.metrics.lazy import Lazy
from bext_otel.metrics.merging.sum import Tally
from bext_otel.metrics.merging.totals import newest_exemplar
from bext_otel.metrics.merging.wire import Labels, Row, ThirdPartyFamily, ThirdPartyRow
from bext_otel.metrics.numbers import exact
from bext_otel.metrics.pacing import AT_ONCE, slices
from bext_otel.metrics.snapshot import Exemplar, Family, Histogram, LabelSet, Numbers, Point, Series, Summary
from bext_otel.metrics.store.cell import Cell
from bext_otel.metrics.store.streams import Stream, Streams
from bext_otel.metrics.values import Distribution, merged, plain

__all__ = [
    "KnownSeries",
    "Observed",
    "extended",
    "foreign_parts",
    "observed_now",
    "of_foreign",
    "of_process",
    "of_service",
    "rates_of_process",
    "rates_of_service",
]

Observed: TypeAlias = Mapping[Stream, Mapping[Cell, Mapping[str, float]]]
"""What observers said, by stream, series and source."""


class _Asked:
    """The observers of a stream, at one reading."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.told = stream.said
        self.asked_since: float | None = 0.0 if stream.hangs else None

    def ask_alone(self) -> None:
        """Each reading has answers of its own, unless the last ones are still awaited."""
        self.asked_since = time.monotonic()
        try:
            self.told = self.stream.said = _observed(self.stream)
        finally:
            self.asked_since, self.stream.hangs = None, False

    def hang(self) -> None:
        """They do not answer: whoever reads meanwhile does not ask."""
        self.stream.hangs = True
        tell_of_hanging(self.stream.metric.name)


def observed_now(streams: Streams) -> dict[Stream, Mapping[Cell, Mapping[str, float]]]:
    """Every stream, with what observers say of its series now, by source; two that speak of one series of
    this process add up. Of one that hangs, what it said last."""
    asked = {stream: _Asked(stream) for stream in streams if stream.observers}
    Round(asked.values()).ask_all()
    return {stream: asked[stream].told if stream in asked else {} for stream in streams}


def _observed(stream: Stream) -> dict[Cell, dict[str, float]]:
    values: dict[Cell, dict[str, float]] = {}
    for cell, value, source in stream.observed():
        by_source = values.setdefault(cell, {})
        # Two observers of one shared thing in one process see the same.
        by_source[source] = value if source else exact(by_source.get(source, 0) + value)
    return values


_series, _value, _exemplar = attrgetter("series"), attrgetter("value"), attrgetter("exemplar")

# Distributions and histograms of several workers to put together between two pauses.
_MEASURED_AT_ONCE = AT_ONCE // 5


def of_process(observed: Observed, now: float) -> list[Family]:
    """This process's own families, of what was measured at least once."""
    return [
        family
        for stream, values in observed.items()
        if (family := _own_family(stream, values, now)) is not None
    ]


def _own_family(stream: Stream, observed: Mapping[Cell, Mapping[str, float]], now: float) -> Family | None:
    cells, series = stream.columns()
    if seen := [cell for cell in observed if not cell.live]:
        cells, series = [*cells, *seen], [*series, *map(_series, seen)]
    if not cells:
        return None
    points: Sequence[Point]
    if stream.metric.kind not in {"summary", "histogram"}:
        points = _columns(cells, series, observed)
    else:
        points = tuple(Point(cell.series, cell.read(now), cell.exemplar) for cell in cells)
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
        values = extended(values, list(map(_value, part)))
    if not observed:
        return Numbers(series, values, exemplars)
    told = zip(cells, values, strict=True)
    return Numbers(
        series,
        [sum(observed.get(cell, {}).values()) + (value if cell.live else 0) for cell, value in told],
        exemplars,
    )


def extended(values: array[Any], more: list[float]) -> array[Any]:
    """A column of machine numbers with more of them: whole ones as long as all are."""
    if values.typecode == "q":
        try:
            values.extend(array("q", more))
            return values
        except (TypeError, OverflowError):
            values = array("d", values)
    values.extend(more)
    return values


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

    return Lazy(rates)


def of_service(streams: Streams, tally: Tally) -> list[Family]:
    """The families of all workers together, in the catalogue's order; what others have declared comes
    last."""
    families = []
    for metric in _in_order(tally.rows):
        if held := tally.series.get(metric.exported):
            stream = streams.stream(metric)
            points = (
                _measured(stream, held, tally.now)
                if metric.kind in {"summary", "histogram"}
                else _numbers(stream, held)
            )
            families.append(_family(stream, points))
    return families


def _in_order(told: Mapping[str, Metric]) -> list[Metric]:
    known = {row.exported: row for row in declared_rows() if row.exported in told}
    return list({**known, **told}.values())


def _numbers(stream: Stream, held: Mapping[Labels, Sequence[Row]]) -> Numbers:
    series: list[Series] = []
    values: list[float] = []
    exemplars: dict[int, Exemplar] = {}
    for part in slices(list(held.items()), AT_ONCE):
        told = enumerate([newest_exemplar(rows) for _, rows in part], len(series))
        exemplars |= {position: Exemplar(*found) for position, found in told if found is not None}
        series += [stream.series(labels) for labels, _ in part]
        values += [_number(rows, stream.metric.merge) for _, rows in part]
    return Numbers(series, values, exemplars)


def _number(rows: Sequence[Row], merge: Merge) -> float:
    if merge != "sum" and len(rows) > 1:
        numbers: list[Any] = [row.value for row in rows]
        return float((max if merge == "max" else min)(map(plain, numbers)))
    value: Any = rows[0].value if len(rows) == 1 else merged([row.value for row in rows])
    return plain(value)


def _measured(stream: Stream, held: Mapping[Labels, Sequence[Row]], now: float) -> list[Point]:
    points: list[Point] = []
    for part in slices(list(held.items()), _MEASURED_AT_ONCE):
        for labels, rows in part:
            value: Any = merged([row.value for row in rows])
            told = newest_exemplar(rows)
            found = value.recent_at(now) if isinstance(value, Distribution) else value
            points.append(Point(stream.series(labels), found, Exemplar(*told) if told is not None else None))
    return points


def rates_of_service(streams: Streams, tally: Tally) -> dict[str, Mapping[LabelSet, float]]:
    """Increases per second of all workers together."""

    def rates(stream: Stream) -> dict[LabelSet, float]:
        return {
            stream.series(labels).labels: rate
            for labels, rate in tally.rates.get(stream.metric.exported, {}).items()
        }

    return {
        stream.metric.exported: Lazy(partial(rates, stream)) for stream in streams if stream.rates is not None
    }


def _family(stream: Stream, points: Sequence[Point]) -> Family:
    metric = stream.metric
    return Family(metric.exported, metric.type_0_0_4, metric.description, metric.unit, points, metric)


KnownRows: TypeAlias = dict[int, tuple[Point, ThirdPartyRow]]
"""What was published of a point, by the point's id, beside it."""


def foreign_parts(families: Iterable[Family], known: KnownRows | None = None) -> list[ThirdPartyFamily]:
    """Other libraries' families as they are published. `known` has the rows of points that were published
    before, and afterwards those of these."""
    before, now = dict(known or {}), known if known is not None else {}
    now.clear()
    parts = []
    for family in families:
        rows = []
        for point in family.points:
            held = before.get(id(point))
            if held is None or held[0] is not point:
                held = (point, _foreign_row(point))
            now[id(point)] = held
            rows.append(held[1])
        parts.append(
            ThirdPartyFamily(
                family.name, family.type, family.description, tuple(rows), family.unit, family.merge
            )
        )
    return parts


def _foreign_row(point: Point) -> ThirdPartyRow:
    value, labels = point.value, point.series.labels
    told = point.exemplars or (((0, point.exemplar),) if point.exemplar is not None else ())
    exemplars = tuple([(position, each.value, each.time_unix, _labels_of(each)) for position, each in told])
    if isinstance(value, Summary):  # without its quantiles, which can't be added up
        value = Summary(value.count, value.sum)
    return ThirdPartyRow(labels, value, exemplars, point.time_unix, point.set_at, point.copied)


def _labels_of(exemplar: Exemplar) -> LabelSet:
    return exemplar.labels or (("trace_id", exemplar.trace_id), ("span_id", exemplar.span_id))


class KnownSeries:
    """Series of families of other libraries, kept from one reading to the next, with the text that was made
    of them."""

    def __init__(self) -> None:
        self._before: dict[Any, Series] = {}
        self._now: dict[Any, Series] = {}

    def begin(self) -> None:
        """A reading begins: what it does not ask for is forgotten at the next."""
        self._before, self._now = self._now, {}

    def of(self, scope: LabelSet, labels: LabelSet) -> Series:
        """The series of these labels, which those of its scope follow."""
        key = scope, labels
        found = self._now.get(key) or self._before.get(key)
        if found is None:
            found = Series((*labels, *scope))
        self._now[key] = found
        return found


def of_foreign(parts: Iterable[ThirdPartyFamily], known: KnownSeries | None = None) -> list[Family]:
    """Other libraries' families, back from what was published."""
    series, found = known or KnownSeries(), []
    series.begin()
    for part in parts:
        points = [_foreign_point(row, series.of(part.scope, row.labels)) for row in part.rows]
        found.append(
            Family(part.name, part.type, part.description, part.unit, tuple(points), merge=part.merge)
        )
    return found


def _foreign_point(row: ThirdPartyRow, series: Series) -> Point:
    value: Any = row.value
    exemplars = tuple(
        [(position, Exemplar(number, at, "", "", labels)) for position, number, at, labels in row.exemplars]
    )
    if isinstance(value, Histogram):
        return Point(series, value, exemplars=exemplars, time_unix=row.time_unix)
    found = value if isinstance(value, Summary) else plain(value)
    return Point(series, found, exemplars[0][1] if exemplars else None, time_unix=row.time_unix)
