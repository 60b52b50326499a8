"""Variables that upstream reads: what it would refuse is taken out, what it takes stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bext_otel.config.upstream import CHECKS, correct_upstream_variables
from tests.fresh import fresh

GOOD = {
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "64",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "",
    "OTEL_SPAN_EVENT_COUNT_LIMIT": "0",
    "OTEL_BSP_SCHEDULE_DELAY": "100",
    "OTEL_BSP_MAX_QUEUE_SIZE": "4096",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5",
    "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION": "gzip",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x,tenant=shop",
    "OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,",
    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0.25",
    "OTEL_METRICS_EXEMPLAR_FILTER": "always_off",
}


def test_what_is_right_stays_and_is_not_told() -> None:
    environ = dict(GOOD)
    assert () == correct_upstream_variables(environ)
    assert GOOD == environ


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1", "='-1': expected a whole number, 0 or more; treated as not set"),
        (
            "OTEL_BSP_SCHEDULE_DELAY",
            "5s",
            "='5s': expected a positive whole number of milliseconds, e.g. 5000; treated as not set",
        ),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "0", "='0': expected a whole number, 1 or more; treated as not set"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            "nan",
            "='nan': expected a positive number of seconds, e.g. 10; treated as not set",
        ),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "zip",
            "='zip': expected one of gzip, deflate, none; treated as not set",
        ),
        (
            "OTEL_METRICS_EXEMPLAR_FILTER",
            "some",
            "='some': expected one of always_on, always_off, trace_based; treated as not set",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_not_set(name: str, value: str, line: str) -> None:
    environ = {name: value}
    assert (f"{name}{line}",) == correct_upstream_variables(environ)
    assert {} == environ


@pytest.mark.specification("Beyond the rows", "Environment: an empty variable is one that is not set")
def test_an_empty_variable_counts_as_not_set() -> None:
    environ = {"OTEL_METRICS_EXEMPLAR_FILTER": " ", "OTEL_BSP_SCHEDULE_DELAY": ""}
    assert () == correct_upstream_variables(environ)
    assert {} == environ


@pytest.mark.specification("Beyond the rows", "Environment: words are taken in any case")
def test_words_are_taken_in_any_case() -> None:
    environ = {"OTEL_METRICS_EXEMPLAR_FILTER": " Always_Off", "OTEL_EXPORTER_OTLP_COMPRESSION": "GZIP"}
    assert () == correct_upstream_variables(environ)
    assert {"OTEL_METRICS_EXEMPLAR_FILTER": "always_off", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"} == environ


def test_a_share_that_is_none_becomes_all() -> None:
    environ = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}
    assert (
        "OTEL_TRACES_SAMPLER_ARG='2': expected a number from 0 to 1, e.g. 0.1; treated as not set",
    ) == correct_upstream_variables(environ)
    assert "1.0" == environ["OTEL_TRACES_SAMPLER_ARG"]


def test_a_batch_fits_into_its_queue() -> None:
    """Upstream refuses a queue smaller than its own default for a batch."""
    small = {"OTEL_BSP_MAX_QUEUE_SIZE": "100"}
    assert () == correct_upstream_variables(small)
    assert "100" == small["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]
    both = {"OTEL_BLRP_MAX_QUEUE_SIZE": "100", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "200"}
    (line,) = correct_upstream_variables(both)
    assert (
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE='200': expected at most OTEL_BLRP_MAX_QUEUE_SIZE, which is 100; "
        "using 100" == line
    )
    assert "100" == both["OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"]


def test_entries_that_are_no_pairs_are_left_out_and_not_shown() -> None:
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": "s3cret,tenant=shop,=x", "OTEL_RESOURCE_ATTRIBUTES": "shop"}
    headers, attributes = correct_upstream_variables(environ)
    assert "OTEL_EXPORTER_OTLP_HEADERS: expected name=value,name=value; left out, by place: 1, 3" == headers
    assert attributes.startswith("OTEL_RESOURCE_ATTRIBUTES: ")
    assert {"OTEL_EXPORTER_OTLP_HEADERS": "tenant=shop"} == environ


VALUES = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "-1",
            "0",
            "1",
            "100",
            "1e3",
            "unset",
            "none",
            "nan",
            "inf",
            "gzip",
            "always_on",
            "traceidratio",
            "²",
            "1_0",
            "Always_Off",
            "GZip",
            "Delta",
        ]
    ),
    st.integers(-5, 10**6).map(str),
    st.floats(-2, 2).map(str),
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=8),
)


@given(st.dictionaries(st.sampled_from([*CHECKS, "OTEL_TRACES_SAMPLER_ARG"]), VALUES, max_size=6))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_upstream_takes_whatever_is_left(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    with monkeypatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        correct_upstream_variables(os.environ)
        processor = BatchSpanProcessor(InMemorySpanExporter())
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        with provider.get_tracer("t").start_as_current_span("s", attributes={"a": "b"}) as span:
            pass
        assert provider.force_flush()
        assert span.is_recording() is False
        provider.shutdown()
        MeterProvider(shutdown_on_exit=False).shutdown()
        for name in [*CHECKS, "OTEL_TRACES_SAMPLER_ARG"]:
            patch.delenv(name, raising=False)


@pytest.mark.specification("Beyond the rows", "Metrics SDK: its own metrics are counted once")
def test_what_the_sdk_tells_of_itself_is_told_once(tmp_path: Path) -> None:
    shown, _ = fresh(
        """
        import bext_otel
        from opentelemetry import trace
        runs = bext_otel.configure()
        with trace.get_tracer("shop").start_as_current_span("work"):
            pass
        text = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True).body.decode()
        show([line.rpartition(" ")[2] for line in text.splitlines() if line.startswith("otel_sdk_span_started")])
        """,
        tmp_path,
        OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED="true",
    )
    assert 1 == len(shown)
