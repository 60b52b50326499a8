"""A snapshot says what was measured, all of it and nothing else."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from bext_otel.catalogue import (
    CACHE_ENTRIES,
    CACHE_HITS,
    LABEL_OVERFLOW,
    METRICS,
    REQUEST_DURATION,
    REQUESTS,
    Metric,
)
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.snapshot import Distribution, Histogram, Snapshot
from bext_otel.metrics.store.streams import Streams
from bext_otel.testing import Clock

SHOP = {"app": "shop", "layer": "isr"}
ONE = {"app": "shop", "method": "GET", "status": "200", "route": "/"}


def values(snapshot: Snapshot, metric: Metric) -> dict[str, object]:
    family = snapshot.family(metric)
    return {} if family is None else {point.series.text: point.value for point in family.points}


def test_a_metric_that_was_never_measured_has_no_family(reading: SnapshotReader) -> None:
    assert () == reading.snapshot().families


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.exported)
def test_every_row_of_the_catalogue_can_be_measured_and_read(
    reading: SnapshotReader, streams: Streams, metric: Metric
) -> None:
    labels = {label.name: label.values[0] if label.values else "x" for label in metric.labels}
    streams.stream(metric).cell(labels).add(2)
    (value,) = values(reading.snapshot(), metric).values()
    if metric.kind == "summary":
        assert isinstance(value, Distribution)
        assert (1, 2.0) == (value.count, value.sum)
    elif metric.kind == "histogram":
        assert isinstance(value, Histogram)
        assert (1, 2.0, 1) == (value.count, value.sum, sum(value.counts))
    else:
        assert 2 == value


def test_quantiles_are_of_the_window_and_sums_of_the_whole_life(
    reading: SnapshotReader, streams: Streams, monotonic: Clock
) -> None:
    cell = streams.stream(REQUEST_DURATION).cell({"app": "shop", "route": "/"})
    cell.add(10.0)
    reading.snapshot()
    monotonic.advance(3600)
    cell.add(20.0)
    (value,) = values(reading.snapshot(), REQUEST_DURATION).values()
    assert isinstance(value, Distribution)
    assert (2, 30.0) == (value.count, value.sum)
    assert 20.0 == dict(value.quantiles())[0.5]


def test_an_idle_window_is_nan(reading: SnapshotReader, streams: Streams, monotonic: Clock) -> None:
    streams.stream(REQUEST_DURATION).cell({"app": "shop", "route": "/"}).add(10.0)
    reading.snapshot()
    monotonic.advance(3600)
    (value,) = values(reading.snapshot(), REQUEST_DURATION).values()
    assert isinstance(value, Distribution)
    assert all(math.isnan(quantile) for _, quantile in value.quantiles())


def test_rates_are_of_the_recent_past(reading: SnapshotReader, streams: Streams, monotonic: Clock) -> None:
    cell = streams.stream(REQUESTS).cell(ONE)
    monotonic.advance(120)
    cell.add(300)
    monotonic.advance(30)
    rates = reading.snapshot().rates[REQUESTS.exported]
    assert 4.0 < rates[cell.series.labels] < 7.0


def test_the_wall_clock_jumping_back_an_hour_changes_neither_uptime_nor_rates(
    reading: SnapshotReader, streams: Streams, bext_clock: Clock, monotonic: Clock
) -> None:
    cell = streams.stream(REQUESTS).cell(ONE)
    cell.add(60)
    monotonic.advance(20)
    before = reading.snapshot()
    bext_clock.advance(-3600)
    after = reading.snapshot()
    assert before.uptime_seconds == after.uptime_seconds == 20.0
    assert before.rates == after.rates


def test_an_observer_adds_to_what_was_counted(reading: SnapshotReader, streams: Streams) -> None:
    streams.stream(CACHE_HITS).cell(SHOP).add(2)
    streams.stream(CACHE_HITS).observers.append(lambda: [(40, SHOP)])
    assert {'app="shop",layer="isr"': 42} == values(reading.snapshot(), CACHE_HITS)


def test_two_observers_of_one_series_add_up(reading: SnapshotReader, streams: Streams) -> None:
    streams.stream(CACHE_ENTRIES).observers += [lambda: [(1, SHOP)], lambda: [(2, SHOP)]]
    assert {'app="shop",layer="isr"': 3} == values(reading.snapshot(), CACHE_ENTRIES)


def test_an_observer_may_measure_and_read(reading: SnapshotReader, streams: Streams) -> None:
    def observer() -> list[tuple[float, dict[str, str]]]:
        streams.stream(CACHE_HITS).cell(SHOP).add(1)
        streams.drain()
        return [(7, SHOP)]

    streams.stream(CACHE_ENTRIES).observers.append(observer)
    assert {'app="shop",layer="isr"': 7} == values(reading.snapshot(), CACHE_ENTRIES)


def test_a_used_up_budget_is_a_metric(reading: SnapshotReader, streams: Streams) -> None:
    for number in range(300):
        streams.stream(CACHE_HITS).cell({"app": f"app-{number}", "layer": "isr"}).add(1)
    assert {'label="app"': 100} == values(reading.snapshot(), LABEL_OVERFLOW)


def test_the_first_measurement_inside_a_sampled_span_is_the_exemplar(
    reading: SnapshotReader, streams: Streams
) -> None:
    def inside(trace_id: int, flags: int) -> Callable[[], None]:
        span = NonRecordingSpan(SpanContext(trace_id, 0xABC, is_remote=False, trace_flags=TraceFlags(flags)))
        return lambda: streams.stream(CACHE_HITS).cell(SHOP).add(1, trace.set_span_in_context(span))

    inside(0x1, 1)()
    inside(0x2, 1)()
    family = reading.snapshot().family(CACHE_HITS)
    assert family is not None
    exemplar = family.points[0].exemplar
    assert exemplar is not None
    assert (f"{1:032x}", f"{0xABC:016x}", 1) == (exemplar.trace_id, exemplar.span_id, exemplar.value)


def test_unsampled_spans_before_a_sampled_one_do_not_keep_it_from_being_the_exemplar(
    reading: SnapshotReader, streams: Streams
) -> None:
    """Up to a number of them, since a look costs more than a measurement."""

    def inside(trace_id: int, flags: int) -> None:
        span = NonRecordingSpan(SpanContext(trace_id, 0xABC, is_remote=False, trace_flags=TraceFlags(flags)))
        streams.stream(CACHE_HITS).cell(SHOP).add(1, trace.set_span_in_context(span))

    def exemplar() -> str | None:
        family = reading.snapshot().family(CACHE_HITS)
        assert family is not None
        found = family.points[0].exemplar
        return found.trace_id if found is not None else None

    for _ in range(50):
        inside(0x1, 0)
    inside(0x2, 1)
    assert exemplar() is None, "too many were in vain"
    for _ in range(10):
        inside(0x3, 0)
    inside(0x4, 1)
    inside(0x5, 1)
    assert f"{4:032x}" == exemplar()


def test_no_amount_that_is_dropped_is_an_exemplar(reading: SnapshotReader, streams: Streams) -> None:
    span = NonRecordingSpan(SpanContext(0x1, 0xABC, is_remote=False, trace_flags=TraceFlags(1)))
    for amount in (-1, 1):
        streams.stream(CACHE_HITS).cell(SHOP).add(amount, trace.set_span_in_context(span))
    family = reading.snapshot().family(CACHE_HITS)
    assert family is not None
    assert family.points[0].exemplar is None or 1 == family.points[0].exemplar.value


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_at_nothing(reading: SnapshotReader, streams: Streams) -> None:
    cell = streams.stream(CACHE_HITS).cell(SHOP)
    cell.add(5)
    reading.snapshot()
    child = os.fork()
    if child == 0:
        reading.reset()
        cell.add(1)
        os._exit(0 if values(reading.snapshot(), CACHE_HITS) == {'app="shop",layer="isr"': 1} else 1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert {'app="shop",layer="isr"': 5} == values(reading.snapshot(), CACHE_HITS)
