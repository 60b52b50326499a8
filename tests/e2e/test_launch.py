"""Plain applications under `opentelemetry-instrument`, on the servers that people use: all that is promised,
without a line of code."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.launching import SOON, Launched, launched, samples
from tests.e2e.otlp import Receiver, receiving, receiving_grpc
from tests.waiting import until

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Launch:
    """How an application is started, and the templates of its routes."""

    command: str
    route: str
    below_a_mount: str
    workers: int = 1


_BRACES = ("/items/{item}", "/shop/items/{item}")
_ANGLES = ("/items/<item>", "/shop/items/<item>")

LAUNCHES = {
    "starlette-uvicorn": Launch("uvicorn --port {port} starlette_app:app", *_BRACES),
    "starlette-uvicorn-workers": Launch(
        "uvicorn --port {port} --workers 2 starlette_app:app", *_BRACES, workers=2
    ),
    "starlette-gunicorn": Launch(
        "gunicorn -w 2 -k asgi -b 127.0.0.1:{port} starlette_app:app", *_BRACES, workers=2
    ),
    "fastapi-uvicorn": Launch("uvicorn --port {port} fastapi_app:app", *_BRACES),
    "flask-run": Launch("flask --app flask_app run --port {port}", *_ANGLES),
    "flask-gunicorn": Launch("gunicorn -w 3 -b 127.0.0.1:{port} flask_app:app", *_ANGLES, workers=3),
    "flask-script": Launch("python -m flask_app {port}", *_ANGLES),
    "django-gunicorn": Launch(
        "gunicorn -w 3 -b 127.0.0.1:{port} django_app:application", *_ANGLES, workers=3
    ),
    "django-uvicorn": Launch("uvicorn --port {port} --lifespan off django_app:asgi", *_ANGLES),
}


@dataclass(frozen=True)
class Running:
    """A launch that runs, and where its telemetry arrives."""

    launch: Launch
    program: Launched
    received: Receiver

    def shown(self, series: str, *, asking: str) -> float:
        """The value of a series on /metrics, asking the application for `asking` until the worker that shows
        it has answered once."""

        def ask() -> float | None:
            self.program.get(asking)
            return self.program.metrics().get(series)

        return until(ask, why=f"{series} in:\n{self.program.endpoint('/metrics').text}")


@pytest.fixture(scope="module", params=LAUNCHES.values(), ids=LAUNCHES)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    launch = request.param
    with receiving() as received:
        env = {**SOON, "OTEL_SERVICE_NAME": "shop", "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        with launched(tmp_path_factory.mktemp("launch"), launch.command, env=env) as program:
            yield Running(launch, program, received)


def test_a_request_is_one_server_span_over_otlp(running: Running) -> None:
    assert 200 == running.program.get("/items/tea?token=secret").status_code
    span = running.received.span(kind="server", url_path="/items/tea")
    assert (f"GET {running.launch.route}", "unset", "") == (span.name, span.status, span.parent_id)
    expected = {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": running.launch.route,
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "client.address": "127.0.0.1",
        "bext.app": "shop",
    }
    assert expected.items() <= span.attributes.items()
    assert "secret" not in str(span.attributes)


def test_the_span_says_who_speaks(running: Running) -> None:
    running.program.get("/items/who")
    resource = running.received.span(kind="server", url_path="/items/who").resource
    assert {
        "service.name": "shop",
        "telemetry.distro.name": "bext-otel",
        "bext.engine": "bext",
    }.items() <= resource.items()
    assert {
        "service.instance.id",
        "telemetry.distro.version",
        "process.pid",
        "process.runtime.name",
        "host.name",
    } <= resource.keys()
    assert resource["process.pid"] in {process.pid for process in running.program.processes()}


def test_lines_of_a_request_carry_the_spans_trace_id(running: Running) -> None:
    running.program.get("/items/lines")
    span = running.received.span(kind="server", url_path="/items/lines")
    completion = running.program.completion("/items/lines")
    assert {
        "level": "info",
        "app": "shop",
        "method": "GET",
        "status": 200,
        "target": "bext.request",
    }.items() <= completion.items()
    assert (span.trace_id, span.span_id) == (completion["trace_id"], completion["span_id"])
    (own,) = running.program.lines(message="item read", item="lines")
    assert ("warn", "shop", span.trace_id) == (own["level"], own["target"], own["trace_id"])
    exported = until(
        lambda: [line for line in running.received.lines("item read") if line.attributes["item"] == "lines"]
    )
    assert [span.trace_id] == [line.trace_id for line in exported]


def test_requests_are_counted_by_route_template(running: Running) -> None:
    for path, route in (("/items/1", running.launch.route), ("/shop/items/1", running.launch.below_a_mount)):
        labels = f'app="shop",method="GET",status="200",route="{route}"'
        assert running.shown(f"bext_requests_total{{{labels}}}", asking=path) >= 1
    page = running.program.endpoint("/metrics")
    assert "text/plain; version=0.0.4; charset=utf-8" == page.headers["content-type"]
    shown = samples(page.text)
    route = running.launch.route
    assert shown[f'bext_request_duration_ms_count{{app="shop",route="{route}"}}'] >= 1
    assert shown[f'bext_request_duration_ms{{app="shop",route="{route}",quantile="0.99"}}'] > 0
    assert shown['bext_request_size_bytes_sum{app="shop",direction="response"}'] > 0
    assert not [name for name in shown if "/items/1" in name], "a path is never a label"


def test_what_no_route_matches_is_counted_as_one(running: Running) -> None:
    labels = 'app="shop",method="GET",status="404",route="unmatched"'
    assert running.shown(f"bext_requests_total{{{labels}}}", asking="/nowhere/at/all") >= 1
    running.program.get("/nowhere/once")
    span = running.received.span(kind="server", url_path="/nowhere/once")
    assert ("GET", 404, "unset") == (span.name, span.attributes["http.response.status_code"], span.status)


def test_an_unhandled_exception_is_an_error_with_its_type(running: Running) -> None:
    assert 500 == running.program.get("/fail?once").status_code
    span = running.received.span(kind="server", url_query="once")
    assert ("error", "RuntimeError", 500) == (
        span.status,
        span.attributes["error.type"],
        span.attributes["http.response.status_code"],
    )
    line = running.program.completion("/fail")
    assert ("error", 500) == (line["level"], line["status"])
    assert (
        running.shown(
            'bext_requests_total{app="shop",method="GET",status="500",route="/fail"}', asking="/fail"
        )
        >= 1
    )


def test_metrics_answer_as_json(running: Running) -> None:
    running.shown(
        f'bext_request_duration_ms_count{{app="shop",route="{running.launch.route}"}}', asking="/items/json"
    )
    document = running.program.endpoint("/metrics?format=json").json()
    assert {"timestamp", "uptime_secs", "apps", "plugins", "system", "telemetry"} == document.keys()
    assert document["apps"]["shop"]["requests"]["total"] >= 1
    unknown = running.program.endpoint("/metrics?format=yaml")
    assert (400, True) == (
        unknown.status_code,
        all(known in unknown.text for known in ("json", "openmetrics", "prometheus")),
    )


def test_health_answers(running: Running) -> None:
    full = running.program.endpoint("/health")
    assert (200, "healthy", {"disk", "telemetry"}) == (
        full.status_code,
        full.json()["status"],
        set(full.json()["checks"]) - {"event_loop"},  # where there is one
    )
    for path in ("/health/live", "/health/ready"):
        answer = running.program.endpoint(path)
        assert (200, "healthy") == (answer.status_code, answer.json()["status"])


def test_metrics_go_out_over_otlp_under_the_same_names(running: Running) -> None:
    running.program.get("/items/otlp")
    requests = until(lambda: running.received.metrics("bext_requests_total"))[-1]
    assert (True, "") == (requests.sum.is_monotonic, requests.unit)
    assert running.received.metrics("bext_request_duration_ms")[-1].HasField("exponential_histogram")
    assert running.received.metrics("http.server.request.duration")[-1].HasField("histogram")


def test_telemetry_goes_out_over_grpc(tmp_path: Path) -> None:
    with receiving_grpc() as received:
        env = {
            **SOON,
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        }
        with launched(tmp_path, "uvicorn --port {port} starlette_app:app", env=env) as program:
            program.get("/items/tea")
            span = received.span(kind="server", url_path="/items/tea")
            line = until(
                lambda: [one for one in received.lines("item read") if one.attributes["item"] == "tea"]
            )[0]
            assert span.trace_id == line.trace_id
            assert until(lambda: received.metrics("bext_requests_total"))


def test_a_script_logs_json_where_it_is_asked_to_and_keeps_its_exit_code(tmp_path: Path) -> None:
    with launched(tmp_path, "python -m script", env={"BEXT_LOGGING_OUTPUT": "stdout"}) as program:
        assert 3 == program.wait()
        (line,) = program.lines(message="job begins")
        assert {"level": "warn", "target": "job", "step": 1}.items() <= line.items()
        assert "plain output" in program.output().splitlines()
        assert {"plain output"} == {one for one in program.output().splitlines() if not one.startswith("{")}


def test_what_a_script_did_last_is_delivered_before_it_ends(tmp_path: Path) -> None:
    """With upstream's own delays: five seconds for spans, a minute for metrics."""
    with receiving() as received:
        with launched(
            tmp_path / "server", "uvicorn --port {port} starlette_app:app", instrument=False
        ) as server:
            env = {"OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "DOWNSTREAM": f"{server.url}/headers"}
            with launched(tmp_path / "script", "python -m script", env=env) as program:
                assert 3 == program.wait(), program.output()
        assert ["job begins"] == [line.body for line in received.lines("job begins")]
        assert "200" in program.output().splitlines()
        assert 200 == received.span(kind="client").attributes["http.response.status_code"]


@pytest.mark.parametrize(
    "name",
    ["starlette-uvicorn", "starlette-uvicorn-workers", "starlette-gunicorn", "flask-gunicorn", "flask-run"],
)
def test_what_a_server_did_last_is_delivered_when_it_is_terminated(tmp_path: Path, name: str) -> None:
    """With upstream's own delays: five seconds for spans, a minute for metrics. SIGTERM is how containers are
    stopped."""
    with receiving() as received:
        with launched(
            tmp_path, LAUNCHES[name].command, env={"OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        ) as program:
            for position in range(10):
                program.get(f"/items/last{position}")
            assert program.end() in {0, -15}
            assert "Traceback" not in program.output()
        paths = {f"/items/last{position}" for position in range(10)}
        assert paths <= {span.attributes["url.path"] for span in received.spans(kind="server")}
        assert 10 <= len(received.lines("item read"))
        assert received.metrics("bext_requests_total")


def test_a_terminated_server_whose_collector_hangs_ends_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{black_hole.getsockname()[1]}"}
        with launched(tmp_path, "uvicorn --port {port} starlette_app:app", env=env) as program:
            program.get("/items/1")
            assert -15 == program.end()
