"""The specification's rows on declarative configuration: a file decides, key by key, and what it cannot have
is one line with its path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.otlp import receiving
from tests.fresh import fresh
from tests.specification.programs import Run, attributes

pytest.importorskip("opentelemetry.configuration", reason="the extra `config` is not installed")

FILE = """
file_format: "1.0"
log_level: info
attribute_limits:
  attribute_value_length_limit: ${LONGEST}
resource:
  attributes:
    - {name: service.name, value: "${SHOP:-nobody}"}
    - {name: shop.shelves, value: 4, type: int}
    - {name: shop.doors, value: [a, b], type: string_array}
  attributes_list: "deployment.environment.name=prod%20east,service.name=unused"
  schema_url: https://opentelemetry.io/schemas/1.38.0
  detection/development:
    detectors:
      - shop: {shelf: "9"}
propagator:
  composite:
    - tracecontext:
    - b3:
    - shop: {header: x-shop}
tracer_provider:
  limits: {event_count_limit: 1}
  sampler:
    parent_based:
      root: {trace_id_ratio_based: {ratio: 1.0}}
  id_generator:
    shop: {first: 5}
  tracer_configurator/development:
    tracers:
      - {name: "quiet.*", config: {enabled: false}}
  processors:
    - batch:
        schedule_delay: 100
        export_timeout: 3000
        exporter:
          otlp_http:
            endpoint: ${COLLECTOR}/v1/traces
            headers:
              - {name: x-key, value: "a b,c"}
            headers_list: "x-key=unused,x-other=o"
            compression: gzip
            timeout: 5000
    - simple:
        exporter:
          shop: {prefix: "seen "}
meter_provider:
  exemplar_filter: always_off
  readers:
    - periodic:
        interval: 600000
        exporter:
          otlp_http:
            endpoint: ${COLLECTOR}/v1/metrics
            temporality_preference: delta
            default_histogram_aggregation: base2_exponential_bucket_histogram
    - pull:
        exporter:
          prometheus/development: {host: localhost, port: 0, scope_info_enabled: false}
  views:
    - selector: {instrument_name: shop.sold, instrument_type: counter}
      stream:
        name: shop.renamed
        attribute_keys: {excluded: [customer]}
  meter_configurator/development:
    meters:
      - {name: "quiet.*", config: {enabled: false}}
logger_provider:
  limits: {attribute_count_limit: 1}
  processors:
    - batch:
        exporter:
          otlp_http:
            endpoint: ${COLLECTOR}/v1/logs
  logger_configurator/development:
    default_config: {minimum_severity: warn}
distribution:
  bext:
    metrics: {window_seconds: 60, no_such_key: 1}
    apps:
      shop: {hosts: ["shop.example"]}
"""

PLUGINS = """
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.resources import Resource, ResourceDetector
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator

seen = []

class Spans(SpanExporter):
    def __init__(self, prefix=""):
        self.prefix = prefix
    def export(self, spans):
        seen.extend(self.prefix + span.name for span in spans)
        return SpanExportResult.SUCCESS

class Ids(IdGenerator):
    def __init__(self, first):
        self.next = first
    def generate_span_id(self):
        self.next += 1
        return self.next
    generate_trace_id = generate_span_id

class Header(TextMapPropagator):
    def __init__(self, header):
        self.header = header
    @property
    def fields(self):
        return {self.header}
    def extract(self, carrier, context=None, getter=None):
        return context
    def inject(self, carrier, context=None, setter=None):
        carrier[self.header] = "1"

class Detector(ResourceDetector):
    def __init__(self, shelf):
        self.shelf = shelf
    def detect(self):
        return Resource({"shop.shelf": self.shelf})
"""

ENTRY_POINTS = """
[opentelemetry_traces_exporter]
shop = shop_plugins:Spans
[opentelemetry_id_generator]
shop = shop_plugins:Ids
[opentelemetry_propagator]
shop = shop_plugins:Header
[opentelemetry_resource_detector]
shop = shop_plugins:Detector
"""

PROGRAM = """
import os
import bext_otel
from opentelemetry import _logs, metrics, propagate, trace
runs = bext_otel.configure()
import shop_plugins
tracer = trace.get_tracer("shop")
carrier = {}
with tracer.start_as_current_span("bought", attributes={"note": "longer than it may be"}) as span:
    span.add_event("one")
    span.add_event("two")
    propagate.inject(carrier)
    metrics.get_meter("shop").create_counter("shop.sold").add(3, {"customer": "ada", "kind": "tea"})
    metrics.get_meter("shop").create_histogram("shop.size").record(3)
with trace.get_tracer("quiet.one").start_as_current_span("silent"):
    metrics.get_meter("quiet.one").create_counter("quiet.sold").add(1)
logger = _logs.get_logger("shop")
logger.emit(body="told", severity_number=_logs.SeverityNumber.ERROR, attributes={"a": 1, "b": 2})
logger.emit(body="not told", severity_number=_logs.SeverityNumber.INFO)
page = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True).body.decode()
metrics.get_meter_provider().force_flush()
runs.shutdown()
shown = {
    "carrier": sorted(key for key in carrier if not key.startswith("bext")),
    "seen": shop_plugins.seen,
    "page": [line for line in page.splitlines() if line.startswith("shop_")],
    "config": [runs.config.metrics.window_seconds, runs.config.metrics.host, list(runs.config.apps)],
}
show(shown)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("declared")
    _offer(folder)
    (folder / "otel.yaml").write_text(FILE)
    with receiving() as receiver:
        shown, lines = fresh(
            PROGRAM,
            folder,
            OTEL_CONFIG_FILE="otel.yaml",
            COLLECTOR=receiver.endpoint,
            LONGEST="6",
            SHOP="tea",
            OTEL_TRACES_SAMPLER="always_off",
            OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
            OTEL_SERVICE_NAME="variable",
        )
        shown["headers"] = next(headers for path, headers in receiver.headers if path == "/v1/traces")
        yield Run(shown, lines, list(receiver.messages))


def _offer(folder: Path) -> None:
    (folder / "shop_plugins.py").write_text(PLUGINS)
    info = folder / "shop_plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-plugins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)


@pytest.mark.specification(
    "Beyond the rows", "Declarative configuration: a file decides, and other variables are ignored"
)
@pytest.mark.specification("Environment Variables", "OTEL_EXPERIMENTAL_CONFIG_FILE")
@pytest.mark.specification(
    "Declarative configuration",
    "`Parse` a configuration file",
    "The `Parse` operation accepts the configuration YAML file format",
    "The `Parse` operation performs environment variable substitution",
)
def test_the_file_decides_and_other_variables_are_passed_over(run: Run) -> None:
    """But for those that it refers to, in the type that they have there."""
    ((span, _, resource),) = run.spans()
    found = attributes(resource.resource.attributes)
    assert {"service.name": "tea", "shop.shelves": 4, "shop.doors": ["a", "b"]}.items() <= found.items()
    assert "https://opentelemetry.io/schemas/1.38.0" == resource.schema_url
    assert "longer" == attributes(span.attributes)["note"]
    (line,) = [line["message"] for line in run.lines if "passed over" in line["message"]]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in line
    assert "OTEL_TRACES_SAMPLER" in line


@pytest.mark.specification(
    "Declarative configuration",
    "The `Parse` operation returns configuration model",
    "`Create` SDK components",
    "The `Create` operation accepts configuration model",
    "The `Create` operation returns `TracerProvider`",
)
def test_spans_are_sampled_limited_and_sent_as_the_file_says(run: Run) -> None:
    """By our own tracers and exporter."""
    ((span, scope, _),) = run.spans()
    assert ("bought", "shop") == (span.name, scope.scope.name)
    assert (1, 1) == (len(span.events), span.dropped_events_count)
    sent = {name.lower(): value for name, value in run.shown["headers"].items()}
    assert {"x-key": "a b,c", "x-other": "o", "content-encoding": "gzip"}.items() <= sent.items()


@pytest.mark.specification("Declarative configuration", "The `Create` operation returns `MeterProvider`")
def test_metrics_are_read_viewed_and_sent_as_the_file_says(run: Run) -> None:
    metrics = {
        metric.name: metric
        for message in run.messages
        for resource in getattr(message, "resource_metrics", ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    (point,) = metrics["shop.renamed"].sum.data_points
    assert ({"kind": "tea"}, 3, 1) == (
        attributes(point.attributes),
        point.as_int,
        metrics["shop.renamed"].sum.aggregation_temporality,
    )
    assert "exponential_histogram" == metrics["shop.size"].WhichOneof("data")
    assert "quiet.sold" not in metrics
    assert 'shop_renamed_total{kind="tea"} 3' in run.shown["page"]


@pytest.mark.specification("Declarative configuration", "The `Create` operation returns `LoggerProvider`")
def test_records_are_filtered_limited_and_sent_as_the_file_says(run: Run) -> None:
    found = {
        record.body.string_value: record for record, scope, _ in run.records() if scope.scope.name == "shop"
    }
    assert {"told"} == found.keys()
    assert (1, 1) == (len(found["told"].attributes), found["told"].dropped_attributes_count)


@pytest.mark.specification("Declarative configuration", "The `Create` operation returns `Propagators`")
def test_propagators_are_those_of_the_file(run: Run) -> None:
    assert ["b3", "traceparent", "tracestate", "x-shop"] == run.shown["carrier"]


@pytest.mark.specification(
    "Declarative configuration",
    "The `Parse` operation resolves extension component configuration to `properties`",
    "The `Create` operation calls `CreatePlugin` of corresponding `ComponentProvider` when encountering extension components",
    "Register a `ComponentProvider`",
)
def test_components_of_packages_are_made_with_their_properties(run: Run) -> None:
    """An exporter, an id generator, a propagator and a detector."""
    assert ["seen bought"] == run.shown["seen"]
    ((span, _, resource),) = run.spans()
    assert {6, 7} == {int.from_bytes(span.trace_id, "big"), int.from_bytes(span.span_id, "big")}
    assert "9" == attributes(resource.resource.attributes)["shop.shelf"]


def test_our_own_settings_stand_in_the_distributions_node(run: Run) -> None:
    assert [60.0, "localhost", ["shop"]] == run.shown["config"]


def test_a_key_without_effect_is_one_line_with_its_path(run: Run) -> None:
    said = [line["message"] for line in run.lines if "has no effect" in line["message"]]
    assert ["OTEL_CONFIG_FILE: tracer_provider.processors[0].batch.export_timeout has no effect here"] == said
    assert 1 == sum("[metrics] no_such_key: no such setting" in line["message"] for line in run.lines)
