"""Other libraries' instruments: totals since start, by their standard names."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogramDataPoint,
    InMemoryMetricReader,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from bext_otel.apps import Budgets
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.sdk_points import sum_of
from bext_otel.metrics.snapshot import Histogram
from bext_otel.metrics.store.streams import Streams
from bext_otel.metrics.third_party.sdk_instruments import SdkInstrumentReader


class Library:
    """Some library's meter, read by ours and, for comparison, by upstream's cumulative reader."""

    def __init__(self, **options: object) -> None:
        self.reader, self.oracle = SdkInstrumentReader(), InMemoryMetricReader()
        self.provider = MeterProvider([self.reader, self.oracle], shutdown_on_exit=False, **options)  # type: ignore[arg-type]
        self.meter = self.provider.get_meter("some.library", "1.0")

    def values(self) -> dict[str, object]:
        self.reader.collect()
        return {
            f"{family.name}{{{point.series.text}}}": point.value
            for family in self.reader.families()
            for point in family.points
        }


def test_a_counter_is_the_total_of_all_collections() -> None:
    library = Library()
    counter = library.meter.create_counter("queue.jobs", "{job}", "Jobs done.")
    for _ in range(3):
        counter.add(2, {"queue": "mail"})
        values = library.values()
    assert {'queue_jobs_total{queue="mail"}': 6} == values


def test_a_series_that_falls_silent_keeps_its_total() -> None:
    library = Library()
    library.meter.create_counter("queue.jobs").add(2)
    library.values()
    assert {"queue_jobs_total{}": 2} == library.values()


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("ms", "job_time_milliseconds"),
        ("s", "job_time_seconds"),
        ("By", "job_time_bytes"),
        ("{job}", "job_time"),
        ("", "job_time"),
    ],
)
def test_units_become_words(unit: str, expected: str) -> None:
    library = Library()
    library.meter.create_histogram("job.time", unit).record(3)
    assert [f"{expected}{{}}"] == list(library.values())


def test_an_up_down_counter_is_a_gauge_that_goes_down() -> None:
    library = Library()
    active = library.meter.create_up_down_counter("pool.active")
    for change in (5, -2, -1):
        active.add(change)
        values = library.values()
    assert {"pool_active{}": 2} == values


def test_a_histogram_adds_up_over_collections() -> None:
    library = Library()
    histogram = library.meter.create_histogram("job.time", explicit_bucket_boundaries_advisory=[1, 10])
    for value in (0.5, 5, 50):
        histogram.record(value)
        values = library.values()
    assert {"job_time{}": Histogram((1, 10), (1, 1, 1), 55.5, 3)} == values


def test_an_exponential_histogram_of_another_library_does_not_break_the_scrape() -> None:
    library = Library(
        views=[View(instrument_type=HistogramInstrument, aggregation=ExponentialBucketHistogramAggregation())]
    )
    library.meter.create_histogram("job.time").record(3)
    (value,) = library.values().values()
    assert isinstance(value, Histogram)
    assert (1, 3) == (value.count, value.sum)


def test_an_interval_of_zeros_does_not_coarsen_an_exponential_histogram() -> None:
    library = Library(
        views=[View(instrument_type=HistogramInstrument, aggregation=ExponentialBucketHistogramAggregation())]
    )
    histogram = library.meter.create_histogram("job.time")
    for values in ([19.0, 20.0, 21.0], [0.0, 0.0], [19.5]):
        for value in values:
            histogram.record(value)
        library.values()
    ((_, metric),) = library.reader.totals(time.time_ns())
    (point,) = metric.data.data_points
    assert isinstance(point, ExponentialHistogramDataPoint)
    assert point.scale > 3
    assert (6, 2) == (point.count, point.zero_count)


def test_what_upstreams_cumulative_reader_says_is_what_we_say() -> None:
    library = Library()
    counter = library.meter.create_counter("queue.jobs")
    for round_ in range(4):
        for queue in ("mail", "pay"):
            counter.add(round_ + 1, {"queue": queue})
        library.values()
    data = library.oracle.get_metrics_data()
    assert data is not None
    theirs = {
        tuple(sorted((point.attributes or {}).items())): point.value  # type: ignore[union-attr]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
    }
    ((_, ours),) = library.reader.totals(time.time_ns())
    assert theirs == {
        tuple(sorted((point.attributes or {}).items())): point.value for point in ours.data.data_points
    }  # type: ignore[union-attr]
    assert AggregationTemporality.CUMULATIVE == ours.data.aggregation_temporality  # type: ignore[union-attr]


def test_two_names_that_translate_to_one_are_one_family_without_duplicate_series() -> None:
    library = Library()
    library.meter.create_counter("queue.jobs").add(1)
    library.meter.create_counter("queue_jobs").add(1)
    assert ["queue_jobs_total{}"] == list(library.values())


def test_attributes_that_are_written_alike_add_up() -> None:
    """Each byte that is no UTF-8 becomes the same replacement character."""
    library = Library()
    counter, histogram = library.meter.create_counter("odd"), library.meter.create_histogram("odd.size")
    gauge = library.meter.create_gauge("odd.level")
    for value in ("\udcff", "\udcfe", "\x00"):
        counter.add(1, {"value": value})
        histogram.record(3, {"value": value})
        gauge.set(4, {"value": value})
    values = library.values()
    label = '{value="\ufffd"}'
    assert (3, 4) == (values[f"odd_total{label}"], values[f"odd_level{label}"])
    sizes = values[f"odd_size{label}"]
    assert isinstance(sizes, Histogram)
    assert (3, 9, 3) == (sizes.count, sizes.sum, sum(sizes.counts))


def test_a_reset_discards_what_the_parent_had_counted() -> None:
    library = Library()
    counter = library.meter.create_counter("queue.jobs")
    counter.add(5)
    library.values()
    counter.add(5)
    library.reader.reset()
    counter.add(1)
    assert {"queue_jobs_total{}": 1} == library.values()


def test_an_observable_counter_counts_from_the_fork() -> None:
    library, seen = Library(), {"done": 100, "ticks": 50}
    library.meter.create_observable_counter(
        "work", [lambda _: [Observation(value, {"of": name}) for name, value in seen.items()]]
    )
    assert {'work_total{of="done"}': 100, 'work_total{of="ticks"}': 50} == library.values()
    library.reader.reset()
    assert {'work_total{of="done"}': 0, 'work_total{of="ticks"}': 0} == library.values()
    # What the operating system counts for a process starts anew in a child, and says so only later.
    seen.update(done=103, ticks=2)
    assert {'work_total{of="done"}': 3, 'work_total{of="ticks"}': 2} == library.values()


def test_a_callback_that_collects_finds_the_totals_of_before() -> None:
    provider = BextMeterProvider(Streams(Budgets({})), Resource({}))
    reader, meter = provider.foreign, provider.get_meter("some.library")
    meter.create_counter("queue.jobs").add(2)
    reader.collect()
    seen: list[list[str]] = []

    def observe(_: CallbackOptions) -> list[Observation]:
        reader.collect()
        seen.append([family.name for family in reader.families()])
        return [Observation(1)]

    meter.create_observable_gauge("level", [observe])
    collecting = threading.Thread(target=reader.collect, daemon=True)
    collecting.start()
    collecting.join(20)
    assert not collecting.is_alive(), "it waits for itself"
    assert [["queue_jobs_total"]] == seen
    assert {"queue_jobs_total", "level"} == {family.name for family in reader.families()}
    provider.shutdown()


def test_a_callback_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever collects meanwhile, in another thread, shows what is known."""
    monkeypatch.setattr("bext_otel.metrics.third_party.sdk_instruments._PATIENCE_SECONDS", 0.2)
    provider = BextMeterProvider(Streams(Budgets({})), Resource({}))
    reader, meter = provider.foreign, provider.get_meter("some.library")
    meter.create_counter("queue.jobs").add(2)
    reader.collect()
    hangs, goes_on = threading.Event(), threading.Event()

    def observe(_: CallbackOptions) -> list[Observation]:
        hangs.set()
        goes_on.wait(20)
        return [Observation(1)]

    meter.create_observable_gauge("level", [observe])
    collecting = threading.Thread(target=reader.collect, daemon=True)
    collecting.start()
    assert hangs.wait(20)
    reader.collect()
    began = time.monotonic()
    for _ in range(20):
        reader.collect()
    assert time.monotonic() - began < 2
    assert ["queue_jobs_total"] == [family.name for family in reader.families()]
    goes_on.set()
    collecting.join(20)
    assert {"queue_jobs_total", "level"} == {family.name for family in reader.families()}
    provider.shutdown()


def test_callbacks_may_collect_whatever_reader_of_the_application_asks_them() -> None:
    """All readers of a provider take turns."""
    provider = BextMeterProvider(Streams(Budgets({})), Resource({}))
    theirs = InMemoryMetricReader()
    provider.add_metric_reader(theirs)
    calls: list[None] = []

    def observe(_: CallbackOptions) -> list[Observation]:
        calls.append(None)
        provider.foreign.collect()
        return [Observation(len(calls))]

    provider.get_meter("some.library").create_observable_gauge("level", [observe])
    collecting = threading.Thread(target=theirs.collect, daemon=True)
    collecting.start()
    collecting.join(20)
    assert not collecting.is_alive(), "it waits for itself"
    assert ["level"] == [family.name for family in provider.foreign.families()]
    provider.shutdown()


def test_values_far_apart_in_two_collections_are_in_no_more_buckets_than_upstream_has() -> None:
    """At the scale that the SDK begins with, ten million buckets lie between them."""
    library = Library(
        views=[View(instrument_type=HistogramInstrument, aggregation=ExponentialBucketHistogramAggregation())]
    )
    waits = library.meter.create_histogram("waits")
    for value in (1.0, 1000.0):
        waits.record(value)
        library.reader.collect()
    ((_, metric),) = library.reader.totals(time.time_ns())
    data = library.oracle.get_metrics_data()
    assert data is not None
    (ours,), (theirs,) = (
        metric.data.data_points,
        data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points,
    )
    assert isinstance(ours, ExponentialHistogramDataPoint)
    assert isinstance(theirs, ExponentialHistogramDataPoint)
    assert (theirs.scale, theirs.positive.offset) == (ours.scale, ours.positive.offset)
    assert (
        list(theirs.positive.bucket_counts)[: len(ours.positive.bucket_counts)] == ours.positive.bucket_counts
    )
    assert 2 == sum(ours.positive.bucket_counts)


def point(scale: int, offset: int, counts: list[int], zeros: int = 0) -> ExponentialHistogramDataPoint:
    count = sum(counts) + zeros
    return ExponentialHistogramDataPoint(
        {}, 1, 2, count, 1.0, scale, zeros, Buckets(offset, counts), Buckets(0, []), 0, 0.0, 1.0
    )


@given(
    st.integers(-2, 8),
    st.integers(-2, 8),
    st.lists(st.integers(0, 5), max_size=8),
    st.lists(st.integers(0, 5), max_size=8),
    st.integers(-20, 20),
)
def test_adding_exponential_points_of_any_scales_loses_no_value(
    scale_a: int, scale_b: int, counts_a: list[int], counts_b: list[int], offset: int
) -> None:
    merged = sum_of(point(scale_a, 0, counts_a, zeros=1), point(scale_b, offset, counts_b))
    assert sum(counts_a) + sum(counts_b) == sum(merged.positive.bucket_counts)
    assert sum(counts_a) + sum(counts_b) + 1 == merged.count
