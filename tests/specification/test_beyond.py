"""Sentences of the specification with MUST or SHOULD that no row stands for, and no other test shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.specification.programs import Run, attributes, running

PROGRAM = """
import threading
import time
import bext_otel
from opentelemetry import _logs, metrics, propagate, trace
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.metrics import Observation

import requests
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

RequestsInstrumentor().instrument()
posted = []
def post():
    try:
        requests.post("http://127.0.0.1:1", timeout=1)
    except requests.ConnectionError:
        posted.append(1)
class PostingMetrics(MetricExporter):
    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        post()
        return MetricExportResult.SUCCESS
    def force_flush(self, timeout_millis=10_000):
        post()
        return True
    def shutdown(self, timeout_millis=30_000, **kwargs): pass
class PostingSpans(SpanExporter):
    def export(self, spans):
        post()
        return SpanExportResult.SUCCESS
    def force_flush(self, timeout_millis=30_000):
        post()
        return True
runs = bext_otel.configure(exporters=[PostingMetrics(), PostingSpans()])
trace.get_tracer_provider().force_flush()
page = lambda: runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True).body.decode().splitlines()
flush = lambda: metrics.get_meter_provider().force_flush()
meter = metrics.get_meter("shop")

meter.create_counter("exempt").add(1, {"first": "longer than that", "second": 2, "third": 3})
sizes = meter.create_histogram("sizes", explicit_bucket_boundaries_advisory=[1.0, 5.0])
sizes.record(5)
sizes.record(1)
for version, schema, of_scope in (("1", "", {}), ("2", "", {}), ("2", "https://opentelemetry.io/schemas/1.38.0", {}), ("2", "", {"team": "web"})):
    metrics.get_meter("lib", version, schema_url=schema, attributes=of_scope).create_counter("by.scope").add(1)
kinds = meter.create_counter("kinds")
for value in (1, "1", True, 1.5):
    kinds.add(1, {"of": value})
meter.create_counter("bare", unit=None, description=None).add(1)

sold = meter.create_counter("sold")
sold.add(2)
meter.create_counter("rests").add(1)
flush()
sold.add(3)
flush()

active, most, asked = 0, 0, 0
def observe(_):
    global active, most, asked
    active += 1
    asked += 1
    most = max(most, active)
    time.sleep(0.05)
    active -= 1
    return [Observation(1)]
meter.create_observable_gauge("seen", [observe])
threads = [threading.Thread(target=call) for call in (page, flush, page, flush, page)]
[each.start() for each in threads]
[each.join() for each in threads]

with trace.get_tracer("").start_as_current_span("nameless"):
    pass
big = trace.get_tracer("shop").start_span("big", attributes={"count": 2**70, "small": 1})
big.end()
trace.get_tracer("shop").start_span("beside").end()
_logs.get_logger("").emit(body="of nobody")
_logs.get_logger("shop").emit(body="when", timestamp=5)
broken = [{"traceparent": text} for text in ("", "00-bad", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
          "00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-zz")]
valid = [trace.get_current_span(propagate.extract(carrier)).get_span_context().is_valid for carrier in broken]
show({
    "sold": [line for line in page() if line.startswith("sold_total")],
    "info": sum(line.startswith("target_info{") for line in page()),
    "callbacks": [most, asked > 0],
    "posted": len(posted),
    "valid": valid,
})
# Neither flushed nor shut down: the end of the program sends what there is.
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with running(
        PROGRAM,
        tmp_path_factory.mktemp("beyond"),
        OTEL_ATTRIBUTE_COUNT_LIMIT="1",
        OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT="6",
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="9",
        OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="delta",
        OTEL_METRIC_EXPORT_INTERVAL="600000",
    ) as found:
        yield found


def points(run: Run, name: str) -> list[tuple[Any, Any, Any]]:
    """Each point of the metric, with its metric and its scope's message, in the order in which they came."""
    return [
        (point, metric, scope)
        for message in run.messages
        for resource in getattr(message, "resource_metrics", ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]


@pytest.mark.specification(
    "Beyond the rows", "Common: attributes of metrics are exempt from attribute limits"
)
def test_attributes_of_metrics_have_no_limits(run: Run) -> None:
    ((point, _, _),) = points(run, "exempt")
    assert {"first": "longer than that", "second": 2, "third": 3} == attributes(point.attributes)


@pytest.mark.specification("Beyond the rows", "Metrics SDK: upper bounds of buckets are inclusive")
def test_a_value_at_a_bound_is_below_it(run: Run) -> None:
    ((point, _, _),) = points(run, "sizes")
    assert [1, 1, 0] == list(point.bucket_counts)


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: meters are told apart by version, schema URL and attributes"
)
def test_meters_of_one_name_are_scopes_of_their_own(run: Run) -> None:
    found = [
        (s.scope.version, s.schema_url, attributes(s.scope.attributes)) for _, _, s in points(run, "by.scope")
    ]
    schema = "https://opentelemetry.io/schemas/1.38.0"
    expected: list[Any] = [("1", "", {}), ("2", "", {}), ("2", "", {"team": "web"}), ("2", schema, {})]
    assert sorted(map(str, expected)) == sorted(map(str, found))


@pytest.mark.specification(
    "Beyond the rows", "Common: attributes whose values differ in type alone are different"
)
def test_values_of_other_types_are_other_series(run: Run) -> None:
    found = [attributes(point.attributes)["of"] for point, _, _ in points(run, "kinds")]
    assert {"1", "'1'", "True", "1.5"} == set(map(repr, found))


@pytest.mark.specification(
    "Beyond the rows", "Metrics API: a unit or a description that is null is an empty one"
)
def test_what_is_null_is_empty(run: Run) -> None:
    ((_, metric, _),) = points(run, "bare")
    assert ("", "") == (metric.unit, metric.description)


@pytest.mark.specification(
    "Beyond the rows",
    "Metrics SDK: a reader of deltas gets what has come since it was given the last ones, and nothing else",
    "Prometheus: the page shows totals, whatever temporality another exporter prefers",
)
def test_deltas_go_out_while_the_page_shows_totals(run: Run) -> None:
    assert [2, 3] == [point.as_int for point, _, _ in points(run, "sold")]
    assert 1 == len(points(run, "rests"))
    (line,) = run.shown["sold"]
    assert line.endswith(" 5")


@pytest.mark.specification("Beyond the rows", "Metrics SDK: callbacks are not called concurrently")
def test_a_callback_is_asked_by_one_at_a_time(run: Run) -> None:
    assert [1, True] == run.shown["callbacks"]


@pytest.mark.specification("Beyond the rows", "Prometheus: a page has one `target_info` at most")
def test_a_page_tells_the_resource_once(run: Run) -> None:
    assert 1 == run.shown["info"]


@pytest.mark.specification(
    "Beyond the rows",
    "Trace API: a tracer without a name works, and keeps its name",
    "Logs API: a logger without a name works",
)
def test_who_has_no_name_works(run: Run) -> None:
    (scope,) = [scope.scope.name for span, scope, _ in run.spans() if span.name == "nameless"]
    (logger,) = [
        scope.scope.name for record, scope, _ in run.records() if record.body.string_value == "of nobody"
    ]
    assert ("", "") == (scope, logger)


@pytest.mark.specification(
    "Beyond the rows",
    "Common: an integer that does not fit into 64 bits costs no other attribute and no other span",
)
def test_an_integer_that_is_too_large_costs_nothing_else(run: Run) -> None:
    assert 1 == attributes(run.span("big").attributes)["small"]
    assert run.span("beside")


@pytest.mark.specification(
    "Beyond the rows", "Logs SDK: ObservedTimestamp is set where the caller has not set it"
)
def test_a_record_tells_when_it_was_observed(run: Run) -> None:
    record = run.record("when")
    assert 5 == record.time_unix_nano
    assert record.observed_time_unix_nano > 5


@pytest.mark.specification(
    "Beyond the rows", "Context: a header that cannot be read is passed over, and nothing is raised"
)
def test_headers_that_are_none_are_no_parents(run: Run) -> None:
    assert [False] * 5 == run.shown["valid"]


@pytest.mark.specification("Beyond the rows", "OTLP: requests of exporters are not traced")
def test_an_export_is_nobody_s_trace(run: Run) -> None:
    """Of ours, and of one that sends by a library that is instrumented."""
    assert run.shown["posted"] >= 3
    assert {"nameless", "big", "beside"} == {span.name for span, _, _ in run.spans()}


@pytest.mark.specification(
    "Beyond the rows", "Trace, metrics and logs SDK: what is queued is exported when the program ends"
)
def test_the_end_of_a_program_sends_what_there_is(run: Run) -> None:
    """Nobody has flushed after these."""
    assert run.span("beside")
    assert run.record("of nobody")
    assert points(run, "seen")
