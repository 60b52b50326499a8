"""A declarative configuration: what becomes variables, settings and parts, and what is told of the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel.config.config_file import config_file, put_aside, put_back, replace_variables
from bext_otel.traces.ratio import ConsistentRatio
from tests.fresh import fresh

pytest.importorskip("opentelemetry.configuration", reason="the extra `config` is not installed")

from bext_otel.export.declared import Declared, declare


def declared(folder: Path, text: str, **environ: str) -> tuple[Declared, dict[str, str]]:
    """What a file says, and the variables after that."""
    path = folder / "otel.yaml"
    path.write_text(f'file_format: "1.0"\n{text}')
    variables = dict(environ)
    made = declare(str(path), variables)
    return made, {name: value for name, value in variables.items() if not name.startswith("_")}


def test_a_signal_that_is_not_described_goes_nowhere_and_the_page_stays(tmp_path: Path) -> None:
    _, variables = declared(tmp_path, "")
    assert {
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_LOGS_EXPORTER": "none",
    } == variables


FULL = """
disabled: false
log_level: trace2
attribute_limits: {attribute_count_limit: 9, attribute_value_length_limit: 8}
tracer_provider:
  limits: {attribute_count_limit: 1, attribute_value_length_limit: 2, event_count_limit: 3, link_count_limit: 4,
           event_attribute_count_limit: 5, link_attribute_count_limit: 6}
  processors:
    - batch: {schedule_delay: 1, max_queue_size: 2, max_export_batch_size: 3, exporter: {otlp_grpc: {
        endpoint: "http://c:4317", tls: {ca_file: /ca, key_file: /key, cert_file: /cert, insecure: true}, timeout: 1500}}}
meter_provider:
  exemplar_filter: always_on
  readers:
    - periodic: {interval: 7, timeout: 8, max_export_batch_size/development: 9, cardinality_limits: {default: 10},
                 exporter: {otlp_http: {encoding: json, temporality_preference: low_memory}}}
logger_provider:
  limits: {attribute_count_limit: 1}
  processors:
    - batch: {exporter: {console: {}}}
instrumentation/development:
  general: {http: {server: {request_captured_headers: [x-a, x-b], known_methods: [GET]},
                   client: {response_captured_headers: [x-c]}}, stability_opt_in_list: http/dup}
  python: {redis: {enabled: false}, flask: {enabled: true}}
"""


def test_keys_are_the_variables_that_say_the_same(tmp_path: Path) -> None:
    made, variables = declared(tmp_path, FULL)
    assert {
        "OTEL_LOG_LEVEL": "debug",
        "OTEL_ATTRIBUTE_COUNT_LIMIT": "9",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "8",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "1",
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "2",
        "OTEL_SPAN_EVENT_COUNT_LIMIT": "3",
        "OTEL_SPAN_LINK_COUNT_LIMIT": "4",
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "5",
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "6",
        "OTEL_BSP_SCHEDULE_DELAY": "1",
        "OTEL_BSP_MAX_QUEUE_SIZE": "2",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "3",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4317",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": "/ca",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": "/key",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE": "/cert",
        "OTEL_EXPORTER_OTLP_TRACES_INSECURE": "True",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "1.5",
        "OTEL_METRICS_EXEMPLAR_FILTER": "always_on",
        "OTEL_METRIC_EXPORT_INTERVAL": "7",
        "OTEL_METRIC_EXPORT_TIMEOUT": "8",
        "OTEL_METRICS_EXPORTER": "prometheus,otlp",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/json",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://localhost:4318/v1/metrics",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "lowmemory",
        "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "1",
        "OTEL_LOGS_EXPORTER": "console",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST": "x-a,x-b",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE": "x-c",
        "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS": "GET",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis",
    } == variables
    assert {"metrics": {"export_batch_size": 9, "series_limit": 10}} == made.settings
    assert [] == made.lines


SAMPLERS = """
tracer_provider:
  sampler: {SAMPLER}
  processors: [{batch: {exporter: {console: }}}]
"""


def test_samplers_are_ours_where_we_have_one(tmp_path: Path) -> None:
    text = SAMPLERS.replace(
        "{SAMPLER}",
        "{parent_based: {root: {probability/development: {ratio: 0.25}}, remote_parent_sampled: {always_off: }}}",
    )
    made, _ = declared(tmp_path, text)
    found = made.parts["sampler"]
    assert isinstance(found, ParentBased)
    assert (ConsistentRatio, ALWAYS_OFF, []) == (type(found._root), found._remote_parent_sampled, made.lines)


@pytest.mark.parametrize(
    ("sampler", "said"),
    [
        ("{nobody_s: {a: 1}}", "tracer_provider.sampler cannot be had: LookupError: nothing of the name"),
        (
            "{composite/development: {nobody_s: }}",
            "tracer_provider.sampler cannot be had: ConfigurationError",
        ),
    ],
)
def test_a_part_that_cannot_be_had_is_one_line_with_its_path(tmp_path: Path, sampler: str, said: str) -> None:
    made, _ = declared(tmp_path, SAMPLERS.replace("{SAMPLER}", sampler))
    assert made.parts["sampler"] is None
    assert made.lines[0].startswith(said)


def test_further_processors_and_readers_are_upstreams(tmp_path: Path) -> None:
    """Behind the first ones, which are ours; what they do not take is told."""
    text = """
tracer_provider:
  processors:
    - batch: {exporter: {otlp_http: {}}}
    - simple: {exporter: {otlp_http: {tls: {ca_file: /ca}}}}
meter_provider:
  readers:
    - periodic: {exporter: {console: }, cardinality_limits: {counter: 3}}
    - periodic: {exporter: {otlp_http: }, producers: [{opencensus: }]}
"""
    made, variables = declared(tmp_path, text)
    assert ["SimpleSpanProcessor"] == [type(each).__name__ for each in made.parts["span_processors"]]
    (reader,) = made.parts["metric_readers"]
    assert ("PeriodicExportingMetricReader", "prometheus,otlp") == (
        type(reader).__name__,
        variables["OTEL_METRICS_EXPORTER"],
    )
    reader.shutdown()
    assert [
        "OTEL_CONFIG_FILE: tracer_provider.processors[1].simple.exporter.otlp_http.tls.ca_file has no effect here",
        "OTEL_CONFIG_FILE: meter_provider.readers[1].periodic.producers[0].opencensus has no effect here",
    ] == sorted((line for line in made.lines if "no effect" in line), reverse=True)


def test_scopes_are_told_apart_by_patterns_of_their_names(tmp_path: Path) -> None:
    text = """
logger_provider:
  processors: [{batch: {exporter: {console: }}}]
  logger_configurator/development:
    default_config: {trace_based: true}
    loggers:
      - {name: "shop.*", config: {minimum_severity: warn2}}
      - {name: "*", config: {enabled: false}}
"""
    made, _ = declared(tmp_path, text)
    asked = made.parts["logger_configurator"]
    found = [asked(InstrumentationScope(name)) for name in ("shop.till", "till")]
    assert [(True, 14, False), (False, 0, False)] == [
        (each.is_enabled, each.minimum_severity, each.trace_based) for each in found
    ]


@pytest.mark.specification("Beyond the rows", "Declarative configuration: a file that is none is told")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "tracer_provider: {processors: [{batch: {exporter: {otlp_http: {headers: [{name: key, value: [s3cret]}]}}}}]}",
            "at tracer_provider.processors.0",
        ),
        ("a: [", "Failed to parse YAML"),
        ("no_such: 1", "at the top"),
    ],
)
def test_a_file_that_is_none_is_one_line_without_its_values_and_variables_stay(
    tmp_path: Path, text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    made, variables = declared(tmp_path, text, OTEL_SERVICE_NAME="shop")
    if text == "no_such: 1":  # the schema leaves room there
        assert ["OTEL_CONFIG_FILE: no_such has no effect here"] == made.lines[:1]
        return
    (line,) = made.lines
    assert said in line
    assert "s3cret" not in line
    assert ({"OTEL_SERVICE_NAME": "shop"}, []) == (variables, caplog.messages)


def test_what_reads_the_file_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.configuration", None)
    made, variables = declared(tmp_path, "", OTEL_SERVICE_NAME="shop")
    assert "pip install 'bext-otel[config]'" in made.lines[0]
    assert {"OTEL_SERVICE_NAME": "shop"} == variables


@pytest.mark.specification(
    "Beyond the rows",
    "Declarative configuration: a newer minor version of the schema is taken, with a warning",
)
def test_a_newer_minor_version_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "otel.yaml"
    path.write_text('file_format: "1.99"')
    assert "newer minor version" in declare(str(path), {}).lines[0]


# --- Variables


def test_programs_that_are_started_get_the_variables_back() -> None:
    """But for those that are set for them."""
    environ = {
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_TRACES_EXPORTER": "otlp",
        "HOME": "/",
        "OTEL_PYTHON_CONTEXT": "c",
    }
    before = dict(environ)
    assert ("OTEL_TRACES_EXPORTER",) == replace_variables(environ, {"OTEL_SERVICE_NAME": "file"})
    assert {"HOME": "/", "OTEL_PYTHON_CONTEXT": "c", "OTEL_SERVICE_NAME": "file"}.items() <= environ.items()
    child, other = dict(environ), {**environ, "OTEL_SERVICE_NAME": "its own"}
    put_back(child)
    put_back(other)
    assert (before, {**before, "OTEL_SERVICE_NAME": "its own"}) == (child, other)


@pytest.mark.parametrize("text", ["", "[", "5", '{"PATH": ["/tmp", null]}', '{"OTEL_SERVICE_NAME": 5}'])
def test_nothing_else_is_put_back(text: str) -> None:
    environ = {"_BEXT_OTEL_BEFORE_CONFIG_FILE": text, "HOME": "/"}
    put_back(environ)
    assert {"HOME": "/"} == environ


def test_variables_that_modules_read_stand_aside_for_a_moment() -> None:
    environ = {"OTEL_BSP_MAX_QUEUE_SIZE": "x", "OTEL_PYTHON_DISTRO": "bext"}
    with put_aside(environ):
        assert {"OTEL_PYTHON_DISTRO": "bext"} == environ
    assert {"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_PYTHON_DISTRO"} == environ.keys()


def test_either_name_of_the_variable_is_known() -> None:
    assert "a" == config_file({"OTEL_CONFIG_FILE": " a ", "OTEL_EXPERIMENTAL_CONFIG_FILE": "b"})
    assert "b" == config_file({"OTEL_EXPERIMENTAL_CONFIG_FILE": "b"})


CHILD = """
import os, subprocess, sys
import bext_otel
runs = bext_otel.configure(sampler=MINE)
from opentelemetry import trace
name = trace.get_tracer_provider().resource.attributes["service.name"]
recorded = trace.get_tracer("s").start_span("s").is_recording()
if len(sys.argv) < 2:
    with open("child.py", "w") as file:
        file.write("show = print\\n" + PROGRAM)
    child = subprocess.run([sys.executable, "child.py", "x"], capture_output=True, text=True)
    show([name, recorded, child.stdout.splitlines()[-1] if child.stdout else child.stderr[-300:]])
else:
    show(name)
"""


def test_a_program_of_the_program_s_reads_the_same_file_and_code_comes_first(tmp_path: Path) -> None:
    (tmp_path / "otel.yaml").write_text(
        'file_format: "1.0"\nresource: {attributes: [{name: service.name, value: "${OTEL_SERVICE_NAME}-1"}]}\n'
        "tracer_provider: {processors: [{batch: {exporter: {console: }}}], sampler: {always_on: }}\n"
    )
    program = CHILD.replace(
        "MINE", "__import__('opentelemetry.sdk.trace.sampling').sdk.trace.sampling.ALWAYS_OFF"
    )
    shown, _ = fresh(
        f"PROGRAM = {program!r}\n{program}", tmp_path, OTEL_CONFIG_FILE="otel.yaml", OTEL_SERVICE_NAME="shop"
    )
    assert ["shop-1", False, "shop-1"] == shown
