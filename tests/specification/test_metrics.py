"""The specification's rows on metrics that the API alone shows: meters, instruments, exporters, exemplars."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.specification.programs import Run, attributes, running

PROGRAM = """
import threading
import bext_otel
from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExporter, MetricExportResult

class Own(MetricExporter):
    busy, together, batches, flushed, ended = 0, 0, [], 0, 0
    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        Own.busy += 1
        Own.together = max(Own.together, Own.busy)
        Own.batches.append([metric.name for resource in metrics_data.resource_metrics for scope in resource.scope_metrics
                            for metric in scope.metrics if metric.name.startswith("shop.")])
        Own.busy -= 1
        return MetricExportResult.SUCCESS
    def force_flush(self, timeout_millis=10_000):
        Own.flushed += 1
        return True
    def shutdown(self, timeout_millis=30_000, **kwargs):
        Own.ended += 1

runs = bext_otel.configure(exporters=[Own()], resource={"shop.shelf": "4"})
provider = metrics.get_meter_provider()
meter = provider.get_meter("shop", "1.2", "https://schema/2", {"team": "web"})
told = {"global": isinstance(provider, metrics.MeterProvider), "meter": [meter.name, meter.version, meter.schema_url]}

reader = InMemoryMetricReader()
other = MeterProvider([reader], shutdown_on_exit=False)
other.get_meter("x").create_counter("of.another").add(1)
told["another"] = [m.name for r in reader.get_metrics_data().resource_metrics for s in r.scope_metrics for m in s.metrics]
other.shutdown()

def observe(value):
    return [lambda options: [Observation(value, {"k": "v"})]]

about = {"unit": "{thing}", "description": "Dinge, \\u00fcber die\\nman spricht"}
meter.create_counter("shop.counter", **about).add(2, {"k": "v"})
meter.create_up_down_counter("shop.updown", **about).add(-2, {"k": "v"})
meter.create_histogram("shop.histogram", **about, explicit_bucket_boundaries_advisory=[1.0, 5.0]).record(3, {"k": "v"})
meter.create_gauge("shop.gauge", **about).set(7, {"k": "v"})
meter.create_observable_counter("shop.observed.counter", observe(3), **about)
meter.create_observable_up_down_counter("shop.observed.updown", observe(-3), **about)
meter.create_observable_gauge("shop.observed.gauge", observe(9), **about)
meter.create_histogram("shop.default").record(3)

longest = "a" + "b/._-" * 50 + "1234"
meter.create_counter(longest).add(1)
told["wrong names"] = []
for name in ("", "1st", "a b", "x" * 256):
    try:
        meter.create_counter(name).add(1)
        told["wrong names"].append("taken")
    except Exception as error:
        told["wrong names"].append(type(error).__name__)
meter.create_counter("shop.unit", unit="u" * 63).add(1)
meter.create_counter("shop.described", description="d" * 1023).add(1)
for name in ("left", "right"):
    metrics.get_meter(name).create_counter("shop.twice").add(1 if name == "left" else 2)

shared = meter.create_counter("shop.shared")
def work():
    for number in range(200):
        shared.add(1)
        provider.get_meter("shop", "1.2", "https://schema/2", {"team": "web"}).create_counter("shop.shared").add(1)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for _ in range(5): runs.flush()
for thread in threads: thread.join()

with trace.get_tracer("shop").start_as_current_span("work") as span:
    meter.create_histogram("shop.exemplary").record(0.5, {"k": "v"})
    meter.create_counter("shop.exemplary.counter").add(5, {"k": "v"})
told["span"] = [f"{span.get_span_context().trace_id:032x}", f"{span.get_span_context().span_id:016x}"]
told["flushed"] = provider.force_flush(10_000)
before = len(Own.batches)
runs.shutdown()
told |= {"together": Own.together, "batches": before, "named": sorted(set(sum(Own.batches, []))), "ended": Own.ended}
show(told)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with running(PROGRAM, tmp_path_factory.mktemp("metrics")) as run:
        yield run


def last(run: Run, name: str) -> list[tuple[Any, Any, Any]]:
    """Each metric of this name in the last message that has it, with its scope's message and its resource's."""
    found: list[tuple[Any, Any, Any]] = []
    for message in run.messages:
        here = [
            (metric, scope, resource)
            for resource in getattr(message, "resource_metrics", ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]
        found = here or found
    return found


def one(run: Run, name: str) -> Any:
    ((metric, _, _),) = last(run, name)
    return metric


@pytest.mark.specification(
    "Metrics",
    "The API provides a way to set and get a global default `MeterProvider`.",
    "It is possible to create any number of `MeterProvider`s.",
    "`MeterProvider` provides a way to get a `Meter`.",
    "Configuration is managed solely by the `MeterProvider`.",
)
def test_the_provider_is_the_process_s_and_others_can_be_made(run: Run) -> None:
    assert (True, ["of.another"]) == (run.shown["global"], run.shown["another"])
    assert [] == last(run, "of.another")


@pytest.mark.specification(
    "Metrics",
    "`get_meter` accepts name, `version` and `schema_url`.",
    "`get_meter` accepts `attributes`.",
    "Associate `Meter` with `InstrumentationScope`.",
    "The supplied `name`, `version` and `schema_url` arguments passed to the `MeterProvider` are used to create an `InstrumentationScope` instance stored in the `Meter`.",
    "The supplied `name`, `version` and `schema_url` arguments passed to the `MeterProvider` are used to create an `InstrumentationLibrary` instance stored in the `Meter`.",
)
def test_a_meter_s_scope_arrives_whole(run: Run) -> None:
    ((_, scope, _),) = last(run, "shop.counter")
    assert ("shop", "1.2", "https://schema/2") == (scope.scope.name, scope.scope.version, scope.schema_url)
    assert {"team": "web"} == attributes(scope.scope.attributes)
    assert ["shop", "1.2", "https://schema/2"] == run.shown["meter"]


@pytest.mark.specification(
    "Metrics",
    "`MeterProvider` allows a `Resource` to be specified.",
    "A specified `Resource` can be associated with all the produced metrics from any `Meter` from the `MeterProvider`.",
)
def test_every_metric_has_the_resource(run: Run) -> None:
    for name in ("shop.counter", "shop.twice"):
        for _, _, resource in last(run, name):
            assert "4" == attributes(resource.resource.attributes)["shop.shelf"]


@pytest.mark.specification(
    "Metrics",
    "`Counter` instrument is supported.",
    "`AsynchronousCounter` instrument is supported.",
    "`Histogram` instrument is supported.",
    "`AsynchronousGauge` instrument is supported.",
    "`Gauge` instrument is supported.",
    "`UpDownCounter` instrument is supported.",
    "`AsynchronousUpDownCounter` instrument is supported.",
    "Instruments have `name`",
    "Instruments have kind.",
    "Instruments have an optional unit of measure.",
    "Instruments have an optional description.",
    "The `Default` aggregation is available.",
    "The `Default` aggregation uses the specified aggregation by instrument.",
)
@pytest.mark.parametrize(
    ("name", "kind", "monotonic", "value"),
    [
        ("shop.counter", "sum", True, 2),
        ("shop.updown", "sum", False, -2),
        ("shop.gauge", "gauge", None, 7),
        ("shop.observed.counter", "sum", True, 3),
        ("shop.observed.updown", "sum", False, -3),
        ("shop.observed.gauge", "gauge", None, 9),
        ("shop.histogram", "histogram", None, 3),
    ],
)
def test_each_instrument_arrives_as_its_kind(
    run: Run, name: str, kind: str, monotonic: bool | None, value: int
) -> None:
    metric = one(run, name)
    assert ("{thing}", "Dinge, über die\nman spricht", kind) == (
        metric.unit,
        metric.description,
        metric.WhichOneof("data"),
    )
    data = getattr(metric, kind)
    (point,) = data.data_points
    assert {"k": "v"} == attributes(point.attributes)
    if kind == "histogram":
        assert (1, value, [1.0, 5.0], [0, 1, 0]) == (
            point.count,
            point.sum,
            list(point.explicit_bounds),
            list(point.bucket_counts),
        )
        return
    assert value in {point.as_int, point.as_double}
    if kind == "sum":
        assert (monotonic, 2) == (data.is_monotonic, data.aggregation_temporality)


@pytest.mark.specification("Metrics", "Instrument supports the advisory ExplicitBucketBoundaries parameter.")
def test_bounds_that_are_advised_are_used_and_others_are_the_standard_s(run: Run) -> None:
    (point,) = one(run, "shop.default").histogram.data_points
    assert [0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000] == list(
        point.explicit_bounds
    )
    (point,) = one(run, "shop.histogram").histogram.data_points
    assert [1, 5] == list(point.explicit_bounds)


@pytest.mark.specification(
    "Metrics",
    "Instrument names conform to the specified syntax.",
    "Instrument units conform to the specified syntax.",
    "Instrument descriptions conform to the specified syntax.",
)
def test_names_units_and_descriptions_of_every_length_that_the_specification_has(run: Run) -> None:
    assert one(run, "a" + "b/._-" * 50 + "1234")
    assert "u" * 63 == one(run, "shop.unit").unit
    assert "d" * 1023 == one(run, "shop.described").description
    # "SHOULD emit an error notifying the user", and goes on working.
    assert ["taken"] * 4 == run.shown["wrong names"]
    told = [line["message"] for line in run.lines if "is no name of the specification's" in line["message"]]
    assert 4 == len(told)


@pytest.mark.specification(
    "Metrics", "It is possible to register two instruments with same `name` under different `Meter`s."
)
def test_one_name_under_two_meters_is_two_streams(run: Run) -> None:
    found = {
        scope.scope.name: metric.sum.data_points[0].as_int for metric, scope, _ in last(run, "shop.twice")
    }
    assert {"left": 1, "right": 2} == found


@pytest.mark.specification(
    "Metrics",
    "All methods of `MeterProvider` are safe to be called concurrently.",
    "All methods of `Meter` are safe to be called concurrently.",
    "All methods of any instrument are safe to be called concurrently.",
)
def test_eight_threads_lose_nothing_while_others_collect(run: Run) -> None:
    assert 3200 == one(run, "shop.shared").sum.data_points[0].as_int


@pytest.mark.specification(
    "Metrics",
    "The metrics Reader implementation supports registering metric Exporters",
    "The metrics Exporter has access to the aggregated metrics data (aggregated points, not raw measurements).",
    "The metrics Exporter `export` function can not be called concurrently from the same Exporter instance.",
    "The metrics Exporter `export` function receives a batch of metrics.",
    "The metrics Exporter `export` function returns `Success` or `Failure`.",
    "The metrics Exporter provides a `ForceFlush` function.",
    "The metrics Exporter provides a `shutdown` function.",
)
def test_an_exporter_of_one_s_own_gets_batches_one_after_the_other(run: Run) -> None:
    assert (1, 1, True) == (run.shown["together"], run.shown["ended"], run.shown["flushed"])
    assert run.shown["batches"] >= 1
    assert {"shop.counter", "shop.observed.gauge", "shop.twice"} <= set(run.shown["named"])


@pytest.mark.specification(
    "Metrics",
    "The metrics SDK samples `Exemplar`s from measurements.",
    "The metrics SDK supports `TraceBased` exemplar filter",
    "Exemplars contain the associated trace id and span id of the active span in the Context when the measurement was taken.",
    "Exemplars contain the timestamp when the measurement was taken.",
)
@pytest.mark.parametrize("name", ["shop.exemplary", "shop.exemplary.counter"])
def test_a_measurement_within_a_sampled_span_is_an_exemplar(run: Run, name: str) -> None:
    metric = one(run, name)
    (point,) = getattr(metric, metric.WhichOneof("data")).data_points
    (exemplar,) = point.exemplars
    assert run.shown["span"] == [exemplar.trace_id.hex(), exemplar.span_id.hex()]
    assert exemplar.time_unix_nano
    (outside,) = one(run, "shop.default").histogram.data_points
    assert [] == list(outside.exemplars)


FILTERED = """
import bext_otel
from opentelemetry import metrics, trace
runs = bext_otel.configure()
meter = metrics.get_meter("shop")
meter.create_counter("shop.outside").add(1)
with trace.get_tracer("shop").start_as_current_span("work"):
    meter.create_counter("shop.inside").add(1)
runs.flush()
runs.shutdown()
show(None)
"""


@pytest.mark.specification(
    "Metrics",
    "Exemplar sampling can be disabled.",
    "The metrics SDK supports SDK-wide exemplar filter configuration",
    "The metrics SDK supports `AlwaysOn` exemplar filter",
    "The metrics SDK supports `AlwaysOff` exemplar filter",
)
@pytest.mark.specification("Environment Variables", "OTEL_METRICS_EXEMPLAR_FILTER")
@pytest.mark.parametrize(
    ("chosen", "expected"),
    [("always_on", {"outside", "inside"}), ("trace_based", {"inside"}), ("always_off", set())],
)
def test_which_measurements_are_exemplars_is_what_the_variable_says(
    tmp_path: Path, chosen: str, expected: set[str]
) -> None:
    with running(FILTERED, tmp_path, OTEL_METRICS_EXEMPLAR_FILTER=chosen) as run:
        found = {
            name for name in ("outside", "inside") if one(run, f"shop.{name}").sum.data_points[0].exemplars
        }
    assert expected == found


DELTA = """
import bext_otel
from opentelemetry import metrics
runs = bext_otel.configure()
meter = metrics.get_meter("shop")
counter, updown = meter.create_counter("shop.sold"), meter.create_up_down_counter("shop.left")
for amount in (2, 3):
    counter.add(amount)
    updown.add(amount)
    runs.flush()
runs.shutdown()
show(None)
"""


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: a reader of totals gets what there is again and again"
)
@pytest.mark.specification("Environment Variables", "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE")
@pytest.mark.specification("Exporters", "OTLP: Metric Exporter configurable temporality preference")
@pytest.mark.parametrize(("preferred", "sold"), [("cumulative", [2, 5]), ("delta", [2, 3])])
def test_sums_are_totals_or_news_as_is_preferred(tmp_path: Path, preferred: str, sold: list[int]) -> None:
    with running(DELTA, tmp_path, OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=preferred) as run:
        found: dict[str, list[int]] = {"shop.sold": [], "shop.left": []}
        for message in run.messages:
            for resource in getattr(message, "resource_metrics", ()):
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        if metric.name in found:
                            found[metric.name] += [point.as_int for point in metric.sum.data_points]
    assert sold == found["shop.sold"][:2]
    assert [2, 5] == found["shop.left"][:2], "what may fall is told as a total either way"


AGGREGATED = """
import bext_otel
from opentelemetry import metrics
runs = bext_otel.configure()
histogram = metrics.get_meter("shop").create_histogram("shop.waited", explicit_bucket_boundaries_advisory=[1.0, 4.0])
for amount in (0, 1, 3, 5):
    histogram.record(amount)
runs.flush()
runs.shutdown()
show(None)
"""


@pytest.mark.specification(
    "Environment Variables", "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
)
@pytest.mark.specification("Exporters", "OTLP: Metric Exporter configurable default aggregation")
@pytest.mark.parametrize(
    ("chosen", "kind"),
    [
        ("explicit_bucket_histogram", "histogram"),
        ("BASE2_exponential_bucket_histogram", "exponential_histogram"),
    ],
)
@pytest.mark.parametrize("engine", ["bext", "upstream"])
def test_histograms_have_the_buckets_that_the_variable_names(
    tmp_path: Path, chosen: str, kind: str, engine: str
) -> None:
    with running(
        AGGREGATED,
        tmp_path,
        OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=chosen,
        BEXT_TELEMETRY_ENGINE=engine,
    ) as run:
        metric = one(run, "shop.waited")
    assert kind == metric.WhichOneof("data")
    (point,) = getattr(metric, kind).data_points
    assert (4, 9) == (point.count, point.sum)
    if kind == "histogram":
        assert ([1.0, 4.0], [2, 1, 1]) == (list(point.explicit_bounds), list(point.bucket_counts))
    else:
        assert (1, 3) == (point.zero_count, sum(point.positive.bucket_counts))
