"""Instruments of other libraries: collected by the SDK, kept here as totals since start.

The SDK is asked for increases (delta temporality) and they are added up here, for two reasons: a forked child
starts at nothing instead of at its parent's totals, and an interval of zeros does not coarsen an exponential
histogram for good, as the SDK's own cumulative merge does. Of observable counters it is asked for totals, as
their callbacks have them; a forked child counts from what they are at the fork.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock, RLock, get_ident
from typing import Any

from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricReader,
    MetricsData,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel._compat import Gauge, cardinality_limits, prometheus_name
from bext_otel.apps import clean
from bext_otel.metrics import snapshot as ours
from bext_otel.metrics.numbers import exact_point
from bext_otel.metrics.sdk_points import sum_of, value_of
from bext_otel.metrics.snapshot import Family, FamilyType, GaugeMerge, Point, Series
from bext_otel.metrics.third_party.cardinality import CARDINALITY_LIMIT, OVERFLOW_ATTRIBUTES, Cardinality

__all__ = ["SdkInstrumentReader", "series_key"]

# Series of all other libraries together; past it, each instrument has one more for what finds no room.
_MAX_SERIES = 50_000

# How long a collection waits for one in another thread: half of what Prometheus gives a scrape by default.
_PATIENCE_SECONDS = 5.0

_DELTA = AggregationTemporality.DELTA


@dataclass
class _Stream:
    """One metric of one scope: the newest description, and points by attributes. `observed`: of an observable
    counter.

    `shown` has what was made of a point for a snapshot, which is kept until the point is another: of many
    series few change within a second. `alike` says that some of them are written with the same labels.
    """

    scope: InstrumentationScope
    metric: sdk.Metric
    points: dict[Any, Any] = field(default_factory=dict)
    observed: bool = False
    shown: dict[Any, tuple[Any, Point]] = field(default_factory=dict)
    labels: set[ours.LabelSet] = field(default_factory=set)
    alike: bool = False

    def snapshot(self, set_at: Mapping[Any, int]) -> Family:
        """As a Prometheus family. `set_at` says when gauges were set (Unix nanoseconds)."""
        shown, points = self.shown, []
        for key, point in self.points.items():
            held = shown.get(key)
            if held is None or held[0] is not point or set_at:
                held = shown[key] = self._shown(key, point, held, set_at)
            points.append(held[1])
        return _family(self.metric, tuple(points))

    def _shown(
        self, key: Any, point: Any, held: tuple[Any, Point] | None, set_at: Mapping[Any, int]
    ) -> tuple[Any, Point]:
        told_at = set_at.get(key, 0) / 1e9
        if held is not None and held[0] is point and held[1].set_at == told_at:
            return held
        series = held[1].series if held is not None else self._series(point)
        return point, Point(series, value_of(point), set_at=told_at)

    def _series(self, point: Any) -> Series:
        labels = tuple((name, clean(value, name)) for name, value in sorted((point.attributes or {}).items()))
        self.alike = self.alike or labels in self.labels
        self.labels.add(labels)
        return Series(labels)


class SdkInstrumentReader(MetricReader):
    """The one reader of the SDK's part. `dropped` counts the points that found no room; `on_measurement` is
    called after each."""

    def __init__(self, cardinality_limit: int = CARDINALITY_LIMIT) -> None:
        # How the SDK is made to drop what it holds for us; a provider that can do it without collecting says
        # how.
        self.forget: Callable[[], None] = self.collect
        super().__init__(
            preferred_temporality={Counter: _DELTA, Histogram: _DELTA},
            **cardinality_limits(cardinality_limit),
        )
        self._cardinality = Cardinality(cardinality_limit)
        # When gauges were set last (Unix nanoseconds), by stream and series.
        self._set_at: dict[tuple[InstrumentationScope, str], dict[Any, int]] = {}
        self.dropped = 0
        self.on_measurement: Callable[[], None] = lambda: None
        # What observable counters showed at the fork, by stream and series, and when that was.
        self._inherited: dict[tuple[InstrumentationScope, str], dict[Any, float]] = {}
        self._began = 0
        self._begin()
        self._streams: dict[tuple[InstrumentationScope, str], _Stream] = {}
        self._series = 0
        # What `series_key` answers for attributes of the SDK's, by their id, beside them.
        self._keys: dict[int, tuple[Any, Any]] = {}

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        """Called by `collect`."""
        with self._lock:
            for resource_metrics in metrics_data.resource_metrics:
                for scope_metrics in resource_metrics.scope_metrics:
                    for metric in scope_metrics.metrics:
                        self._add(scope_metrics.scope, metric)

    def admit(self, measurement: Any) -> Any:
        """What the SDK is to take instead of a measurement: the same, or one among those past the limit of
        attribute sets."""
        found = self._cardinality.admit(measurement)
        instrument: Any = found.instrument
        if isinstance(found.instrument, Gauge):
            times = self._set_at.setdefault((instrument.instrumentation_scope, instrument.name), {})
            times[series_key(found)] = found.time_unix_nano
        return found

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Nothing is held that needs ending."""

    def _begin(self) -> None:
        self._lock = Lock()
        # Held while callbacks of the application run; a provider has one of its own, which all of its readers
        # take turns with.
        self.turns = RLock()
        # The thread that collects, and since when.
        self._collector: tuple[int, float] | None = None

    def collect(self, timeout_millis: float = 10_000) -> None:  # type: ignore[misc]  # final upstream, where it waits for itself
        """Add up what came since the last time. Never waits for itself, nor for ever: then `totals` stay as
        they were.

        A callback that collects, as one does that scrapes or flushes, does so in the middle of a collection;
        and a thread that collects may be what a callback in another thread waits for.
        """
        collector = self._collector
        if collector is not None and collector[0] == get_ident():
            return
        hanging = 0.0 if collector is None else time.monotonic() - collector[1]
        if not self.turns.acquire(timeout=max(_PATIENCE_SECONDS - hanging, 0)):
            return
        self._collector = get_ident(), time.monotonic()
        try:
            super().collect(timeout_millis)
        finally:
            self._collector = None
            self.turns.release()

    def reset(self) -> None:
        """Start over, as a forked child does: discard what the parent left to be collected, and its
        totals."""
        self._begin()
        self._inherited.clear()
        self._cardinality.reset()
        self._set_at.clear()
        self.forget()
        with self._lock:
            self._began = time.time_ns()
            self._inherited = {
                name: {key: point.value for key, point in stream.points.items()}
                for name, stream in self._streams.items()
                if stream.observed
            }
            self._streams.clear()
            self._series = 0
            self._keys.clear()

    def observes(self, scope: InstrumentationScope, name: str) -> bool:
        """Whether this is an observable counter."""
        stream = self._streams.get((scope, name))
        return stream is not None and stream.observed

    def totals(self, now_unix_nano: int) -> list[tuple[InstrumentationScope, sdk.Metric]]:
        """Every metric with its points since start, as the SDK's own data with cumulative temporality."""
        found = []
        with self._lock:
            for stream in self._streams.values():
                for key, point in stream.points.items():
                    # The SDK starts a series by the wall clock, which may have been ahead at that moment;
                    # gauges have no start.
                    if (point.start_time_unix_nano or 0) > now_unix_nano:
                        stream.points[key] = _starting(now_unix_nano, point)
                points = [replace(point, time_unix_nano=now_unix_nano) for point in stream.points.values()]
                found.append((stream.scope, _with_points(stream.metric, points)))
        return found

    def families(self) -> list[Family]:
        """Every metric as a Prometheus family, named by the standard translation; two of one name are one
        family."""
        named: dict[str, list[tuple[_Stream, Family]]] = {}
        with self._lock:
            for (scope, name), stream in self._streams.items():
                family = stream.snapshot(self._set_at.get((scope, name), {}))
                named.setdefault(family.name, []).append((stream, family))
            return [
                told[0][1] if len(told) == 1 and not told[0][0].alike else _one([each for _, each in told])
                for told in named.values()
            ]

    def _add(self, scope: InstrumentationScope, metric: sdk.Metric) -> None:
        name = (scope, metric.name)
        stream = self._streams.setdefault(name, _Stream(scope, metric))
        stream.metric = metric
        adding = getattr(metric.data, "aggregation_temporality", None) is _DELTA
        stream.observed = isinstance(metric.data, sdk.Sum) and metric.data.is_monotonic and not adding
        inherited = self._inherited.get(name, {}) if stream.observed else None
        for told in metric.data.data_points:
            if (point := exact_point(told)) is None:
                self.dropped += 1
                continue
            key = self._key(point)
            before = stream.points.get(key)
            if before is None and self._series >= _MAX_SERIES:
                point = replace(point, attributes=dict(OVERFLOW_ATTRIBUTES))
                key = series_key(point)
                before = stream.points.get(key)
            self._series += before is None
            total: Any = self._since_fork(inherited, key, point) if inherited is not None else point
            if before is not None:
                total = (
                    exact_point(sum_of(before, point))
                    if adding
                    else _starting(before.start_time_unix_nano, total)
                )
            stream.points[key] = total

    def _key(self, point: Any) -> Any:
        attributes = point.attributes
        held = self._keys.get(id(attributes))
        if held is None or held[0] is not attributes:
            if len(self._keys) > _MAX_SERIES:
                self._keys.clear()
            held = self._keys[id(attributes)] = (attributes, series_key(point))
        return held[1]

    def _since_fork(self, inherited: dict[Any, float], key: Any, point: Any) -> Any:
        if not self._began:
            return point
        if point.value < inherited.get(
            key, 0
        ):  # it has begun anew, as what counts for a process does in a new one
            inherited.pop(key, None)
        return replace(point, value=point.value - inherited.get(key, 0), start_time_unix_nano=self._began)


def series_key(point: Any) -> tuple[tuple[str, str, str], ...]:
    """What tells a point's series from others: names and values of its attributes, with the values' types
    since 1 == True == 1.0."""
    return tuple(
        sorted((name, type(value).__name__, str(value)) for name, value in (point.attributes or {}).items())
    )


def _starting(start_unix_nano: int | None, point: Any) -> Any:
    return (
        point
        if point.start_time_unix_nano == start_unix_nano
        else replace(point, start_time_unix_nano=start_unix_nano)
    )


def _with_points(metric: sdk.Metric, points: list[Any]) -> sdk.Metric:
    data: Any = metric.data
    changed: dict[str, Any] = {"data_points": points}
    if hasattr(data, "aggregation_temporality"):
        changed["aggregation_temporality"] = AggregationTemporality.CUMULATIVE
    return replace(metric, data=replace(data, **changed))


def _family(metric: sdk.Metric, points: tuple[Point, ...]) -> Family:
    data = metric.data
    counter = isinstance(data, sdk.Sum) and data.is_monotonic
    kind: FamilyType = "gauge"
    if counter:
        kind = "counter"
    elif isinstance(data, (sdk.Histogram, sdk.ExponentialHistogram)):
        kind = "histogram"
    name = prometheus_name(metric.name, metric.unit or "", counter=counter)
    # What adds up over attributes adds up over workers too; of what is merely looked at the newest look
    # holds.
    merge: GaugeMerge = "livesum" if isinstance(data, sdk.Sum) else "livemostrecent"
    return Family(name, kind, metric.description or "", "", points, merge=merge)


def _one(families: list[Family]) -> Family:
    """Several of one name as one, and of series that are written alike one: those of the first type."""
    first, points = families[0], dict[ours.LabelSet, Point]()
    for family in families:
        if family.type == first.type:
            for point in family.points:
                labels = point.series.labels
                points[labels] = _joined(points[labels], point, family.type) if labels in points else point
    return replace(first, points=tuple(points.values()))


def _joined(one: Point, other: Point, kind: FamilyType) -> Point:
    """Two points whose labels are written alike (bytes that are no text have one stand-in): totals add up, of
    gauges the newer holds."""
    a, b = one.value, other.value
    if isinstance(a, ours.Histogram) and isinstance(b, ours.Histogram) and a.bounds == b.bounds:
        return replace(one, value=a.plus(b))
    if kind == "counter" and isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return replace(one, value=a + b)
    return other
