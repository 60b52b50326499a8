"""The endpoints on the application's own port: by a setting, and by code."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.e2e.launching import SOON, Launched, launched, samples
from tests.e2e.otlp import Receiver, receiving
from tests.waiting import until

pytestmark = pytest.mark.e2e

TOKEN = {"authorization": "Bearer s3cret"}
SERVERS = {
    "starlette": ("uvicorn --port {port} starlette_app:app", "/items/{item}"),
    "fastapi": ("uvicorn --port {port} fastapi_app:app", "/items/{item}"),
    "flask": ("gunicorn -b 127.0.0.1:{port} flask_app:app", "/items/<item>"),
    "django": ("gunicorn -b 127.0.0.1:{port} django_app:application", "/items/<item>"),
    "django-asgi": ("uvicorn --port {port} --lifespan off django_app:asgi", "/items/<item>"),
}


@pytest.fixture(scope="module", params=SERVERS.values(), ids=SERVERS)
def mounted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Launched, Receiver, str]]:
    command, route = request.param
    with receiving() as received:
        env = {
            **SOON,
            "BEXT_METRICS_MOUNT": "true",
            "BEXT_TELEMETRY_TOKEN": "s3cret",
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
        }
        with launched(
            tmp_path_factory.mktemp("mounted"), command, env={**env, "OTEL_SERVICE_NAME": "shop"}
        ) as program:
            yield program, received, route


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_applications_port_answers_metrics(mounted: tuple[Launched, Receiver, str]) -> None:
    program, _, route = mounted
    program.get("/items/1")
    page = program.get("/metrics")
    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (
        page.status_code,
        page.headers["content-type"],
    )
    assert (
        samples(page.text)[f'bext_requests_total{{app="shop",method="GET",status="200",route="{route}"}}']
        >= 1
    )
    assert program.get("/metrics?format=json").json()["apps"]["shop"]["requests"]["total"] >= 1
    assert program.get("/__bext/metrics").status_code == 200
    assert program.get("/metrics?format=yaml").status_code == 400
    assert "gzip" == program.get("/metrics", headers={"accept-encoding": "gzip"}).headers["content-encoding"]
    head = httpx.head(f"{program.url}/metrics", trust_env=False)
    assert (200, b"", True) == (head.status_code, head.content, int(head.headers["content-length"]) > 0)
    assert 405 == httpx.post(f"{program.url}/metrics", trust_env=False).status_code


@pytest.mark.parametrize("mount", [True, False], ids=["mounted", "stand-alone"])
def test_health_answers_where_the_standard_variable_leaves_prometheus_out(
    tmp_path: Path, mount: bool
) -> None:
    env = {"OTEL_METRICS_EXPORTER": "none", "BEXT_METRICS_MOUNT": str(mount).lower()}
    with launched(tmp_path, "uvicorn --port {port} starlette_app:app", env=env) as program:
        ask = program.get if mount else program.endpoint
        assert [200, 200, 200] == [
            ask(path).status_code for path in ("/health", "/health/live", "/health/ready")
        ]
        metrics = ask("/metrics")
        assert 404 == metrics.status_code
        assert "OTEL_METRICS_EXPORTER" in metrics.text


def test_details_of_health_want_the_token(mounted: tuple[Launched, Receiver, str]) -> None:
    """Whoever asks may have come through a proxy on this machine, so that 127.0.0.1 says nothing."""
    program, _, _ = mounted
    for path in ("/health", "/health/ready", "/health/live", "/__bext/health"):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "s3cret"}):
            assert {"status": "healthy"} == program.get(path, headers=headers).json()
        assert {"status", "checks", "apps", "version", "uptime_secs"} == program.get(
            path, headers=TOKEN
        ).json().keys()
    assert {"disk", "telemetry"} <= program.get("/health", headers=TOKEN).json()["checks"].keys()


def test_no_other_port_is_open(mounted: tuple[Launched, Receiver, str]) -> None:
    program, received, _ = mounted
    program.get("/items/open")
    received.span(kind="server", url_path="/items/open")
    assert not is_open(program.endpoints_port)
    assert program.holder() is None


def test_asking_the_endpoints_is_neither_traced_nor_counted_nor_logged(
    mounted: tuple[Launched, Receiver, str],
) -> None:
    program, received, _ = mounted
    before = samples(program.get("/metrics").text)
    for path in (
        "/metrics",
        "/metrics?format=json",
        "/health",
        "/health/live",
        "/health/ready",
        "/__bext/metrics",
    ):
        program.get(path)
    after = samples(program.get("/metrics").text)
    counted = {name: value for name, value in after.items() if name.startswith("bext_requests_total")}
    assert {name: before[name] for name in counted} == counted
    program.get("/items/last")
    received.span(kind="server", url_path="/items/last")
    assert not [
        span
        for span in received.spans(kind="server")
        if not span.attributes["url.path"].startswith("/items/")
    ]
    assert not [
        line for line in program.lines(message="request completed") if not line["path"].startswith("/items/")
    ]


def test_health_answers_there_when_telemetry_is_disabled(tmp_path: Path) -> None:
    env = {"BEXT_METRICS_MOUNT": "true", "OTEL_SDK_DISABLED": "true"}
    with ExitStack() as stack:
        for name in ("starlette", "flask"):
            program = stack.enter_context(launched(tmp_path / name, SERVERS[name][0], env=env))
            assert {"status": "healthy"} == program.get("/health/ready").json()
            assert 404 == program.get("/metrics").status_code
            assert 200 == program.get("/items/1").status_code
            assert not is_open(program.endpoints_port)


IN_CODE = {
    "asgi": (
        "uvicorn --port {port} configured_asgi:app",
        'app="till",method="GET",status="200",route="/items/{item}"',
    ),
    "flask": (
        "gunicorn -b 127.0.0.1:{port} configured_flask:app",
        'app="shop",method="GET",status="200",route="/items/<item>"',
    ),
    "wsgi": (
        "gunicorn -b 127.0.0.1:{port} configured_wsgi:app",
        'app="shop",method="GET",status="200",route="unmatched"',
    ),
}


@pytest.fixture(scope="module", params=IN_CODE.values(), ids=IN_CODE)
def configured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Launched, Receiver, str]]:
    command, labels = request.param
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "BEXT_TELEMETRY_TOKEN": "s3cret"}
        with launched(tmp_path_factory.mktemp("configured"), command, env=env, instrument=False) as program:
            yield program, received, labels


def test_telemetry_set_up_in_code_tells_everything(configured: tuple[Launched, Receiver, str]) -> None:
    program, received, labels = configured
    assert 200 == program.get("/items/code").status_code
    span = received.span(kind="server", url_path="/items/code")
    assert ("shop", "bext-otel") == (span.resource["service.name"], span.resource["telemetry.distro.name"])
    assert span.trace_id == program.completion("/items/code")["trace_id"]
    assert samples(program.get("/ops/metrics").text)[f"bext_requests_total{{{labels}}}"] >= 1
    assert until(lambda: received.metrics("bext_requests_total"))


def test_endpoints_mounted_in_code_answer_below_their_prefix(
    configured: tuple[Launched, Receiver, str],
) -> None:
    program, _, _ = configured
    until(lambda: program.get("/ops/health").json() == {"status": "healthy"})
    assert "disk" in program.get("/ops/health", headers=TOKEN).json()["checks"]
    assert 200 == program.get("/ops/health/live").status_code
    assert "apps" in program.get("/ops/metrics?format=json").json()
    assert 404 == program.get("/ops/nothing").status_code


def test_the_stand_alone_endpoints_are_there_too(configured: tuple[Launched, Receiver, str]) -> None:
    program, _, labels = configured
    program.get("/items/1")
    assert program.metrics()[f"bext_requests_total{{{labels}}}"] >= 1
    assert 200 == program.endpoint("/health/ready").status_code
