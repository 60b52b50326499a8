"""Metrics as the SDK's data: this process's own part, for exporters and for readers of the application's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel._compat import InstrumentKind
from bext_otel.catalogue import Metric
from bext_otel.metrics import snapshot as ours
from bext_otel.metrics.delta import DeltaState
from bext_otel.metrics.instruments.cells import ExponentialCell, MeterCell, MeterGaugeCell
from bext_otel.metrics.instruments.store import Instruments
from bext_otel.metrics.instruments.stream import MeterStream
from bext_otel.metrics.sdk_points import exponential_point, point_of
from bext_otel.metrics.store.cell import Cell
from bext_otel.metrics.store.streams import Stream
from bext_otel.metrics.timeline import NANO
from bext_otel.metrics.values import Histogram
from bext_otel.scope import SCHEMA_URL, SCOPE, VERSION

__all__ = ["Observed", "metrics_data"]

Observed: TypeAlias = Mapping[Stream, Mapping[Cell, Mapping[str, float]]]
"""What observers of the catalogue's rows said, by stream, series and source."""

_SCOPE = InstrumentationScope(SCOPE, VERSION, SCHEMA_URL)
_CUMULATIVE = AggregationTemporality.CUMULATIVE


class _Moment:
    """One reading: `start` is when the process began, `now` is now (nanoseconds since 1970)."""

    def __init__(self, start: int, now: int, account: DeltaState | None) -> None:
        self.start, self.now, self.account = start, now, account

    def temporality(self, kind: InstrumentKind) -> AggregationTemporality:
        """What is wanted of the series of such an instrument."""
        return _CUMULATIVE if self.account is None else self.account.temporality(kind)

    def common(self, cell: Cell, exemplars: Iterable[ours.Exemplar], *, delta: bool) -> dict[str, Any]:
        """What points of all kinds have. A delta begins with the interval, a total with its series."""
        return {
            "attributes": cell.attributes,
            "start_time_unix_nano": self.start if delta else min(max(cell.began, self.start), self.now),
            "time_unix_nano": self.now,
            "exemplars": [_exemplar(each) for each in exemplars],
        }


def metrics_data(
    instruments: Instruments,
    resource: Resource,
    observed: Observed,
    account: DeltaState | None = None,
    reader: MetricReader | None = None,
) -> MetricsData:
    """This process's own part of the metrics, with the other instruments' behind the catalogue's.

    Totals since its start; with an `account`, what the account's owner prefers, and then a series of which it
    would get a delta is left out if nothing has come. `reader` is one of the application's.
    """
    streams = instruments.streams
    with streams.lock:
        streams.drain()
        moment = _Moment(streams.timeline.started, streams.timeline.now(), account)
        if account is not None:
            account.open(moment.now)
        own = [
            metric
            for stream, values in observed.items()
            if (metric := _of_row(stream, values, moment)) is not None
        ]
        scopes: dict[InstrumentationScope, list[sdk.Metric]] = {_SCOPE: own} if own else {}
        for stream in instruments.read_by(reader):
            if (metric := _of_stream(stream, moment)) is not None:
                scopes.setdefault(stream.scope, []).append(metric)
        if account is not None:
            account.forget(_is_gone)
    grouped = [
        sdk.ScopeMetrics(scope=scope, metrics=metrics, schema_url=scope.schema_url or "")
        for scope, metrics in scopes.items()
    ]
    return MetricsData(
        resource_metrics=[
            sdk.ResourceMetrics(resource=resource, scope_metrics=grouped, schema_url=resource.schema_url)
        ]
    )


def _is_gone(cell: Any) -> bool:
    """Whether a series is no longer observed."""
    return isinstance(cell, MeterCell) and cell.stream.is_observed and cell not in cell.stream.observed


def _of_row(
    stream: Stream, observed: Mapping[Cell, Mapping[str, float]], moment: _Moment
) -> sdk.Metric | None:
    row = stream.metric
    kind = _kind(row, observed=bool(stream.observers))
    temporality = moment.temporality(kind)
    cells = [*stream.cells(), *(cell for cell in observed if not cell.live)]
    points: list[Any] = []
    for cell in cells:
        told = cell.exemplar
        common = moment.common(cell, () if told is None else (told,), delta=temporality is not _CUMULATIVE)
        held = cell.read()
        if isinstance(held, (int, float)):
            held = sum(observed.get(cell, {}).values()) + (held if cell.live else 0)
        points.append(point_of(held, common))
    shape = {"summary": "exponential"}.get(row.kind, row.kind)
    return _metric(
        row.streamed, row.description, row.streamed_unit, shape, cells, points, temporality, moment
    )


def _kind(row: Metric, *, observed: bool) -> InstrumentKind:
    if row.kind == "counter":
        return "observable_counter" if observed else "counter"
    if row.kind == "up_down_counter":
        return "observable_up_down_counter" if observed else "up_down_counter"
    return "gauge" if row.kind == "gauge" else "histogram"


def _of_stream(stream: MeterStream, moment: _Moment) -> sdk.Metric | None:
    plan = stream.plan
    temporality = moment.temporality(stream.kind)
    delta = temporality is not _CUMULATIVE and plan.shape != "gauge"
    cells: list[Cell] = []
    points: list[Any] = []
    if plan.shape not in {"histogram", "exponential"}:
        told = stream.points()
        cells += [cell for cell, _ in told]
        points += _number_points(stream, told, moment, delta=delta)
        return _metric(plan.name, plan.description, plan.unit, plan.shape, cells, points, temporality, moment)
    for cell, held in stream.points():
        common = moment.common(cell, [each for _, each in cell.exemplars], delta=delta)
        cells.append(cell)
        points.append(_point(held, common, min_max=plan.min_max))
    return _metric(plan.name, plan.description, plan.unit, plan.shape, cells, points, temporality, moment)


def _number_points(
    stream: MeterStream, told: Iterable[tuple[MeterCell, Any]], moment: _Moment, *, delta: bool
) -> Iterator[sdk.NumberDataPoint]:
    """Written out, as there may be many."""
    begin, now, reserved = moment.start, moment.now, stream.plan.reservoirs is not None
    for cell, held in told:
        began = begin if delta or cell.began < begin else cell.began
        exemplars = () if cell.exemplar is None and not reserved else cell.exemplars
        value: Any = held.value if held is cell else held  # type: ignore[attr-defined]  # cells of numbers
        yield sdk.NumberDataPoint(
            cell.attributes,
            began,
            now,
            value,
            [_exemplar(each) for _, each in exemplars] if exemplars else (),
        )


def _point(held: Any, common: Mapping[str, Any], *, min_max: bool) -> Any:
    if not isinstance(held, MeterCell):
        return point_of(held, common)
    value: Any = held.read()
    if isinstance(value, Histogram) and not min_max:
        value = Histogram(value.bounds, value.counts, value.sum, value.count)
    if isinstance(held, ExponentialCell):
        return exponential_point(value, held.scale, held.zeros, held.positive, held.negative, common)
    return point_of(value, common)


def _metric(
    name: str,
    description: str,
    unit: str,
    shape: str,
    cells: Sequence[Cell],
    points: list[Any],
    temporality: AggregationTemporality,
    moment: _Moment,
) -> sdk.Metric | None:
    account = moment.account
    if account is not None and temporality is not _CUMULATIVE and shape == "gauge":
        told = zip(cells, points, strict=True)
        points = [
            point
            for cell, point in told
            if not isinstance(cell, MeterGaugeCell)
            or not cell.last_set
            or account.is_new(cell, cell.last_set, point)
        ]
    elif account is not None and temporality is not _CUMULATIVE:
        points = [
            delta
            for cell, point in zip(cells, points, strict=True)
            if (delta := account.since(cell, point, monotonic=shape != "up_down_counter")) is not None
        ]
    if not points:
        return None
    return sdk.Metric(name=name, description=description, unit=unit, data=_DATA[shape](points, temporality))


_DATA: Mapping[str, Callable[[list[Any], AggregationTemporality], Any]] = {
    "counter": lambda points, temporality: sdk.Sum(
        data_points=points, aggregation_temporality=temporality, is_monotonic=True
    ),
    "up_down_counter": lambda points, temporality: sdk.Sum(
        data_points=points, aggregation_temporality=temporality, is_monotonic=False
    ),
    "gauge": lambda points, _: sdk.Gauge(data_points=points),
    "histogram": lambda points, temporality: sdk.Histogram(
        data_points=points, aggregation_temporality=temporality
    ),
    "exponential": lambda points, temporality: sdk.ExponentialHistogram(
        data_points=points, aggregation_temporality=temporality
    ),
}


def _exemplar(exemplar: ours.Exemplar) -> Exemplar:
    return Exemplar(
        dict(exemplar.dropped),
        exemplar.value,
        int(exemplar.time_unix * NANO),
        span_id=int(exemplar.span_id, 16) if exemplar.span_id else None,
        trace_id=int(exemplar.trace_id, 16) if exemplar.trace_id else None,
    )
