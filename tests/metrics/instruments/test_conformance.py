"""The same program through upstream's SDK and through ours: each reader gets the same of every kind of instrument,
under every view and preference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    InMemoryMetricReader,
    MetricsData,
    NumberDataPoint,
)
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    LastValueAggregation,
    SumAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource

from bext_otel.apps import Budgets
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.store.streams import Streams
from tests.versions import since

RESOURCE = Resource({"service.name": "shop"})
DELTA = AggregationTemporality.DELTA
KINDS: Sequence[Any] = (
    sdk.Counter,
    sdk.UpDownCounter,
    sdk.Histogram,
    sdk.ObservableCounter,
    sdk.ObservableUpDownCounter,
    sdk.ObservableGauge,
    sdk._Gauge,
)


class Sides:
    """Both providers, each with a reader of the same preferences."""

    def __init__(
        self,
        views: Sequence[View] = (),
        temporality: Mapping[type, AggregationTemporality] | None = None,
        aggregation: Mapping[type, Aggregation] | None = None,
    ) -> None:
        self.readers = [
            InMemoryMetricReader(dict(temporality or {}), dict(aggregation or {})) for _ in range(2)
        ]
        self.providers = (
            MeterProvider([self.readers[0]], RESOURCE, views=views, shutdown_on_exit=False),
            BextMeterProvider(Streams(Budgets({})), RESOURCE, views=views, metric_readers=[self.readers[1]]),
        )

    def each(self, work: Callable[[MeterProvider], object]) -> list[Any]:
        return [work(provider) for provider in self.providers]

    def told(self) -> tuple[Any, Any]:
        """What upstream's reader, and ours, have received."""
        theirs, ours = [simplified(reader.get_metrics_data()) for reader in self.readers]
        return theirs, ours

    def end(self) -> None:
        for provider in self.providers:
            provider.shutdown()


def simplified(data: MetricsData | None) -> dict[Any, Any]:
    """What is said, without when; exemplars by what they are of."""
    return {
        (
            scope.scope.name,
            scope.scope.version,
            scope.scope.schema_url,
            dict(scope.scope.attributes or {}) == {},
        ): {
            (metric.name.lower(), metric.description, metric.unit, *kind(metric.name, metric.data)): {
                series(point): said(point, metric.data) for point in metric.data.data_points
            }
            for metric in scope.metrics
        }
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
    }


# Histograms: their sums never fall, says the specification; upstream says they may.
NEVER_FALL = frozenset({"jobs.wait", "jobs.size"})


def kind(name: str, data: Any) -> tuple[Any, ...]:
    monotonic = getattr(data, "is_monotonic", None)
    if monotonic is not None and name in NEVER_FALL:
        monotonic = True
    return type(data), monotonic, getattr(data, "aggregation_temporality", None)


def series(point: Any) -> tuple[Any, ...]:
    return tuple(sorted((name, type(value), str(value)) for name, value in (point.attributes or {}).items()))


def said(point: Any, data: Any) -> Any:
    if isinstance(point, NumberDataPoint):
        return pytest.approx(point.value)
    # Of an interval we know an extreme only if it is one of the whole life.
    common = point.count, pytest.approx(point.sum), unknown(point.min), unknown(point.max)
    if isinstance(point, HistogramDataPoint):
        return *common, tuple(point.explicit_bounds), tuple(point.bucket_counts)
    signs = [
        {index: count for index, count in enumerate(each.bucket_counts, each.offset) if count}
        for each in (point.positive, point.negative)
    ]
    if data.aggregation_temporality is DELTA:  # of an interval ours has the scale of the whole life
        return *common, point.zero_count, *[sum(each.values()) for each in signs]
    scale = point.scale if any(signs) else None  # of no buckets it says nothing
    return *common, scale, point.zero_count, *signs


def unknown(extreme: float | None) -> float | None:
    """Upstream says infinity for what we leave out."""
    return extreme if extreme is not None and abs(extreme) < float("inf") else None


ATTRIBUTES: Sequence[dict[str, Any]] = (
    {},
    {"route": "/", "status": 200},
    {"status": 200, "route": "/"},
    {"route": "/", "status": "200"},
    {"route": "/cart", "status": 200, "ok": True, "share": 0.5},
    {"route": "/cart", "tags": ["a", "b"]},
)


def program(provider: MeterProvider, amounts: Sequence[float] = (1, 2.5, 7, 0)) -> None:
    """Every kind of instrument."""
    meter = provider.get_meter("shop.lib", "1.2", "https://schema", {"team": "a"})
    other = provider.get_meter("other.lib")
    for made in (meter, other):
        counter = made.create_counter("jobs.done", "{job}", "Jobs.")
        level, wait = (
            made.create_up_down_counter("jobs.active"),
            made.create_histogram("jobs.wait", "s", "Wait."),
        )
        advised = made.create_histogram("jobs.size", "By", explicit_bucket_boundaries_advisory=[1, 5])
        gauge = made.create_gauge("jobs.level", "1")
        for number, amount in enumerate(amounts):
            attributes = ATTRIBUTES[number % len(ATTRIBUTES)]
            counter.add(amount, attributes)
            level.add(-amount, attributes)
            wait.record(amount, attributes)
            advised.record(amount, attributes)
            gauge.set(amount, attributes)


def observed(provider: MeterProvider) -> Callable[..., None]:
    """Every kind that is observed; answers what sets what is seen."""
    seen: dict[str, float] = {}

    def observe(_: CallbackOptions) -> Iterator[Observation]:
        for name, value in tuple(seen.items()):
            yield Observation(value, {"job": name, "route": "/"})

    meter = provider.get_meter("shop.lib", "1.2")
    meter.create_observable_counter("seen.done", [observe], "{job}", "Jobs.")
    meter.create_observable_up_down_counter("seen.active", [observe])
    meter.create_observable_gauge("seen.level", [observe])

    def see(**values: float) -> None:
        seen.clear()
        seen.update(values)

    return see


VIEWS: Mapping[str, Sequence[View]] = {
    "none": (),
    "renamed": (View(instrument_name="jobs.done", name="jobs.counted", description="Others."),),
    "in another case": (View(instrument_name="JOBS.*", description="All of them."),),
    "keys": (View(instrument_name="jobs.*", attribute_keys={"route"}),),
    "no keys": (View(instrument_name="*", attribute_keys=set()),),
    "dropped": (View(instrument_name="jobs.*", aggregation=DropAggregation()),),
    "all but one dropped": (
        View(instrument_name="*", aggregation=DropAggregation()),
        View(instrument_name="jobs.done"),
    ),
    "two of one": (
        View(instrument_name="jobs.wait", name="wait.by.route", attribute_keys={"route"}),
        View(instrument_name="jobs.wait", name="wait.in.all", attribute_keys=set()),
    ),
    "sum of a histogram": (View(instrument_type=sdk.Histogram, aggregation=SumAggregation()),),
    "last value": (View(instrument_name="jobs.*", aggregation=LastValueAggregation()),),
    "bounds": (
        View(instrument_type=sdk.Histogram, aggregation=ExplicitBucketHistogramAggregation([2.0, 7.0])),
    ),
    "no bounds": (View(instrument_type=sdk.Histogram, aggregation=ExplicitBucketHistogramAggregation([])),),
    "no extremes": (
        View(
            instrument_type=sdk.Histogram,
            aggregation=ExplicitBucketHistogramAggregation([2.0], record_min_max=False),
        ),
    ),
    "exponential": (
        View(instrument_type=sdk.Histogram, aggregation=ExponentialBucketHistogramAggregation()),
    ),
    "few buckets": (
        View(
            instrument_type=sdk.Histogram,
            aggregation=ExponentialBucketHistogramAggregation(max_size=4, max_scale=5),
        ),
    ),
    "histogram of levels": (
        View(instrument_type=sdk.UpDownCounter, aggregation=ExplicitBucketHistogramAggregation([-5.0, 0.0])),
    ),
    "exponential levels": (
        View(instrument_type=sdk.UpDownCounter, aggregation=ExponentialBucketHistogramAggregation()),
    ),
    "by unit": (View(instrument_unit="s", name="seconds"),),
    "by meter": (View(meter_name="shop.lib", attribute_keys={"status"}),),
    "by version": (View(meter_version="1.2", attribute_keys={"status"}),),
    "by schema": (View(meter_schema_url="https://schema", attribute_keys={"ok"}),),
    "by wildcard": (View(instrument_name="jobs.?????", attribute_keys={"route"}),),
    "of what is observed": (
        View(instrument_type=sdk.ObservableCounter, name="all.done", attribute_keys={"route"}),
        View(instrument_type=sdk.ObservableGauge, attribute_keys={"route"}),
    ),
}
TEMPORALITY: Mapping[str, Mapping[type, AggregationTemporality]] = {
    "cumulative": {},
    "delta": dict.fromkeys(KINDS, DELTA),
}


@since(45, "the same points, in what is compared here")
@pytest.mark.parametrize("temporality", TEMPORALITY)
@pytest.mark.parametrize("views", VIEWS)
@pytest.mark.filterwarnings("ignore")
def test_a_reader_gets_what_upstreams_does(views: str, temporality: str) -> None:
    sides = Sides(VIEWS[views], TEMPORALITY[temporality])
    sides.each(program)
    seeing = sides.each(observed)
    for seen, amounts in (
        ({"a": 5, "b": 7}, (3, 4)),
        ({"b": 18}, ()),
        ({"b": 19, "c": 1}, (100, 0.25, 7)),
        ({}, (1,)),
    ):
        for see in seeing:
            see(**seen)
        sides.each(lambda provider, amounts=amounts: program(provider, amounts))  # type: ignore[misc]
        theirs, ours = sides.told()
        assert theirs == ours
    sides.end()


@since(45, "the same points, in what is compared here")
@pytest.mark.parametrize(
    "aggregation",
    [
        {sdk.Histogram: ExponentialBucketHistogramAggregation()},
        {sdk.Histogram: ExplicitBucketHistogramAggregation([3.0])},
        {sdk.Counter: DropAggregation(), sdk.ObservableGauge: DropAggregation()},
        {sdk.Counter: LastValueAggregation(), sdk.Histogram: SumAggregation()},
        {sdk._Gauge: SumAggregation()},
    ],
)
def test_a_reader_that_prefers_another_aggregation_has_it_for_itself(
    aggregation: Mapping[type, Aggregation],
) -> None:
    sides = Sides(aggregation=aggregation)
    plain = InMemoryMetricReader()
    beside = [InMemoryMetricReader(), InMemoryMetricReader()]
    for provider, reader in zip(sides.providers, beside, strict=True):
        provider.add_metric_reader(reader)
    sides.each(program)
    theirs, ours = sides.told()
    assert theirs == ours
    theirs, ours = [simplified(reader.get_metrics_data()) for reader in beside]
    assert theirs == ours
    assert plain.get_metrics_data() is None
    sides.end()


amounts = st.one_of(
    st.integers(0, 2**40), st.floats(0, 1e12), st.floats(0, 1e-6), st.sampled_from([0, 1, 2, 4, 0.5, 1024.0])
)


@given(st.lists(st.tuples(amounts, st.integers(0, 5)), max_size=12))
def test_exponential_buckets_are_upstreams(measured: list[tuple[float, int]]) -> None:
    """Scale, offsets and counts. Upstream coarsens for good by an interval that holds nothing but zeros."""
    sides = Sides([View(instrument_name="*", aggregation=ExponentialBucketHistogramAggregation(max_size=20))])

    def record(provider: MeterProvider) -> None:
        histogram = provider.get_meter("shop").create_histogram("wait")
        for amount, number in measured:
            histogram.record(amount, {"number": number})

    sides.each(record)
    theirs, ours = sides.told()
    assert theirs == ours
    sides.end()


@pytest.mark.specification(
    "Beyond the rows",
    "Metrics SDK: instruments of one name with another kind, unit or description are streams of their own",
)
def test_instruments_of_one_name_each_work(caplog: pytest.LogCaptureFixture) -> None:
    """A counter and a histogram, other units, other descriptions: streams of their own, and one line."""
    reader = InMemoryMetricReader()
    provider = BextMeterProvider(Streams(Budgets({})), RESOURCE, metric_readers=[reader])
    meter = provider.get_meter("conflicts")
    meter.create_counter("things", "By").add(1)
    meter.create_counter("things", "s").add(2)
    meter.create_counter("things", "s", "Seconds.").add(3)
    meter.create_counter("THINGS", "s", "Seconds.").add(4)
    meter.create_histogram("things").record(5)
    meter.create_up_down_counter("things").add(-6)
    (found,) = simplified(reader.get_metrics_data()).values()
    assert [1, 2, 7, 5, -6] == [
        point[1] if isinstance(point, tuple) else point
        for points in found.values()
        for point in points.values()
    ]
    assert [
        "metric things of conflicts is made by several instruments or views",
        "metric things is also spelled THINGS: it keeps the name that was seen first",
    ] == [message.partition(", which")[0] for message in caplog.messages]
    assert meter.create_counter("things", "s") is meter.create_counter("Things", "s")
    provider.shutdown()


def test_names_that_differ_by_case_are_spelled_as_first_seen_whatever_else_differs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = InMemoryMetricReader()
    provider = BextMeterProvider(Streams(Budgets({})), RESOURCE, metric_readers=[reader])
    meter, other = provider.get_meter("cases"), provider.get_meter("others")
    made = [
        meter.create_counter("requestCount"),
        meter.create_counter("RequestCount", "By"),
        meter.create_histogram("REQUESTCOUNT"),
        meter.create_observable_gauge("requestcount", [lambda _: [Observation(1)]]),
    ]
    assert {"requestCount"} == {instrument.name for instrument in made}  # type: ignore[attr-defined]  # as the SDK's
    made[0].add(1)  # type: ignore[attr-defined]  # a counter
    made[2].record(1)  # type: ignore[attr-defined]  # a histogram
    other.create_counter("RequestCount").add(1)
    data = reader.get_metrics_data()
    assert data is not None
    names = [
        [metric.name for metric in scope.metrics]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
    ]
    assert [["RequestCount"], ["requestCount"] * 3] == sorted(names)
    assert 3 == sum("is also spelled" in message for message in caplog.messages)
    provider.shutdown()


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: an instrument whose name is none is told of, and works"
)
def test_an_instrument_whose_name_is_none_is_told_and_works(caplog: pytest.LogCaptureFixture) -> None:
    reader = InMemoryMetricReader()
    provider = BextMeterProvider(Streams(Budgets({})), RESOURCE, metric_readers=[reader])
    meter = provider.get_meter("names")
    for name in ("", "1st", "a b", "x" * 256, "ü"):
        meter.create_counter(name).add(1)
    meter.create_counter("y" * 255, "u" * 64).add(1)
    assert 6 == len(caplog.messages)
    (found,) = simplified(reader.get_metrics_data()).values()
    assert 6 == len(found)
    provider.shutdown()


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: a meter that a configurator turns off measures nothing"
)
@since(42, "meter configurators")
def test_a_meter_that_a_configurator_turns_off_measures_nothing() -> None:
    reader = InMemoryMetricReader()
    provider = BextMeterProvider(Streams(Budgets({})), RESOURCE, metric_readers=[reader])
    meter = provider.get_meter("quiet")
    counter = meter.create_counter("jobs")
    meter.create_observable_gauge("level", [lambda _: [Observation(1)]])
    counter.add(1)
    provider._set_meter_configurator(meter_configurator=lambda _: SimpleNamespace(is_enabled=False))
    counter.add(2)
    meter.create_histogram("wait").record(1)
    (found,) = simplified(reader.get_metrics_data()).values()
    assert [1] == [point for points in found.values() for point in points.values()]
    provider._set_meter_configurator(meter_configurator=lambda _: SimpleNamespace(is_enabled=True))
    counter.add(4)
    (found,) = simplified(reader.get_metrics_data()).values()
    assert [5, 1] == [point for points in found.values() for point in points.values()]
    provider.shutdown()


def test_more_instruments_than_anybody_has_are_not_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bext_otel.metrics.instruments.store._MOST", 3)
    provider = BextMeterProvider(Streams(Budgets({})), RESOURCE)
    meter = provider.get_meter("many")
    for number in range(6):
        meter.create_counter(f"jobs.{number}").add(1)
    assert 3 == len(list(provider.instruments.every()))
    assert 1 == len(caplog.messages)
    provider.shutdown()
