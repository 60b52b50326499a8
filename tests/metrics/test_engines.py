"""Upstream's own engine as the oracle: both are told the same through the API, and say the same in OTLP's
data."""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from bext_otel.apps import Budgets
from bext_otel.catalogue import (
    CACHE_BYTES,
    CACHE_ENTRIES,
    CACHE_HITS,
    CACHE_MISSES,
    FLOW_ACTIVE_RUNS,
    HTTP_SERVER_REQUEST_DURATION,
    OTEL_SDK_SPAN_LIVE,
    PLUGIN_FUEL_CONSUMED,
    REQUEST_DURATION,
    Metric,
)
from bext_otel.export.periodic import metrics_data
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.store.streams import Streams
from bext_otel.operation import SCOPE

RESOURCE = Resource({"service.name": "shop"})
EXPORTED_AS = {row.name: row.streamed for row in (CACHE_BYTES, CACHE_MISSES, OTEL_SDK_SPAN_LIVE)}

Record = Callable[[float, int], None]
"""Takes an amount, and a number that selects a series."""


def cache(number: int) -> dict[str, Any]:
    return {"app": f"app-{number}", "layer": "isr"}


def instruments(provider: MeterProvider) -> dict[Metric, Record]:
    """Every kind of instrument that is told."""
    meter = provider.get_meter(SCOPE)
    hits, fuel = meter.create_counter(CACHE_HITS.name), meter.create_counter(PLUGIN_FUEL_CONSUMED.name)
    runs, entries = (
        meter.create_up_down_counter(FLOW_ACTIVE_RUNS.name),
        meter.create_gauge(CACHE_ENTRIES.name),
    )
    bounds = list(HTTP_SERVER_REQUEST_DURATION.bounds)
    seconds = meter.create_histogram(
        HTTP_SERVER_REQUEST_DURATION.name, "s", explicit_bucket_boundaries_advisory=bounds
    )
    took = meter.create_histogram(REQUEST_DURATION.name)
    return {
        CACHE_HITS: lambda amount, number: hits.add(int(amount), cache(number)),
        PLUGIN_FUEL_CONSUMED: lambda amount, number: fuel.add(amount, {"plugin": f"plugin-{number}"}),
        FLOW_ACTIVE_RUNS: lambda amount, number: runs.add(int(amount) * (1 - number)),
        CACHE_ENTRIES: lambda amount, number: entries.set(amount, cache(number)),
        HTTP_SERVER_REQUEST_DURATION: lambda amount, number: seconds.record(
            amount, {"http.request.method": "GET", "http.response.status_code": 200 + number}
        ),
        REQUEST_DURATION: lambda amount, number: took.record(amount, {"app": "shop", "route": f"/{number}"}),
    }


class Engines:
    """Both of them, told the same."""

    def __init__(self) -> None:
        self.reader = sdk.InMemoryMetricReader()
        exponential = View(
            instrument_name=REQUEST_DURATION.name, aggregation=ExponentialBucketHistogramAggregation()
        )
        self.upstream = SdkMeterProvider([self.reader], views=[exponential], shutdown_on_exit=False)
        self.ours = BextMeterProvider(Streams(Budgets({})), RESOURCE)
        self.reading = SnapshotReader(self.ours.streams, self.ours.instruments, include_process=False)
        self._told = [instruments(self.upstream), instruments(self.ours)]
        self._names = EXPORTED_AS | {row.name: row.streamed for row in self._told[0]}

    def tell(self, metric: Metric, amount: float, number: int) -> None:
        for told in self._told:
            told[metric](amount, number)

    def compare(self) -> set[str]:
        """The names of what both say, which is the same."""
        expected = {
            self._names[name]: found for name, found in streams(self.reader.get_metrics_data()).items()
        }
        told = streams(metrics_data(self.reading, RESOURCE))
        assert expected == told
        return set(told)

    def end(self) -> None:
        self.reading.stop()
        self.ours.shutdown()
        self.upstream.shutdown()


def streams(data: sdk.MetricsData | None) -> dict[str, Any]:
    """What is said of each stream, in a form that two engines have in common."""
    found = [
        metric
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    return {
        metric.name: (kind(metric.data), {series(point): said(point) for point in metric.data.data_points})
        for metric in found
    }


def kind(data: Any) -> tuple[Any, ...]:
    return type(data), getattr(data, "is_monotonic", None), getattr(data, "aggregation_temporality", None)


def series(point: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((point.attributes or {}).items()))


def said(point: Any) -> Any:
    if isinstance(point, sdk.NumberDataPoint):
        return pytest.approx(point.value)
    if isinstance(point, sdk.HistogramDataPoint):
        return (
            tuple(point.explicit_bounds),
            tuple(point.bucket_counts),
            point.count,
            pytest.approx(point.sum),
            point.min,
            point.max,
        )
    return Exponential(point)


class Exponential:
    """A point whose buckets equal another's if they do at the coarser one's scale: each engine begins at a
    scale of its own."""

    def __init__(self, point: sdk.ExponentialHistogramDataPoint) -> None:
        self.totals = (point.count, pytest.approx(point.sum), point.zero_count, point.min, point.max)
        self.scale, self.buckets = point.scale, point.positive
        assert not any(point.negative.bucket_counts)

    def at(self, scale: int) -> Tally[int]:
        coarse: Tally[int] = Tally()
        for index, count in enumerate(self.buckets.bucket_counts, self.buckets.offset):
            coarse[index >> (self.scale - scale)] += count
        return +coarse

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Exponential)
        scale = min(self.scale, other.scale)
        return self.totals == other.totals and self.at(scale) == other.at(scale)

    def __repr__(self) -> str:
        return f"{self.totals} at scale {self.scale}: {self.at(self.scale)}"

    __hash__ = None  # type: ignore[assignment]


WRONG = [-1, -0.5, math.nan, math.inf, -math.inf]
ROWS = [
    CACHE_HITS,
    PLUGIN_FUEL_CONSUMED,
    FLOW_ACTIVE_RUNS,
    CACHE_ENTRIES,
    HTTP_SERVER_REQUEST_DURATION,
    REQUEST_DURATION,
]
# As milliseconds, from a nanosecond to eleven days.
AMOUNTS = st.one_of(
    st.integers(0, 10**9), st.floats(1e-6, 1e9), st.sampled_from([0, 0.0, 1, 1.0, 2.0, 0.25, 1024.0])
)
RECORDS = st.lists(st.tuples(st.sampled_from(ROWS), AMOUNTS, st.integers(0, 2)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_both_engines_say_the_same_of_any_records_at_any_time(
    rounds: list[list[tuple[Metric, float, int]]],
) -> None:
    engines = Engines()
    try:
        for records in rounds:
            for metric, amount, number in records:
                engines.tell(metric, amount, number)
            assert {metric.streamed for metric, _, _ in records} <= engines.compare()
    finally:
        engines.end()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("wrong", WRONG)
def test_both_engines_drop_the_same_amounts(wrong: float) -> None:
    """A measurement that upstream drops, alone and after one that it takes; what is observed too."""
    engines, value = Engines(), [wrong]

    def observations(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value[0], cache(0)), Observation(2, cache(1))]

    taken = {CACHE_ENTRIES} if math.isfinite(wrong) else set()
    try:
        for provider in (engines.upstream, engines.ours):
            provider.get_meter(SCOPE).create_observable_gauge(CACHE_BYTES.name, [observations])
        for row in (PLUGIN_FUEL_CONSUMED, CACHE_ENTRIES, HTTP_SERVER_REQUEST_DURATION, REQUEST_DURATION):
            engines.tell(row, wrong, 0)
        assert {row.streamed for row in taken} | {CACHE_BYTES.streamed} == engines.compare()
        for amount in (5.0, wrong):
            for row in (PLUGIN_FUEL_CONSUMED, CACHE_ENTRIES, HTTP_SERVER_REQUEST_DURATION, REQUEST_DURATION):
                engines.tell(row, amount, 0)
        engines.compare()
        # Twice by each instrument, but the gauge takes any that is finite; and once in each of two readings
        # of the observed one.
        assert (6 if math.isfinite(wrong) else 10) == sum(stream.rejected for stream in engines.ours.streams)
    finally:
        engines.end()


def test_both_engines_say_the_same_of_every_kind_of_instrument() -> None:
    """Observed ones among them, twice."""
    engines = Engines()
    depth = [3, 1]

    def observations(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, cache(number)) for number, value in enumerate(depth)]

    def live(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(-depth[0], {"otel.span.sampling_result": "DROP"})

    try:
        for provider in (engines.upstream, engines.ours):
            meter = provider.get_meter(SCOPE)
            meter.create_observable_counter(CACHE_MISSES.name, [observations])
            meter.create_observable_gauge(CACHE_BYTES.name, [observations])
            meter.create_observable_up_down_counter(OTEL_SDK_SPAN_LIVE.name, [live])
        for amount in (5, 2.5):
            for row in ROWS:
                engines.tell(row, amount, 2)
            assert {row.streamed for row in ROWS} | set(EXPORTED_AS.values()) == engines.compare()
            depth[:] = [7, 2]
    finally:
        engines.end()
