"""Every variable that upstream documents is honoured, or one line."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path

import opentelemetry
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext

from bext_otel import _compat
from bext_otel.config.upstream import correct_upstream_variables
from bext_otel.config.variables import VARIABLES, Variable
from bext_otel.export.internal_metrics import SpanCounts
from bext_otel.traces.provider import BextTracerProvider
from tests.fresh import fresh

ROOT = Path(__file__).parents[2]
ROWS = {name: row for row in VARIABLES for name in row.names()}
PATTERNS = [re.compile(name.replace("{LIBRARY}", "[A-Z0-9_]+")) for name in ROWS if "{LIBRARY}" in name]
# The specification's, which no module of upstream's lists.
SPECIFIED = {
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS",
    "OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY",
}
# Honoured by parts of other people's, or by what is tested where it stands.
UNTESTED = {
    "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
    "OTEL_EXPORTER_ZIPKIN_TIMEOUT",
    "OTEL_PYTHON_LOG_CORRELATION",
    "OTEL_PYTHON_LOG_FORMAT",
    "OTEL_PYTHON_LOG_LEVEL",
}

# What shows that a variable does what its row says. The exporters' own are all in one test, below.
SHOWN_BY = {
    "config/test_loading.py": (
        "OTEL_SDK_DISABLED OTEL_SERVICE_NAME OTEL_EXPORTER_PROMETHEUS_HOST OTEL_EXPORTER_PROMETHEUS_PORT "
        "OTEL_METRIC_EXPORT_INTERVAL"
    ),
    "config/test_loading.py::test_the_level_of_our_own_lines": "OTEL_LOG_LEVEL",
    "config/test_exporters.py::test_one_endpoint_gets_every_signal": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "config/test_exporters.py::test_an_endpoint_of_one_signal_is_used_as_it_is": (
        "OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_ENDPOINT"
    ),
    "config/test_exporters.py::test_another_protocol_is_one_line": "OTEL_EXPORTER_OTLP_PROTOCOL",
    "config/test_exporters.py::test_a_signal_may_have_a_protocol_of_its_own": (
        "OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_PROTOCOL"
    ),
    "config/test_upstream.py::test_what_the_sdk_tells_of_itself_is_told_once": (
        "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
    ),
    "config/test_upstream.py::test_upstream_takes_whatever_is_left": (
        "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT OTEL_{,SPAN_,LOGRECORD_}ATTRIBUTE_VALUE_LENGTH_LIMIT "
        "OTEL_{BSP,BLRP}_SCHEDULE_DELAY OTEL_{BSP,BLRP}_MAX_QUEUE_SIZE"
    ),
    "config/test_upstream.py::test_a_batch_fits_into_its_queue": "OTEL_{BSP,BLRP}_MAX_EXPORT_BATCH_SIZE",
    "config/test_variables.py::test_the_limits_of_spans_hold": (
        "OTEL_{,SPAN_,EVENT_,LINK_}ATTRIBUTE_COUNT_LIMIT OTEL_SPAN_{EVENT,LINK}_COUNT_LIMIT"
    ),
    "config/test_variables.py::test_exemplars_are_shown_unless_the_filter_lets_none_through": (
        "OTEL_METRICS_EXEMPLAR_FILTER"
    ),
    "config/test_variables.py::test_histograms_are_exponential_where_the_variable_says_so": (
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
    ),
    "specification/test_metric_exporters.py::test_an_export_takes_no_longer_than_the_variable_says": (
        "OTEL_METRIC_EXPORT_TIMEOUT"
    ),
    "specification/test_declarative.py::test_the_file_decides_and_other_variables_are_passed_over": (
        "OTEL_CONFIG_FILE"
    ),
    "export/test_declared.py::test_either_name_of_the_variable_is_known": "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "export/test_resource.py": "OTEL_RESOURCE_ATTRIBUTES",
    "export/test_entry_points.py::test_configurators_that_packages_offer_are_asked": (
        "OTEL_PYTHON_{TRACER,METER,LOGGER}_CONFIGURATOR"
    ),
    "logs/test_chain.py::test_a_record_says_where_it_was_made_if_that_is_asked_for": (
        "OTEL_PYTHON_LOG_CODE_ATTRIBUTES"
    ),
    "export/test_entry_points.py::test_what_a_package_offers_is_used": (
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS OTEL_TRACES_SAMPLER OTEL_TRACES_SAMPLER_ARG "
        "OTEL_PYTHON_ID_GENERATOR OTEL_{TRACES,METRICS,LOGS}_EXPORTER"
    ),
    "export/test_entry_points.py::test_providers_are_those_that_variables_name": (
        "OTEL_PYTHON_{TRACER,METER,LOGGER}_PROVIDER"
    ),
    "export/test_entry_points.py::test_propagators_that_nobody_offers_are_left_out": "OTEL_PROPAGATORS",
    "test_api_environment.py::test_what_nobody_offers_is_taken_out_and_told": "OTEL_PYTHON_CONTEXT",
    "test_distro.py::test_an_instrumentation_is_turned_off_by_upstreams_name_too": (
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
    ),
    "instrumentors/http/test_wsgi.py::test_the_known_methods_are_those_that_the_variable_names_instead": (
        "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"
    ),
    "instrumentors/http/test_environment.py": (
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_{REQUEST,RESPONSE} OTEL_PYTHON_EXCLUDED_URLS "
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS OTEL_PYTHON_{LIBRARY}_EXCLUDED_URLS"
    ),
}


def is_known(name: str) -> bool:
    return name in ROWS or any(pattern.fullmatch(name) for pattern in PATTERNS)


def test_every_variable_that_upstream_lists_has_a_row() -> None:
    modules = (
        "opentelemetry.environment_variables",
        "opentelemetry.sdk.environment_variables",
        "opentelemetry.instrumentation.environment_variables",
    )
    listed = {
        value
        for module in modules
        for name, value in vars(importlib.import_module(module)).items()
        if isinstance(value, str) and value.startswith("OTEL_")
    }
    assert len(listed) > 80
    assert [] == sorted(name for name in listed | SPECIFIED if not is_known(name))


def test_every_variable_that_an_installed_package_of_upstream_names_has_a_row() -> None:
    """Each text of the kind in its sources, so that a new variable is found with the version that brings
    it."""
    named = {
        name
        for folder in opentelemetry.__path__
        for path in Path(folder).rglob("*.py")
        for name in re.findall(r"""["'](OTEL_[A-Z0-9_]+)["']""", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 80
    assert [] == sorted(name for name in named if not is_known(name))


def test_no_variable_has_two_rows() -> None:
    assert len(ROWS) == sum(len(row.names()) for row in VARIABLES)


def test_every_variable_that_is_honoured_has_a_test_that_shows_it() -> None:
    shown = {
        name
        for names in SHOWN_BY.values()
        for row in names.split()
        for name in Variable(row, "SDK", "").names()
    }
    elsewhere = {"instrumentor", "launcher", "not honoured"}
    honoured = {name for name, row in ROWS.items() if row.by not in elsewhere}
    exporters = {name for name in honoured if ROWS[name].by == "exporter" and "OTLP" in name}
    assert honoured - UNTESTED - exporters == shown


@pytest.mark.parametrize("test", SHOWN_BY)
def test_a_test_that_is_named_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name or 'test_'}" in (ROOT / "tests" / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.by == "not honoured"])
def test_what_is_not_honoured_is_one_line(name: str) -> None:
    (line,) = correct_upstream_variables({name: "1"})
    assert line == f"{name} is not honoured: {ROWS[name].meaning}"
    assert () == correct_upstream_variables({name: " "})
    assert () == correct_upstream_variables({name: ROWS[name].silent})


def test_the_exporters_read_their_variables_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the endpoint is handed to them."""
    read: set[str] = set()
    get = type(os.environ).__getitem__

    def recorded(environ: os._Environ[str], name: str) -> str:
        read.add(name)
        return get(environ, name)

    monkeypatch.setattr(type(os.environ), "__getitem__", recorded)
    certificate = tmp_path / "certificate.pem"
    certificate.write_text("")
    # gRPC's asks for the credentials of a signal where that has a certificate, and else for those of all.
    for protocol, endpoint, given in (
        ("http/protobuf", "http://a:1", ""),
        ("grpc", "a:1", ""),
        ("grpc", "https://a", ""),
        ("grpc", "https://a", "x"),
    ):
        for signal in ("traces", "metrics", "logs"):
            if given:
                monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal.upper()}_CERTIFICATE", str(certificate))
            _compat.otlp_exporter(protocol, signal)(endpoint=endpoint).shutdown()  # type: ignore[arg-type]
    assert [] == sorted(
        name for name, row in ROWS.items() if row.by == "exporter" and "OTLP" in name and name not in read
    )


def test_the_limits_of_spans_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = ("ATTRIBUTE", "EVENT_ATTRIBUTE", "LINK_ATTRIBUTE", "SPAN_ATTRIBUTE", "SPAN_EVENT", "SPAN_LINK")
    for position, name in enumerate(limits, 1):
        monkeypatch.setenv(f"OTEL_{name}_COUNT_LIMIT", str(position))
    provider = BextTracerProvider(Resource({}), SpanCounts())
    spans = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    many = {str(number): number for number in range(20)}
    links = [Link(SpanContext(number + 1, number + 1, is_remote=True), many) for number in range(20)]
    with provider.get_tracer("t").start_as_current_span("work", attributes=many, links=links) as span:
        for _ in range(20):
            span.add_event("event", many)
    (ended,) = spans.get_finished_spans()
    sizes = [
        ended.events[0].attributes,
        ended.links[0].attributes,
        ended.attributes,
        ended.events,
        ended.links,
    ]
    assert [2, 3, 4, 5, 6] == [len(size or ()) for size in sizes]


@pytest.mark.parametrize(("chosen", "shown"), [("trace_based", True), ("Always_Off", False)])
def test_exemplars_are_shown_unless_the_filter_lets_none_through(
    tmp_path: Path, chosen: str, shown: bool
) -> None:
    code = """
        import bext_otel
        from bext_otel.catalogue import REQUESTS
        from bext_otel.operation import count, tracer
        runs = bext_otel.configure()
        with tracer().start_as_current_span("work"):
            count(REQUESTS, app="shop", method="GET", status="200", route="/")
        text = runs.endpoints.reply("GET", "/metrics", "format=openmetrics", {}, trusted=True).body.decode()
        show(["bext_requests_total{" in text, "trace_id=" in text])
        """
    assert ([True, shown], []) == fresh(code, tmp_path, OTEL_METRICS_EXEMPLAR_FILTER=chosen)


def test_histograms_are_exponential_where_the_variable_says_so(tmp_path: Path) -> None:
    code = """
        import bext_otel
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        reader = InMemoryMetricReader()
        bext_otel.configure(metric_readers=[reader])
        metrics.get_meter("shop").create_histogram("wait").record(3)
        (told,) = [m for r in reader.get_metrics_data().resource_metrics for s in r.scope_metrics
                   if s.scope.name == "shop" for m in s.metrics]
        show(type(told.data).__name__)
        """
    variable = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
    chosen = {variable: "BASE2_exponential_bucket_histogram"}
    assert ("ExponentialHistogram", []) == fresh(code, tmp_path, **chosen)
    assert ("Histogram", []) == fresh(code, tmp_path, **{variable: ""})


def test_any_measurement_may_be_an_exemplar_where_the_variable_says_so(tmp_path: Path) -> None:
    code = """
        import bext_otel
        from bext_otel.catalogue import REQUESTS
        from bext_otel.operation import count
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        reader = InMemoryMetricReader()
        bext_otel.configure(metric_readers=[reader])
        metrics.get_meter("shop").create_counter("orders").add(3)
        count(REQUESTS, app="shop", method="GET", status="200", route="/")
        show(sorted(e.value for r in reader.get_metrics_data().resource_metrics for s in r.scope_metrics
                    for m in s.metrics for p in m.data.data_points for e in p.exemplars))
        """
    assert ([1, 3], []) == fresh(code, tmp_path, OTEL_METRICS_EXEMPLAR_FILTER="always_on")
