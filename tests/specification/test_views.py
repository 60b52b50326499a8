"""The specification's rows on views: which instruments one selects, and what stream it makes of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.specification.programs import Run, attributes, running
from tests.specification.test_metrics import last, one

PROGRAM = """
import bext_otel
from bext_otel.metrics.views import StreamView, limited
from opentelemetry import metrics, trace
from opentelemetry.metrics import Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import AlignedHistogramBucketExemplarReservoir, SimpleFixedSizeExemplarReservoir
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation, ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation, LastValueAggregation,
    SumAggregation, View,
)

offered = []
reader = limited(InMemoryMetricReader(), {sdk.UpDownCounter: 5, sdk.ObservableGauge: 7})

class Reservoir(SimpleFixedSizeExemplarReservoir):
    def offer(self, value, time_unix_nano, attributes, context):
        offered.append([value, time_unix_nano > 0, dict(attributes), trace.get_current_span(context).get_span_context().span_id != 0])
        super().offer(value, time_unix_nano, attributes, context)

runs = bext_otel.configure(views=[
    View(instrument_name="by.name", name="by.name.found"),
    View(instrument_type=sdk.UpDownCounter, meter_name="selecting", name="by.kind.found"),
    View(instrument_unit="{unit}", instrument_name="*", description="by unit"),
    View(meter_name="a.meter", instrument_name="*", description="by meter"),
    View(meter_version="7.8", instrument_name="*", description="by version"),
    View(meter_schema_url="https://of/one", instrument_name="*", description="by schema"),
    View(instrument_name="both.*", instrument_unit="{both}", description="by both"),
    View(instrument_name="wild.?.card*", description="by wildcards"),
    View(instrument_name="*", meter_name="everything", description="matched by all"),
    View(instrument_name="whole", name="whole.named", description="Told otherwise.", attribute_keys={"kept"},
         aggregation=ExplicitBucketHistogramAggregation([2.0, 4.0])),
    View(instrument_name="reserved", exemplar_reservoir_factory=lambda kind: Reservoir),
    View(instrument_name="filtered", attribute_keys={"kept"}),
    StreamView(instrument_name="excluding", excluded_attribute_keys=["left", "gone"]),
    StreamView(instrument_name="both.kept.and.excluded", attribute_keys={"kept", "left"}, excluded_attribute_keys=["left"]),
    StreamView(instrument_name="limited.*", aggregation_cardinality_limit=3),
    View(instrument_name="several", name="several.one", attribute_keys={"a"}),
    View(instrument_name="several", name="several.other", attribute_keys=set()),
    View(instrument_name="dropped", aggregation=DropAggregation()),
    View(instrument_name="summed", aggregation=SumAggregation()),
    View(instrument_name="last", aggregation=LastValueAggregation()),
    View(instrument_name="explicit", aggregation=ExplicitBucketHistogramAggregation([1.0, 10.0])),
    View(instrument_name="no.buckets", aggregation=ExplicitBucketHistogramAggregation([], record_min_max=False)),
    View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation(max_size=4)),
], metric_readers=[reader])
meter = metrics.get_meter("selecting")
meter.create_counter("by.name").add(1)
meter.create_counter("by.nam").add(1)
meter.create_counter("by.kind.counter").add(1)
meter.create_up_down_counter("by.kind").add(1)
meter.create_counter("united", "{unit}").add(1)
meter.create_counter("united.otherwise", "{other}").add(1)
metrics.get_meter("a.meter").create_counter("of.meter").add(1)
metrics.get_meter("versioned", "7.8").create_counter("of.version").add(1)
metrics.get_meter("versioned", "7.9").create_counter("of.other.version").add(1)
metrics.get_meter("with.schema", schema_url="https://of/one").create_counter("of.schema").add(1)
meter.create_counter("both.of.them", "{both}").add(1)
meter.create_counter("both.but.unit", "{one}").add(1)
meter.create_counter("but.unit", "{both}").add(1)
for name in ("wild.1.card", "wild.2.cards", "wild.12.card", "not.wild.1.card"):
    meter.create_counter(name).add(1)
everything = metrics.get_meter("everything")
everything.create_counter("every.counter").add(1)
everything.create_histogram("every.histogram").record(1)
everything.create_observable_gauge("every.gauge", [lambda _: [Observation(1)]])

shop = metrics.get_meter("shop")
for value in (1, 3, 5):
    shop.create_histogram("whole", "By", "As made.").record(value, {"kept": "k", "left": str(value)})
several = shop.create_counter("several")
several.add(1, {"a": "1", "b": "1"})
several.add(2, {"a": "1", "b": "2"})
several.add(4, {"a": "2", "b": "2"})
with trace.get_tracer("shop").start_as_current_span("work"):
    shop.create_counter("reserved").add(7, {"kept": "k"})
    shop.create_histogram("filtered").record(3, {"kept": "k", "left": "l"})
    for value in range(30):
        shop.create_counter("kept.by.default").add(1)
        shop.create_gauge("kept.by.gauge").set(value)
        shop.create_histogram("kept.by.bucket", explicit_bucket_boundaries_advisory=[2.0, 4.0]).record(value % 6)
shop.create_counter("dropped").add(1)
for name in ("excluding", "both.kept.and.excluded"):
    shop.create_counter(name).add(1, {"kept": "k", "left": "l", "other": "o"})
for name in ("limited.seen", "unlimited.seen"):
    shop.create_observable_gauge(name, [lambda _: [Observation(1, {"number": number}) for number in range(10)]])
for number in range(10):
    shop.create_counter("limited.sold").add(1, {"number": number})
    shop.create_up_down_counter("unlimited.left").add(1, {"number": number})
told = {metric.name: [point.value for point in metric.data.data_points]
        for resource in reader.get_metrics_data().resource_metrics for scope in resource.scope_metrics
        for metric in scope.metrics if "limited." in metric.name}
for value in (2, 3):
    shop.create_histogram("summed").record(value)
    shop.create_histogram("last").record(value)
    shop.create_histogram("explicit").record(value)
    shop.create_histogram("no.buckets").record(value)
    shop.create_histogram("exponential").record(value)
runs.flush()
runs.shutdown()
show([offered, told])
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with running(PROGRAM, tmp_path_factory.mktemp("views")) as run:
        yield run


def points(run: Run, name: str) -> list[Any]:
    metric = one(run, name)
    return list(getattr(metric, metric.WhichOneof("data")).data_points)


def described(run: Run, what: str) -> set[str]:
    """The metrics that a view has given this description."""
    return {
        metric.name
        for message in run.messages
        for resource in getattr(message, "resource_metrics", ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.description == what
    }


@pytest.mark.specification(
    "Metrics",
    "There is a way to register `View`s with a `MeterProvider`.",
    "The name of the `View` can be specified.",
)
def test_a_view_that_is_given_renames_the_instrument_that_it_names(run: Run) -> None:
    assert (1, 1) == (points(run, "by.name.found")[0].as_int, points(run, "by.nam")[0].as_int)
    assert [] == last(run, "by.name")


@pytest.mark.specification("Beyond the rows", "Metrics SDK: criteria of a view are all to match")
@pytest.mark.specification("Metrics", "The `View` instrument selection criteria is as specified.")
def test_a_view_selects_by_name_kind_unit_meter_version_and_schema_and_all_of_them_must_match(
    run: Run,
) -> None:
    assert one(run, "by.kind.found")
    assert ([], 1) == (last(run, "by.kind"), len(last(run, "by.kind.counter")))
    assert {"united"} == described(run, "by unit")
    assert {"of.meter"} == described(run, "by meter")
    assert {"of.version"} == described(run, "by version")
    assert {"of.schema"} == described(run, "by schema")
    assert {"both.of.them"} == described(run, "by both")


@pytest.mark.specification(
    "Metrics",
    "The `View` instrument selection criteria supports wildcards.",
    "The `View` instrument selection criteria supports the match-all wildcard.",
)
def test_a_question_mark_is_one_character_a_star_any_number_and_alone_all(run: Run) -> None:
    assert {"wild.1.card", "wild.2.cards"} == described(run, "by wildcards")
    assert {"every.counter", "every.histogram", "every.gauge"} == described(run, "matched by all")


@pytest.mark.specification(
    "Metrics",
    "The `View` allows configuring the name, description, attributes keys and aggregation of the resulting metric stream.",
)
def test_a_view_says_what_its_stream_is_called_tells_keeps_and_becomes(run: Run) -> None:
    metric = one(run, "whole.named")
    assert ("Told otherwise.", "By") == (metric.description, metric.unit)
    (point,) = metric.histogram.data_points
    assert {"kept": "k"} == attributes(point.attributes)
    assert ([2.0, 4.0], [1, 1, 1], 9) == (
        list(point.explicit_bounds),
        list(point.bucket_counts),
        point.sum,
    )


@pytest.mark.specification(
    "Metrics", "The `View` allows configuring excluded attribute keys of resulting metric stream."
)
def test_a_view_may_leave_attributes_out_by_their_keys(run: Run) -> None:
    assert [{"kept": "k", "other": "o"}] == [attributes(each.attributes) for each in points(run, "excluding")]
    assert [{"kept": "k"}] == [attributes(each.attributes) for each in points(run, "both.kept.and.excluded")]


@pytest.mark.specification(
    "Metrics", "Metric SDK supports configuring cardinality limit per metric (using Views)"
)
@pytest.mark.parametrize("name", ["limited.sold", "limited.seen"])
def test_a_view_says_how_many_attribute_sets_its_stream_shows(run: Run, name: str) -> None:
    """And comes before what a reader says."""
    found = points(run, name)
    assert 3 + 1 == len(found) == len(run.shown[1][name])
    assert 1 == sum("otel.metric.overflow" in attributes(point.attributes) for point in found)
    if name == "limited.sold":
        assert 10 == sum(point.as_int for point in found)


@pytest.mark.specification(
    "Metrics", "Metric SDK supports configuring cardinality limit at MeterReader level"
)
def test_a_reader_says_by_kind_how_many_attribute_sets_it_gets(run: Run) -> None:
    assert [1] * 5 + [5] == sorted(run.shown[1]["unlimited.left"])
    assert 7 + 1 == len(run.shown[1]["unlimited.seen"])
    assert [10, 10] == [len(points(run, name)) for name in ("unlimited.left", "unlimited.seen")]


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: several views of an instrument are streams of their own"
)
@pytest.mark.specification("Metrics", "The SDK allows more than one `View` to be specified per instrument.")
def test_each_view_of_an_instrument_makes_a_stream(run: Run) -> None:
    found = {attributes(point.attributes)["a"]: point.as_int for point in points(run, "several.one")}
    assert {"1": 3, "2": 4} == found
    assert [7] == [point.as_int for point in points(run, "several.other")]
    assert [] == last(run, "several")


@pytest.mark.specification(
    "Metrics",
    "The `View` allows configuring the exemplar reservoir of resulting metric stream.",
    "The metrics SDK provides an `ExemplarReservoir` interface or extension point.",
    "An `ExemplarReservoir` has an `offer` method with access to the measurement value, attributes, `Context` and timestamp.",
)
def test_a_reservoir_of_ones_own_is_offered_all_of_a_measurement(run: Run) -> None:
    assert [[7, True, {"kept": "k"}, True]] == run.shown[0]
    ((exemplar,),) = [point.exemplars for point in points(run, "reserved")]
    assert 7 == exemplar.as_int


@pytest.mark.specification(
    "Metrics",
    "Exemplars retain any attributes available in the measurement that are not preserved by aggregation or view configuration.",
)
def test_an_exemplar_has_the_attributes_that_its_view_leaves_out(run: Run) -> None:
    (point,) = points(run, "filtered")
    (exemplar,) = point.exemplars
    assert ({"kept": "k"}, {"left": "l"}) == (
        attributes(point.attributes),
        attributes(exemplar.filtered_attributes),
    )


@pytest.mark.specification(
    "Metrics",
    "The metrics SDK provides a `SimpleFixedSizeExemplarReservoir` that is used by default for all aggregations except `ExplicitBucketHistogram`.",
    "The metrics SDK provides an `AlignedHistogramBucketExemplarReservoir` that is used by default for `ExplicitBucketHistogram` aggregation.",
)
def test_by_default_a_number_has_an_exemplar_and_each_bucket_of_a_histogram_one(run: Run) -> None:
    assert [1, 1] == [len(points(run, name)[0].exemplars) for name in ("kept.by.default", "kept.by.gauge")]
    (point,) = points(run, "kept.by.bucket")
    values = sorted(exemplar.as_int or exemplar.as_double for exemplar in point.exemplars)
    assert 3 == len(values)
    assert values[0] <= 2 < values[1] <= 4 < values[2]


@pytest.mark.specification("Metrics", "The `Drop` aggregation is available.")
def test_what_is_dropped_is_not_there(run: Run) -> None:
    assert [] == last(run, "dropped")


@pytest.mark.specification(
    "Metrics",
    "The `Sum` aggregation is available.",
    "The `LastValue` aggregation is available.",
    "The `ExplicitBucketHistogram` aggregation is available.",
    "The `ExponentialBucketHistogram` aggregation is available.",
)
def test_a_histogram_can_be_a_sum_a_last_value_and_either_kind_of_histogram(run: Run) -> None:
    assert ("sum", 5) == (one(run, "summed").WhichOneof("data"), points(run, "summed")[0].as_int)
    assert one(run, "summed").sum.is_monotonic
    assert ("gauge", 3) == (one(run, "last").WhichOneof("data"), points(run, "last")[0].as_int)
    (point,) = points(run, "explicit")
    assert ([1.0, 10.0], [0, 2, 0], 5, 2, 3) == (
        list(point.explicit_bounds),
        list(point.bucket_counts),
        point.sum,
        point.min,
        point.max,
    )
    (point,) = points(run, "no.buckets")
    assert ([], 2, 5, False) == (list(point.explicit_bounds), point.count, point.sum, point.HasField("min"))
    assert "exponential_histogram" == one(run, "exponential").WhichOneof("data")
    (point,) = points(run, "exponential")
    assert (2, 5, 2) == (point.count, point.sum, sum(point.positive.bucket_counts))
    assert 4 >= len(point.positive.bucket_counts)
    # Buckets are (base ** index, base ** (index + 1)], where base is 2 ** (2 ** -scale).
    base = 2 ** (2**-point.scale)
    bounds = [
        (base ** (point.positive.offset + number), base ** (point.positive.offset + number + 1))
        for number, count in enumerate(point.positive.bucket_counts)
        if count
    ]
    assert all(
        low < value * 1.000001 and value <= high * 1.000001
        for value, (low, high) in zip((2, 3), bounds, strict=True)
    )
