"""Other libraries' instruments on our page: totals since start, by their standard names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.snapshot import Histogram
from bext_otel.metrics.store.streams import Streams

EXPONENTIAL = View(instrument_type=HistogramInstrument, aggregation=ExponentialBucketHistogramAggregation())


class Library:
    """Some library's meter, and what our page shows of it."""

    def __init__(self, streams: Streams, *views: View) -> None:
        self.provider = BextMeterProvider(streams, Resource({}), views=views, scope_labels=False)
        self.meter = self.provider.get_meter("some.library", "1.0")

    def values(self) -> dict[str, object]:
        self.provider.instruments.collect()
        self.provider.streams.drain()
        return {
            f"{family.name}{{{point.series.sorted_text}}}": point.value
            for family in self.provider.instruments.families()
            for point in family.points
        }


@pytest.fixture
def library(streams: Streams) -> Iterator[Library]:
    made = Library(streams)
    yield made
    made.provider.shutdown()


def test_a_counter_is_the_total_of_all_collections(library: Library) -> None:
    counter = library.meter.create_counter("queue.jobs", "{job}", "Jobs done.")
    for _ in range(3):
        counter.add(2, {"queue": "mail"})
        values = library.values()
    assert {'queue_jobs_total{queue="mail"}': 6} == values


def test_a_series_that_falls_silent_keeps_its_total(library: Library) -> None:
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
def test_units_become_words(library: Library, unit: str, expected: str) -> None:
    library.meter.create_histogram("job.time", unit).record(3)
    assert [f"{expected}{{}}"] == list(library.values())


def test_an_up_down_counter_is_a_gauge_that_goes_down(library: Library) -> None:
    active = library.meter.create_up_down_counter("pool.active")
    for change in (5, -2, -1):
        active.add(change)
        values = library.values()
    assert {"pool_active{}": 2} == values


def test_a_histogram_adds_up_over_collections(library: Library) -> None:
    histogram = library.meter.create_histogram("job.time", explicit_bucket_boundaries_advisory=[1, 10])
    for value in (0.5, 5, 50):
        histogram.record(value)
        values = library.values()
    assert {"job_time{}": Histogram((1, 10), (1, 1, 1), 55.5, 3, 0.5, 50)} == values


def test_an_exponential_histogram_of_another_library_does_not_break_the_scrape(streams: Streams) -> None:
    library = Library(streams, EXPONENTIAL)
    library.meter.create_histogram("job.time").record(3)
    (value,) = library.values().values()
    assert isinstance(value, Histogram)
    assert (1, 3) == (value.count, value.sum)
    below, at, above = value.bounds[0], value.bounds[1], value.counts
    assert (0.0, True, (0, 1, 0)) == (below, 3 <= at < 3.0001, above)


def test_attributes_in_another_order_are_the_same_series(library: Library) -> None:
    counter = library.meter.create_counter("queue.jobs")
    counter.add(1, {"queue": "mail", "host": "a"})
    counter.add(1, {"host": "a", "queue": "mail"})
    assert {'queue_jobs_total{host="a",queue="mail"}': 2} == library.values()


def test_values_of_other_types_are_other_series(library: Library) -> None:
    """1, True, 1.0 and "1" are equal, or written alike, and are not the same."""
    counter = library.meter.create_counter("queue.jobs")
    for _ in range(2):
        for value in (1, True, 1.0, "1", b"1"):
            counter.add(1, {"value": value})
    library.values()
    (stream,) = library.provider.instruments.every()
    assert [2] * 5 == [held.value for _, held in stream.points()]


class Unspeakable:
    def __str__(self) -> str:
        raise LookupError("no word for it")


def test_attributes_that_nobody_can_read_cost_no_measurement(library: Library) -> None:
    counter = library.meter.create_counter("queue.jobs")
    for value in (
        Unspeakable(),
        [Unspeakable()],
        {"a": Unspeakable()},
        "\ud800",
        b"\xff",
        None,
        float("nan"),
    ):
        counter.add(0, {"value": value})  # type: ignore[dict-item]  # on purpose
    library.meter.create_observable_counter(
        "seen",
        [lambda _: [Observation(1, {"v": Unspeakable()}), Observation(2, 7)]],  # type: ignore[dict-item,arg-type]
    )
    for attributes in ({1: "a"}, {"": "a"}, {None: 1}, "queue", 7, ["queue"], {"queue": object()}):
        counter.add(1, attributes)  # type: ignore[arg-type]  # on purpose
    assert 7 + 3 == sum(library.values().values())  # type: ignore[arg-type]  # numbers


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf"), "many", None, 1e400, 10**400])
def test_an_amount_that_a_counter_does_not_take_is_counted_as_dropped(
    library: Library, amount: object
) -> None:
    counter = library.meter.create_counter("queue.jobs")
    counter.add(2)
    counter.add(amount)  # type: ignore[arg-type]  # on purpose
    assert {"queue_jobs_total{}": 2} == library.values()
    assert 1 == library.provider.instruments.dropped


def test_a_list_that_is_changed_afterwards_changes_no_series(library: Library) -> None:
    tags = ["a"]
    library.meter.create_counter("queue.jobs").add(1, {"tags": tags})
    tags.append("b")
    library.meter.create_counter("queue.jobs").add(1, {"tags": ["a"]})
    assert {'queue_jobs_total{tags="[\\"a\\"]"}': 2} == library.values()


def test_a_bound_instrument_measures_what_an_unbound_call_does(library: Library) -> None:
    counter = library.meter.create_counter("queue.jobs")
    bound = counter.bind({"queue": "mail"})  # type: ignore[attr-defined]  # more than the API offers
    bound(1)
    counter.add(1, {"queue": "mail"})
    library.provider.streams.reset()
    library.provider.instruments.reset()
    bound(5)
    counter.add(1, {"queue": "mail"})
    assert {'queue_jobs_total{queue="mail"}': 6} == library.values()


def test_a_reset_discards_what_the_parent_had_counted(library: Library) -> None:
    counter = library.meter.create_counter("queue.jobs")
    counter.add(5)
    library.values()
    counter.add(5, {"queue": "mail"})
    library.provider.streams.reset()
    library.provider.instruments.reset()
    counter.add(1)
    assert {"queue_jobs_total{}": 1} == library.values()


def test_an_observable_counter_counts_from_the_fork(library: Library) -> None:
    seen = {"done": 100, "ticks": 50}
    library.meter.create_observable_counter(
        "work", [lambda _: [Observation(value, {"of": name}) for name, value in seen.items()]]
    )
    assert {'work_total{of="done"}': 100, 'work_total{of="ticks"}': 50} == library.values()
    library.provider.instruments.reset()
    assert {'work_total{of="done"}': 0, 'work_total{of="ticks"}': 0} == library.values()
    # What the operating system counts for a process starts anew in a child, and says so only later.
    seen.update(done=103, ticks=2)
    assert {'work_total{of="done"}': 3, 'work_total{of="ticks"}': 2} == library.values()


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: a series that is no longer observed is not exported"
)
def test_a_series_that_is_no_longer_observed_is_gone(library: Library) -> None:
    """Of one-off jobs there may be any number, and they are not held against the limit."""
    running: list[str] = []

    def observe(_: CallbackOptions) -> list[Observation]:
        return [Observation(1, {"job": job, "host": 1}) for job in running]

    library.meter.create_observable_gauge("jobs", [observe])
    for number in range(3000):
        running[:] = [f"job-{number}"]
        library.provider.instruments.collect()
    assert {'jobs{host="1",job="job-2999"}': 1} == library.values()
    running.clear()
    assert {} == library.values()


@pytest.mark.parametrize("limit", [2000, 10])
def test_totals_are_exact_while_threads_make_series_measure_and_read(streams: Streams, limit: int) -> None:
    provider = BextMeterProvider(streams, Resource({}), series_limit=limit, scope_labels=False)
    counter = provider.get_meter("some.library").create_counter("jobs")
    wait = provider.get_meter("some.library").create_histogram("wait")
    reader = InMemoryMetricReader({sdk.Counter: AggregationTemporality.DELTA})
    provider.add_metric_reader(reader)
    stop, deltas = threading.Event(), []

    def measure(start: int) -> None:
        for number in range(2000):
            attributes = {"n": (start + number) % 40, "kind": str(number % 3)}
            if number % 2:
                attributes = dict(reversed(attributes.items()))
            counter.add(1, attributes)
            wait.record(1, attributes)

    def read() -> None:
        last = False
        while not last:
            last = stop.is_set()
            data = reader.get_metrics_data()
            deltas.extend(
                point.value
                for resource in (data.resource_metrics if data is not None else ())
                for scope in resource.scope_metrics
                for metric in scope.metrics
                if metric.name == "jobs"
                for point in metric.data.data_points
                if isinstance(point, NumberDataPoint)
            )

    reading = threading.Thread(target=read)
    reading.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(measure, range(0, 40, 10)))
    stop.set()
    reading.join()
    streams.drain()
    jobs, waits = provider.instruments.families()
    assert 8000 == sum(point.value for point in jobs.points) == sum(deltas)  # type: ignore[misc]  # numbers
    assert 8000 == sum(point.value.count for point in waits.points)  # type: ignore[union-attr]  # histograms
    labels = [point.series.sorted_text for point in jobs.points]
    assert len(labels) == len(set(labels)) <= limit + 1
    assert 120 == len(labels) or limit < 120
    provider.shutdown()
