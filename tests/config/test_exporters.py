"""Who gets each signal, by the standard variables and [telemetry]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bext_otel.config import Exporters, Loaded, Target, load

HTTP = "http/protobuf"


def read(explicit: dict[str, Any] | None = None, **environ: str) -> Loaded:
    return load(explicit, environ=environ, cwd=Path("/nonexistent"))


def found(explicit: dict[str, Any] | None = None, **environ: str) -> Exporters:
    loaded = read(explicit, **environ)
    assert () == loaded.warnings
    return loaded.config.telemetry.exporters


def test_without_an_endpoint_nobody_gets_anything() -> None:
    assert Exporters() == found()


@pytest.mark.specification(
    "Beyond the rows", "OTLP: the endpoint of all signals has the signal's path appended"
)
def test_one_endpoint_gets_every_signal() -> None:
    exporters = found(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318/")
    assert (("otlp",),) * 3 == (exporters.traces, exporters.metrics, exporters.logs)
    assert {
        "traces": Target(endpoint="http://collector:4318/v1/traces", protocol=HTTP),
        "metrics": Target(endpoint="http://collector:4318/v1/metrics", protocol=HTTP),
        "logs": Target(endpoint="http://collector:4318/v1/logs", protocol=HTTP),
    } == exporters.targets


def test_an_endpoint_in_code_gets_every_signal() -> None:
    """Code comes before variables, also before those of one signal."""
    exporters = found(
        {"telemetry": {"otlp_endpoint": "http://a:1"}},
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://b:2",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://c:3",
    )
    assert ["http://a:1/v1/traces", "http://a:1/v1/metrics", "http://a:1/v1/logs"] == [
        target.endpoint for target in exporters.targets.values()
    ]


@pytest.mark.specification("Beyond the rows", "OTLP: the endpoint of one signal is used as it is")
def test_an_endpoint_of_one_signal_is_used_as_it_is() -> None:
    exporters = found(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://a:1", OTEL_EXPORTER_OTLP_LOGS_ENDPOINT="http://b:2/custom"
    )
    assert "http://b:2/custom" == exporters.targets["logs"].endpoint
    assert "http://a:1/v1/traces" == exporters.targets["traces"].endpoint


def test_an_endpoint_of_one_signal_alone_leaves_the_others_out() -> None:
    exporters = found(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://b:2/v1/traces")
    assert (("otlp",), (), ()) == (exporters.traces, exporters.metrics, exporters.logs)


def test_the_query_of_an_endpoint_stays_behind_the_path() -> None:
    assert (
        "http://a:1/x/v1/traces?k=v"
        == found(OTEL_EXPORTER_OTLP_ENDPOINT="http://a:1/x?k=v").targets["traces"].endpoint
    )


@pytest.mark.parametrize(
    "endpoint",
    ["collector:4317", "http://collector:4317", "[::1]:4317", "dns:///collector:4317", "unix:/run/otel.sock"],
)
def test_grpc_takes_what_grpc_takes(endpoint: str) -> None:
    exporters = found(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert Target(endpoint=endpoint, protocol="grpc") == exporters.targets["traces"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "collector",
        "collector:4317",
        "ftp://collector",
        "http://",
        "http://[::1",
        "http://a:99999",
        "http://a b",
        "//a:1",
    ],
)
def test_what_is_no_url_is_one_line_and_no_endpoint(endpoint: str) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        loaded = read(**{name: endpoint})
        line = (
            f"{name}={endpoint!r}: expected an http:// or https:// URL with a host, e.g. "
            '"http://127.0.0.1:4318"; treated as not set'
        )
        assert ((line,), Exporters(has_lost_endpoint=True)) == (
            loaded.warnings,
            loaded.config.telemetry.exporters,
        )


def test_a_wrong_endpoint_of_one_signal_leaves_the_general_one() -> None:
    loaded = read(OTEL_EXPORTER_OTLP_ENDPOINT="http://a:1", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="b")
    assert ("http://a:1/v1/traces", 1) == (
        loaded.config.telemetry.exporters.targets["traces"].endpoint,
        len(loaded.warnings),
    )


@pytest.mark.specification("Beyond the rows", "OTLP: a protocol of one signal goes before that of all")
def test_a_signal_may_have_a_protocol_of_its_own() -> None:
    exporters = found(OTEL_EXPORTER_OTLP_ENDPOINT="http://a:4317", OTEL_EXPORTER_OTLP_METRICS_PROTOCOL="grpc")
    assert [HTTP, "grpc", HTTP] == [
        exporters.targets[signal].protocol for signal in ("traces", "metrics", "logs")
    ]


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_another_protocol_is_one_line(name: str) -> None:
    loaded = read(**{name: "http/xml", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"})
    line = (
        f'{name}=\'http/xml\': expected one of "http/protobuf", "http/json", "grpc"; using \'http/protobuf\''
    )
    assert ((line,), HTTP) == (loaded.warnings, loaded.config.telemetry.exporters.targets["traces"].protocol)


@pytest.mark.parametrize(
    ("named", "metrics", "prometheus"),
    [
        ("", ("otlp",), True),
        ("otlp", ("otlp",), False),
        ("prometheus", ("prometheus",), True),
        ("prometheus, OTLP,console", ("prometheus", "otlp", "console"), True),
        ("none", (), False),
        ("otlp_proto_grpc", ("otlp",), False),
    ],
)
def test_named_exporters_are_those_and_no_others(
    named: str, metrics: tuple[str, ...], prometheus: bool
) -> None:
    exporters = found(OTEL_METRICS_EXPORTER=named, OTEL_EXPORTER_OTLP_ENDPOINT="http://a:1")
    assert (metrics, prometheus) == (exporters.metrics, exporters.prometheus)
    assert ("otlp" in metrics) == ("metrics" in exporters.targets)


def test_otlp_that_is_named_without_an_endpoint_goes_to_the_standard_one() -> None:
    exporters = found(
        OTEL_TRACES_EXPORTER="otlp", OTEL_LOGS_EXPORTER="otlp", OTEL_EXPORTER_OTLP_LOGS_PROTOCOL="grpc"
    )
    assert {
        "traces": Target(endpoint="http://localhost:4318/v1/traces", protocol=HTTP),
        "logs": Target(endpoint="http://localhost:4317", protocol="grpc"),
    } == exporters.targets


def test_an_unknown_exporter_is_one_line_and_left_out() -> None:
    loaded = read(OTEL_TRACES_EXPORTER="datadog,console")
    assert (
        ("console",),
        (
            (
                "OTEL_TRACES_EXPORTER: no exporter 'datadog'; known are console, none, otlp, or install the "
                "package that has it; ignored"
            ),
        ),
    ) == (
        loaded.config.telemetry.exporters.traces,
        loaded.warnings,
    )


@pytest.mark.parametrize(
    ("environ", "protocol"),
    [
        ({"OTEL_TRACES_EXPORTER": "otlp_proto_grpc"}, "grpc"),
        ({"OTEL_TRACES_EXPORTER": "OTLP_proto_http", "OTEL_LOGS_EXPORTER": "otlp_proto_grpc"}, HTTP),
        ({"OTEL_TRACES_EXPORTER": "otlp_proto_grpc", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, HTTP),
        ({"OTEL_TRACES_EXPORTER": "otlp_proto_http", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, "grpc"),
    ],
)
def test_the_name_of_an_exporter_says_its_protocol_unless_a_variable_does(
    environ: dict[str, str], protocol: str
) -> None:
    assert protocol == found(None, **environ).targets["traces"].protocol


def test_without_grpc_s_packages_what_is_to_go_by_it_goes_nowhere_and_one_line_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bext_otel.config.exporters.find_spec", lambda name: None if name == "grpc" else name)
    loaded = read(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://a:4317",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=HTTP,
        OTEL_TRACES_EXPORTER="otlp,console",
    )
    exporters = loaded.config.telemetry.exporters
    assert (("console",), (), ("otlp",)) == (exporters.traces, exporters.metrics, exporters.logs)
    assert ["logs"] == list(exporters.targets)
    (line,) = loaded.warnings
    assert "traces, metrics go nowhere: pip install 'bext-otel[grpc]'" in line
