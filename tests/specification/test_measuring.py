"""The specification's rows on meters, readers, limits and conflicts of names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.specification.programs import Run, attributes, running
from tests.specification.test_metrics import last, one

PROGRAM = """
import bext_otel
from opentelemetry import metrics
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, LastValueAggregation

class Read:
    def __init__(self, **preferences):
        self.reader = InMemoryMetricReader(**preferences)
    def points(self, name):
        data = self.reader.get_metrics_data()
        return [[type(metric.data).__name__, point] for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics
                for metric in scope.metrics if metric.name == name for point in metric.data.data_points]

delta = AggregationTemporality.DELTA
aggregating = Read(preferred_aggregation={sdk.Histogram: ExponentialBucketHistogramAggregation(), sdk.Counter: LastValueAggregation()})
news = Read(preferred_temporality={sdk.Counter: delta, sdk.Histogram: delta})
runs = bext_otel.configure(metric_readers=[aggregating.reader, news.reader])
provider = metrics.get_meter_provider()
told = {}

nameless = [provider.get_meter(name) for name in ("", None)]
told["names"] = [meter.name for meter in nameless]
nameless[0].create_counter("nameless.empty").add(1)
nameless[1].create_counter("nameless.none").add(2)

meter = metrics.get_meter("shop")
first = meter.create_counter("Same.Name", "{a}", "One.")
first.add(1)
meter.create_counter("same.name", "{a}", "One.").add(2)
meter.create_counter("conflicting", "By", "Bytes.").add(1)
meter.create_counter("conflicting", "s", "Seconds.").add(2)
meter.create_histogram("conflicting").record(3)
meter.create_up_down_counter("conflicting").add(-4)

sold, waited, left = meter.create_counter("read.sold"), meter.create_histogram("read.waited"), meter.create_up_down_counter("read.left")
told["news"] = []
for amount in (2, 3):
    for measure in (sold.add, waited.record, left.add):
        measure(amount)
    told["news"].append([point.value for _, point in news.points("read.sold")])
told["left"] = [[point.value for _, point in news.points("read.left")] for _ in range(2)]
told["aggregated"] = [[kind, getattr(point, "value", None)] for name in ("read.sold", "read.waited", "read.left") for kind, point in aggregating.points(name)]

bound = [meter.create_counter("bound.counter").bind({"k": "v"}), meter.create_up_down_counter("bound.updown").bind({"k": "v"}),
         meter.create_histogram("bound.histogram").bind({"k": "v"}), meter.create_gauge("bound.gauge").bind({"k": "v"})]
for handle in bound:
    handle(3)
    handle(4)
meter.create_counter("bound.counter").add(5, {"k": "v"})

limited = meter.create_up_down_counter("limited")
for number in range(2500):
    limited.add(1, {"number": number})

from opentelemetry.sdk.metrics._internal import _default_meter_configurator, _disable_meter_configurator
configured = metrics.get_meter("configured").create_counter("configured")
configured.add(1)
provider._set_meter_configurator(meter_configurator=_disable_meter_configurator)
configured.add(10)
provider._set_meter_configurator(meter_configurator=_default_meter_configurator)
configured.add(100)
runs.flush()
runs.shutdown()
show(told)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with running(PROGRAM, tmp_path_factory.mktemp("measuring")) as run:
        yield run


def points(run: Run, name: str) -> list[Any]:
    metric = one(run, name)
    return list(getattr(metric, metric.WhichOneof("data")).data_points)


@pytest.mark.specification(
    "Metrics",
    "When an invalid `name` is specified a working `Meter` implementation is returned as a fallback.",
    "The fallback `Meter` `name` property keeps its original invalid value.",
)
def test_a_meter_without_a_name_works_and_one_line_tells(run: Run) -> None:
    assert ["", ""] == run.shown["names"]
    for name, value in (("nameless.empty", 1), ("nameless.none", 2)):
        ((metric, scope, _),) = last(run, name)
        assert ("", value) == (scope.scope.name, metric.sum.data_points[0].as_int)
    told = [line for line in run.lines if "a meter was asked for without a name" in line["message"]]
    assert 1 == len(told)


@pytest.mark.specification(
    "Metrics",
    "A valid instrument MUST be created and warning SHOULD be emitted when multiple instruments are registered under the same `Meter` using the same `name`.",
)
def test_instruments_of_one_name_that_differ_all_work_and_one_line_tells(run: Run) -> None:
    found = {}
    for metric, _, _ in last(run, "conflicting"):
        (point,) = getattr(metric, metric.WhichOneof("data")).data_points
        is_sum = metric.WhichOneof("data") == "sum"
        found[metric.unit, metric.sum.is_monotonic if is_sum else None] = (
            point.as_int if is_sum else point.sum
        )
    assert {("By", True): 1, ("s", True): 2, ("", False): -4, ("", None): 3} == found
    told = [line for line in run.lines if "metric conflicting of shop is made by several" in line["message"]]
    assert 1 == len(told)
    assert "warn" == told[0]["level"]


@pytest.mark.specification(
    "Metrics",
    "Duplicate instrument registration name conflicts are resolved by using the first-seen for the stream name.",
)
def test_names_that_differ_by_case_are_the_one_that_was_seen_first(run: Run) -> None:
    assert 3 == points(run, "Same.Name")[0].as_int
    assert [] == last(run, "same.name")
    assert 1 == sum("also spelled same.name" in line["message"] for line in run.lines)


@pytest.mark.specification(
    "Metrics",
    "The metrics Reader implementation supports configuring the default aggregation on the basis of instrument kind.",
)
def test_a_reader_has_the_aggregation_that_it_prefers_for_a_kind(run: Run) -> None:
    assert [["Gauge", 3], ["ExponentialHistogram", None], ["Sum", 5]] == run.shown["aggregated"]
    assert "histogram" == one(run, "read.waited").WhichOneof("data"), "others have what they had"


@pytest.mark.specification(
    "Metrics",
    "The metrics Reader implementation supports configuring the default temporality on the basis of instrument kind.",
)
def test_a_reader_has_the_temporality_that_it_prefers_for_a_kind(run: Run) -> None:
    assert ([[2], [3]], [[5], [5]]) == (run.shown["news"], run.shown["left"])
    assert 5 == points(run, "read.sold")[0].as_int


@pytest.mark.specification("Metrics", "Instruments can be bound to attributes.")
@pytest.mark.parametrize(("kind", "value"), [("counter", 12), ("updown", 7), ("histogram", 7), ("gauge", 4)])
def test_what_a_bound_instrument_measures_has_its_attributes(run: Run, kind: str, value: int) -> None:
    (point,) = points(run, f"bound.{kind}")
    assert {"k": "v"} == attributes(point.attributes)
    assert value == (point.sum if kind == "histogram" else point.as_int)


@pytest.mark.specification(
    "Beyond the rows",
    "Metrics SDK: measurements past the cardinality limit are counted in one point, and the total is exact",
)
@pytest.mark.specification("Metrics", "Metric SDK implements cardinality limit")
def test_attribute_sets_past_the_limit_are_one_point_and_the_total_is_exact(run: Run) -> None:
    """The one point stands beside the 2,000."""
    found = points(run, "limited")
    (overflow,) = [point for point in found if "otel.metric.overflow" in attributes(point.attributes)]
    assert {"otel.metric.overflow": True} == attributes(overflow.attributes)
    assert (2001, 500, 2500) == (len(found), overflow.as_int, sum(point.as_int for point in found))
    assert 1 == sum("metric limited of shop has more than 2000" in line["message"] for line in run.lines)


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: a configurator that is updated holds for meters that there are"
)
@pytest.mark.specification(
    "Metrics",
    "The `MeterProvider` provides methods to update the configuration",
    "The updated configuration applies to all already returned `Meter`s.",
)
def test_a_meter_that_is_turned_off_later_measures_nothing_until_it_is_on_again(run: Run) -> None:
    assert 101 == points(run, "configured")[0].as_int
