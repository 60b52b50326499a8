"""The demo platform before a real Jaeger, a real Prometheus and a real collector."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from bext_otel.endpoints.formats import text
from bext_otel.metrics.snapshot import Family, Point, Series, Snapshot
from tests.e2e import backends
from tests.e2e.backends import (
    CONFIG,
    ROOT,
    Collector,
    Jaeger,
    Prometheus,
    families,
    fetch,
    free_port,
    program,
    running,
    tags,
)
from tests.waiting import until

pytestmark = [pytest.mark.backends, pytest.mark.e2e]

REQUEST_METRICS = ("bext_requests_total", "bext_request_duration_ms", "bext_request_size_bytes")
# Rendered anew each time, from what the API answers: two server spans in one trace.
PAGE = "/search?q=tea"


# --- The demo platform --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Demo:
    """A running demo platform: its pages, and its stand-alone endpoints."""

    url: str
    endpoints: str

    def get(self, path: str) -> str:
        """A request as the continuation of a new, sampled trace; its trace id."""
        trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
        status, body = fetch(self.url + path, headers={"traceparent": f"00-{trace_id}-{span_id}-01"})
        assert status == 200, f"{path}: {status} {body[:300]!r}"
        return trace_id

    def metrics(self) -> str:
        """What /metrics shows."""
        status, body = fetch(f"http://{self.endpoints}/metrics")
        assert status == 200
        return body.decode()


@contextmanager
def demo(folder: Path, otlp: dict[str, str]) -> Iterator[Demo]:
    """The demo platform as the README starts it, on free ports; `otlp` says where its telemetry goes."""
    port, endpoints = free_port(), free_port()
    argv = [str(Path(sys.executable).with_name(name)) for name in ("opentelemetry-instrument", "uvicorn")]
    argv += ["--app-dir", str(ROOT / "examples"), "--port", str(port), "bext_demo.asgi:app"]
    env = {
        "BEXT_CONFIG": str(ROOT / "examples" / "bext.config.toml"),
        "OTEL_SERVICE_NAME": "bext-demo",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(endpoints),
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        **otlp,
    }
    # Ready when the endpoints answer: they start after the application.
    with running(
        argv, ready=f"http://127.0.0.1:{endpoints}/health/live", log=folder / "demo.log", env=env, cwd=folder
    ):
        url = f"http://127.0.0.1:{port}"
        until(lambda: fetch(url)[0], why="the demo answers")
        yield Demo(url, f"127.0.0.1:{endpoints}")


# --- What runs, once for all tests here ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with backends.jaeger(tmp_path_factory.mktemp("jaeger")) as running_jaeger:
        yield running_jaeger


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file to which the collector writes every span that it got, as OTLP JSON."""
    return tmp_path_factory.mktemp("witness") / "spans.json"


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory, jaeger: Jaeger, witness: Path) -> Iterator[Collector]:
    """The shipped collector.yaml; what is added is a witness."""
    overlay = {
        "exporters": {"file/witness": {"path": str(witness), "flush_interval": "100ms"}},
        "service": {
            "pipelines": {"traces": {"exporters": ["otlp_grpc/jaeger", "span_metrics", "file/witness"]}}
        },
    }
    with backends.collector(
        tmp_path_factory.mktemp("collector"),
        "collector",
        env={"JAEGER_ENDPOINT": jaeger.grpc},
        overlay=overlay,
    ) as running_collector:
        yield running_collector


@pytest.fixture(scope="module")
def demo_to_jaeger(tmp_path_factory: pytest.TempPathFactory, jaeger: Jaeger) -> Iterator[Demo]:
    """Traces straight to Jaeger, which takes nothing else; metrics by /metrics alone."""
    otlp = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.http,
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_LOGS_EXPORTER": "none",
    }
    with demo(tmp_path_factory.mktemp("demo-to-jaeger"), otlp) as running_demo:
        yield running_demo


@pytest.fixture(scope="module")
def demo_to_collector(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Demo]:
    """Everything to the collector, by the endpoint alone."""
    with demo(
        tmp_path_factory.mktemp("demo-to-collector"), {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http}
    ) as running_demo:
        yield running_demo


@pytest.fixture(scope="module")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory, demo_to_collector: Demo, collector: Collector
) -> Iterator[Prometheus]:
    """The shipped prometheus.yml, with our targets in place of the compose file's; one job more reads the
    collector unfiltered."""
    targets = {
        "demo:9464": demo_to_collector.endpoints,
        "collector:8889": collector.metrics,
        "collector:8888": collector.telemetry,
    }
    config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
    config["global"]["scrape_interval"] = "1s"
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] != "jaeger"]
    for job in config["scrape_configs"]:
        job["static_configs"] = [
            {"targets": [targets[target] for target in job["static_configs"][0]["targets"]]}
        ]
    unfiltered = {"targets": [collector.metrics], "labels": {"path": "unfiltered"}}
    config["scrape_configs"].append(
        {"job_name": "unfiltered", "honor_labels": True, "static_configs": [unfiltered]}
    )
    with backends.prometheus(tmp_path_factory.mktemp("prometheus"), config) as running_prometheus:
        yield running_prometheus


# --- Traces -------------------------------------------------------------------------------------------------


def parents(spans: list[dict[str, Any]]) -> dict[str, str]:
    """Span id -> the id of its parent."""
    return {
        span["spanID"]: reference["spanID"]
        for span in spans
        for reference in span["references"]
        if reference["refType"] == "CHILD_OF"
    }


def with_server_span(jaeger: Jaeger, trace_id: str) -> list[dict[str, Any]]:
    """The trace's spans, as soon as the visitor's server span is among them: it ends last, so the others are
    there too."""

    def answered() -> list[dict[str, Any]]:
        spans = jaeger.spans(trace_id)
        return spans if "GET /search" in {span["operationName"] for span in spans} else []

    return until(answered, why=f"Jaeger knows the server span of {trace_id}")


def test_jaeger_finds_a_request_by_its_trace_id(demo_to_jaeger: Demo, jaeger: Jaeger) -> None:
    """One server span that continues our own; below it, connected, the call of the API, its database and the
    render."""
    trace_id = demo_to_jaeger.get(PAGE)
    spans = with_server_span(jaeger, trace_id)
    servers = {span["operationName"] for span in spans if tags(span).get("span.kind") == "server"}
    assert {"GET /search", "GET /api/search"} == servers
    assert {"GET", "SELECT", "bext.render"} <= {span["operationName"] for span in spans}
    known, parent_of = {span["spanID"] for span in spans}, parents(spans)
    roots = [span["operationName"] for span in spans if parent_of.get(span["spanID"]) not in known]
    assert ["GET /search"] == roots


def witnessed(file: Path, trace_id: str) -> set[str]:
    """Ids of the trace's spans that the collector got."""
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    spans = [
        span
        for line in lines
        for resource in line["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    return {span["spanId"] for span in spans if span["traceId"] == trace_id}


def test_jaeger_holds_every_span_that_the_collector_got(
    demo_to_collector: Demo, jaeger: Jaeger, witness: Path
) -> None:
    trace_id = demo_to_collector.get(PAGE)
    with_server_span(jaeger, trace_id)
    seen = until(lambda: witnessed(witness, trace_id), why="the collector's file holds the trace")
    assert len(seen) > 2
    assert seen == until(
        lambda: jaeger.span_ids(trace_id) >= witnessed(witness, trace_id) and jaeger.span_ids(trace_id),
        why="the same spans",
    )


# --- Metrics ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", REQUEST_METRICS)
def test_prometheus_answers_for_each_request_metric(
    metric: str, demo_to_collector: Demo, prometheus: Prometheus
) -> None:
    demo_to_collector.get(PAGE)
    # A summary without quantiles in its window is no answer: ask for a number.
    result = until(lambda: prometheus.query(f'{metric}{{job="bext"}} > 0'), why=f"Prometheus has {metric}")
    labels = set(result[0]["metric"])
    assert labels >= {"bext_requests_total": {"app", "method", "status", "route"}, "bext_request_duration_ms": {"app", "route", "quantile"},
                      "bext_request_size_bytes": {"app", "direction", "quantile"}}[metric]  # fmt: skip


def test_every_target_of_the_shipped_file_is_up(prometheus: Prometheus) -> None:
    until(lambda: set(prometheus.targets().values()) == {"up"}, why="all targets up")


def bext_families(text: str) -> set[str]:
    return {name for name in families(text) if name.startswith("bext_")}


def test_the_collector_shows_the_names_of_the_service(demo_to_collector: Demo, collector: Collector) -> None:
    """Nothing on the way of OTLP appends a unit or a suffix."""
    demo_to_collector.get(PAGE)
    until(
        lambda: set(REQUEST_METRICS) <= set(collector.families()),
        why="the request metrics came through",
    )
    until(
        lambda: (
            bext_families(demo_to_collector.metrics())
            == {name for name in collector.families() if name.startswith("bext_")}
        ),
        why="both show the same names",
    )


def test_quantiles_of_exponential_histograms_come_through_the_collector(
    tmp_path: Path, demo_to_collector: Demo, collector: Collector
) -> None:
    """What is a summary on /metrics is a native histogram here, which may be added over instances."""
    demo_to_collector.get(PAGE)
    job = {
        "job_name": "collector",
        "honor_labels": True,
        "static_configs": [{"targets": [collector.metrics]}],
    }
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    expression = "histogram_quantile(0.5, sum(bext_request_duration_ms)) > 0"
    with backends.prometheus(tmp_path, config, native=True) as native:
        assert until(lambda: native.query(expression), why="a native histogram with observations")


def test_nothing_is_counted_twice(demo_to_collector: Demo, prometheus: Prometheus) -> None:
    """The service is scraped and also pushes: the shipped file keeps one of both."""
    demo_to_collector.get(PAGE)
    pushed = 'bext_requests_total{path="unfiltered"}'
    until(lambda: prometheus.query(pushed), why="the collector shows what the service pushed")
    until(lambda: prometheus.query('bext_requests_total{path=""}'), why="the service is scraped")
    shipped = prometheus.query('{__name__=~"bext_.+|http_server_request_.+", path=""}')
    assert {"bext"} == {series["metric"]["job"] for series in shipped}


def send_gauges(collector: Collector, service: str, *names: str) -> None:
    """Posts a gauge of each name to the collector, from whoever says that it is this service."""
    point = {"timeUnixNano": str(time.time_ns()), "asDouble": 1.0}
    resource = {
        "attributes": [
            {"key": key, "value": {"stringValue": service}} for key in ("service.name", "service.instance.id")
        ]
    }
    metrics = [{"name": name, "gauge": {"dataPoints": [point]}} for name in names]
    body = {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": metrics}]}]}
    request = urllib.request.Request(
        f"{collector.http}/v1/metrics",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert 200 == answer.status


def test_who_sends_passes_for_nobody_else(collector: Collector, prometheus: Prometheus) -> None:
    """Neither by the job that it names, nor by metrics that alerts go by."""
    forged = ("otelcol_exporter_queue_size", "up")
    for job in ("bext", "collector"):
        mark = f"sent_by_{job}"
        send_gauges(collector, job, mark, *forged)
        for path in ("", "unfiltered"):
            kept = partial(prometheus.query, f'{mark}{{path="{path}"}}')
            (series,) = until(kept, why="what was sent is there")
            # The job of this test that honours labels shows what it would be taken for.
            own = {"job": job} if path else {"job": "otlp", "exported_job": job}
            assert own.items() <= series["metric"].items()
            names = prometheus.query(f'{{__name__=~"{"|".join(forged)}", instance="{job}", path="{path}"}}')
            assert (set(forged) if path else set()) == {each["metric"]["__name__"] for each in names}
    assert [] == prometheus.query(f'{{__name__=~"{"|".join(forged)}", exported_job!=""}}')


@pytest.mark.parametrize(
    "path", sorted((CONFIG / "grafana" / "dashboards").glob("*.json")), ids=lambda path: path.stem
)
def test_every_panel_of_the_dashboards_draws_something(
    path: Path, demo_to_collector: Demo, prometheus: Prometheus
) -> None:
    for page in (PAGE, "/", "/"):
        demo_to_collector.get(page)
    panels = json.loads(path.read_text())["panels"]
    for expression in [target["expr"] for panel in panels for target in panel["targets"]]:
        asked = expression.replace("$__rate_interval", "30s").replace("$app", ".*")
        until(partial(prometheus.query, asked), why=asked)


ABBREVIATED = "metric names should not contain abbreviated units"
FORCED_BY_THE_SPECIFICATION = {
    f"bext_cache_duration_us {ABBREVIATED}",
    f"bext_compression_duration_us {ABBREVIATED}",
    f"bext_deploy_duration_ms {ABBREVIATED}",
    f"bext_flow_step_duration_ms {ABBREVIATED}",
    f"bext_health_check_duration_ms {ABBREVIATED}",  # named like its others
    f"bext_isolate_render_duration_ms {ABBREVIATED}",
    f"bext_plugin_duration_us {ABBREVIATED}",
    f"bext_request_duration_ms {ABBREVIATED}",
    'bext_isolate_count non-histogram and non-summary metrics should not have "_count" suffix',
    'bext_plugin_fuel_consumed counter metrics should have "_total" suffix',
}
"""What `promtool check metrics` finds fault with in names that the specification gives."""


def test_promtool_finds_no_fault_but_those_of_the_specifications_names(demo_to_collector: Demo) -> None:
    for page in (PAGE, "/", "/api/products", "/dashboard/"):
        demo_to_collector.get(page)
    text = demo_to_collector.metrics()
    found = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert found.returncode in (0, 3), f"not even parsed: {found.stderr}"
    # Other libraries' metrics have names of their own.
    assert (
        set()
        == {line for line in found.stderr.splitlines() if line.startswith("bext_")}
        - FORCED_BY_THE_SPECIFICATION
    )
    assert f"bext_request_duration_ms {ABBREVIATED}" in found.stderr, "promtool looked at our metrics"


@pytest.mark.parametrize("description", ["", 'Jobs "done" by the \\ queue.'])
def test_promtool_finds_no_fault_with_another_librarys_metric(description: str) -> None:
    jobs = Family("queue_jobs_total", "counter", description, "", [Point(Series(()), 1)])
    page = text.render(Snapshot(time_unix=0.0, started_unix=0.0, uptime_seconds=0.0, families=(jobs,)))
    found = subprocess.run(
        [program("promtool"), "check", "metrics"], input=page, capture_output=True, check=False, timeout=30
    )
    assert (0, b"") == (found.returncode, found.stderr)
