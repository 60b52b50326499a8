"""Calls to other services, and what the standard switches leave of telemetry."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.e2e.launching import SOON, Launched, launched, samples
from tests.e2e.otlp import Receiver, Span, receiving
from tests.waiting import until

pytestmark = pytest.mark.e2e

UVICORN = "uvicorn --port {port} starlette_app:app"
GUNICORN = "gunicorn -b 127.0.0.1:{port} flask_app:app"


@dataclass(frozen=True)
class Downstream:
    """A service that tells what it was sent."""

    program: Launched
    received: Receiver


@pytest.fixture(scope="module")
def downstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Downstream]:
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "OTEL_SERVICE_NAME": "downstream"}
        with launched(tmp_path_factory.mktemp("downstream"), GUNICORN, env=env) as program:
            yield Downstream(program, received)


CALLERS = {
    "starlette-httpx": UVICORN,
    "fastapi-httpx": "uvicorn --port {port} fastapi_app:app",
    "flask-requests": GUNICORN,
    "django-requests": "gunicorn -b 127.0.0.1:{port} django_app:application",
}


def outermost(received: Receiver, span: Span) -> Span:
    """The outermost span within the server's around `span`: FastAPI's own telemetry has some."""
    around = received.spans(kind="internal", span_id=span.parent_id)
    return outermost(received, around[0]) if around else span


@pytest.mark.parametrize("command", CALLERS.values(), ids=CALLERS)
def test_a_call_to_another_service_is_one_trace_and_names_the_app(
    tmp_path: Path, downstream: Downstream, command: str
) -> None:
    received = downstream.received
    env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "OTEL_SERVICE_NAME": "front"}
    (tmp_path / "bext.config.toml").write_text('[apps.shop]\npaths = ["/relay"]\n')
    with launched(
        tmp_path, command, env={**env, "DOWNSTREAM": f"{downstream.program.url}/headers"}
    ) as program:
        trace_id, parent_id = secrets.token_hex(16), secrets.token_hex(8)
        given = {"traceparent": f"00-{trace_id}-{parent_id}-01", "baggage": "bext.app=evil,tenant=blue"}
        sent = dict(program.get("/relay", headers=given).json())
        server = received.span(kind="server", parent_id=parent_id)
        client = received.span(kind="client", trace_id=trace_id)
        assert server.span_id == outermost(received, client).parent_id
        behind = received.span(kind="server", parent_id=client.span_id)
        assert {trace_id} == {span.trace_id for span in (server, client, behind)}
        assert ("front", "downstream") == (client.resource["service.name"], behind.resource["service.name"])
        assert f"00-{client.trace_id}-{client.span_id}-01" == sent["traceparent"]
        assert {"bext.app=shop", "tenant=blue"} == set(sent["baggage"].split(","))
        assert ("shop", "downstream") == (server.attributes["bext.app"], behind.attributes["bext.app"]), (
            "baggage is no label"
        )
        # The stable conventions, as on our own spans.
        assert {
            "http.request.method": "GET",
            "http.response.status_code": 200,
        }.items() <= client.attributes.items()
        assert client.trace_id == program.completion("/relay")["trace_id"]
        assert not [name for name in program.metrics() if "evil" in name]


def test_no_telemetry_leaves_the_application_and_health(tmp_path: Path, downstream: Downstream) -> None:
    with receiving() as received:
        env = {**SOON, "OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        with launched(
            tmp_path, UVICORN, env={**env, "DOWNSTREAM": f"{downstream.program.url}/headers"}
        ) as program:
            assert 200 == program.get("/items/1").status_code
            assert "traceparent" not in dict(program.get("/relay").json())
            for path in ("/health", "/health/live", "/health/ready"):
                assert (200, "healthy") == (
                    (answer := program.endpoint(path)).status_code,
                    answer.json()["status"],
                )
            metrics = program.endpoint("/metrics")
            assert (404, True) == (metrics.status_code, "OTEL_SDK_DISABLED" in metrics.text)
            assert [] == program.lines()
            assert "item read" in program.output(), "the application logs as it did"
            assert program.end() in {0, -15}
        assert ([], 0) == (received.messages, received.refused)


def test_metrics_that_nobody_wants_leave_spans_and_lines(tmp_path: Path) -> None:
    with receiving() as received:
        env = {**SOON, "OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        with launched(tmp_path, UVICORN, env=env) as program:
            assert 200 == program.get("/items/none").status_code
            span = received.span(kind="server", url_path="/items/none")
            assert span.trace_id == program.completion("/items/none")["trace_id"]
            assert until(lambda: received.lines("item read"))
            assert [] == received.metrics("bext_requests_total")
            assert (404, 200) == (
                program.endpoint("/metrics").status_code,
                program.endpoint("/health").status_code,
            )


@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_a_signal_can_be_left_out(tmp_path: Path, signal: str) -> None:
    with receiving() as received:
        env = {
            **SOON,
            f"OTEL_{signal.upper()}_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
        }
        with launched(tmp_path, UVICORN, env=env) as program:
            program.get("/items/1")
            assert program.completion("/items/1")["trace_id"]
            until(lambda: received.metrics("bext_requests_total"))
            until(lambda: received.spans() if signal == "logs" else received.lines("item read"))
            assert [] == (received.spans() if signal == "traces" else received.lines("item read"))


def test_sampling_drops_spans_and_nothing_else(tmp_path: Path) -> None:
    with receiving() as received:
        env = {
            **SOON,
            "OTEL_TRACES_SAMPLER": "always_off",
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "OTEL_SERVICE_NAME": "shop",
        }
        with launched(tmp_path, UVICORN, env=env, path="/headers") as program:
            for _ in range(5):
                program.get("/items/1")
            assert (
                5
                == program.metrics()[
                    'bext_requests_total{app="shop",method="GET",status="200",route="/items/{item}"}'
                ]
            )
            lines = program.lines(message="request completed", path="/items/1")
            assert [32] * 5 == [len(line["trace_id"]) for line in lines]
            until(lambda: received.metrics("bext_requests_total") and received.lines("item read"))
            assert [] == received.spans()


@pytest.mark.parametrize("command", [UVICORN, GUNICORN], ids=["asgi", "flask"])
def test_upstreams_engine_holds_the_same_names(tmp_path: Path, command: str) -> None:
    route = "/items/{item}" if command == UVICORN else "/items/<item>"
    with receiving() as received:
        env = {
            **SOON,
            "BEXT_TELEMETRY_ENGINE": "upstream",
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "OTEL_SERVICE_NAME": "shop",
        }
        with launched(tmp_path, command, env=env, path="/headers") as program:
            for _ in range(3):
                program.get("/items/engine")
            text = program.endpoint("/metrics").text
            found = {
                (sample.name, tuple(sorted(sample.labels.items()))): sample.value
                for family in parse(text)
                for sample in family.samples
            }
            labels = {"app": "shop", "method": "GET", "status": "200", "route": route}
            assert 3 == found["bext_requests_total", tuple(sorted(labels.items()))]
            assert {"bext_request_duration_ms_count", "bext_request_size_bytes_sum"} <= {
                name for name, _ in found
            }
            assert not [name for name, _ in found if "milliseconds" in name or name.endswith("_total_total")]
            assert 4 == program.endpoint("/metrics?format=json").json()["apps"]["shop"]["requests"]["total"]
            assert 200 == program.endpoint("/health/ready").status_code
            until(lambda: len(received.spans(kind="server", url_path="/items/engine")) >= 3)
            spans = received.spans(kind="server", url_path="/items/engine")
            assert 3 == len(spans), "one server span for each request"
            assert spans[0].trace_id in {
                line["trace_id"] for line in program.lines(message="request completed")
            }
            assert "upstream" == spans[0].resource["bext.engine"]


def test_an_environment_without_any_setting_needs_no_collector(tmp_path: Path) -> None:
    """No endpoint, no export: nobody is told that a collector is missing."""
    with launched(tmp_path, UVICORN) as program:
        program.get("/items/1")
        assert samples(program.endpoint("/metrics").text)
        assert [] == [line for line in program.lines(level="warn") if line["target"].startswith("bext_otel")]
