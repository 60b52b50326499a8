"""Agent and gateways, by their shipped files, before a real Jaeger: whole traces, no secrets, nothing
forgotten."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import StatusCode

from tests.e2e import backends
from tests.e2e.backends import Collector, Jaeger, fetch, free_port, tags
from tests.waiting import until

pytestmark = [pytest.mark.backends, pytest.mark.e2e]


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with backends.jaeger(tmp_path_factory.mktemp("jaeger")) as running_jaeger:
        yield running_jaeger


def send_traces(endpoint: str, *, failed: int, fine: int) -> tuple[set[str], set[str]]:
    """Traces of two spans each, sent over gRPC; the ids of the failed ones and of the others."""
    provider = TracerProvider(resource=Resource({"service.name": "sender"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=True)))
    tracer, ids = provider.get_tracer(__name__), (set[str](), set[str]())
    for number in range(failed + fine):
        with tracer.start_as_current_span("outer") as outer, tracer.start_as_current_span("inner") as inner:
            inner.set_attribute("url.full", "http://shop.test/?token=hunter2&page=1")
            if number < failed:
                inner.set_status(StatusCode.ERROR)
            ids[0 if number < failed else 1].add(f"{outer.get_span_context().trace_id:032x}")
    provider.shutdown()
    return ids


def measured_spans(gateway: Collector) -> float:
    """Spans that the gateway's span metrics have counted."""
    text = fetch(f"http://{gateway.metrics}/metrics")[1].decode()
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("traces_span_metrics_calls{")
    )


def test_gateways_keep_every_failed_trace_whole(tmp_path: Path, jaeger: Jaeger) -> None:
    """Agent, two gateways, Jaeger: with no share of the rest kept, exactly the failed traces arrive, unsplit
    and without secrets."""
    settings = {
        "JAEGER_ENDPOINT": jaeger.grpc,
        "TAIL_DECISION_WAIT": "1s",
        "TAIL_PERCENT": "0",
        "SPAN_METRICS_FLUSH": "1s",
    }
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        backends.collector(tmp_path / "one", "gateway", env=settings) as one,
        backends.collector(tmp_path / "two", "gateway", env=settings) as two,
    ):
        # Two gateways on one host differ in their port, which a name cannot say; in production the shipped
        # resolver asks DNS.
        resolver = {
            "exporters": {
                "load_balancing": {"resolver": {"dns": None, "static": {"hostnames": [one.grpc, two.grpc]}}}
            }
        }
        env = {"GATEWAY_HOST": "127.0.0.1", "GATEWAY_PORT": one.grpc.rpartition(":")[2]}
        with backends.collector(tmp_path, "agent", env=env, overlay=resolver) as agent:
            failed, fine = send_traces(agent.grpc, failed=20, fine=20)
            until(
                lambda: all(len(jaeger.spans(trace_id)) == 2 for trace_id in failed),
                why="every failed trace, whole",
            )
            until(
                lambda: measured_spans(one) + measured_spans(two) == 80,
                why="both measured every span, kept or not",
            )
    assert [] == [trace_id for trace_id in fine if jaeger.spans(trace_id)]
    shown = {
        tags(span)["url.full"]
        for trace_id in failed
        for span in jaeger.spans(trace_id)
        if span["operationName"] == "inner"
    }
    assert {"http://shop.test/****&page=1"} == shown


def test_an_agent_that_is_killed_forgets_nothing(tmp_path: Path, jaeger: Jaeger) -> None:
    """No gateway is there, the agent is killed with its queue full, and both come back: every trace it had
    taken arrives."""
    gateway = f"127.0.0.1:{free_port()}"
    env = {"GATEWAY_HOST": "127.0.0.1", "GATEWAY_PORT": gateway.rpartition(":")[2]}
    with backends.collector(tmp_path, "agent", env=env) as agent:
        failed, fine = send_traces(agent.grpc, failed=10, fine=10)
        os.kill(agent.pid, signal.SIGKILL)
    settings = {
        "OTLP_GRPC_ENDPOINT": gateway,
        "JAEGER_ENDPOINT": jaeger.grpc,
        "TAIL_DECISION_WAIT": "1s",
        "TAIL_PERCENT": "100",
    }
    with (
        backends.collector(tmp_path, "gateway", env=settings),
        backends.collector(tmp_path, "agent", env=env),
    ):
        until(
            lambda: all(len(jaeger.spans(trace_id)) == 2 for trace_id in failed | fine),
            why="every trace of the dead agent",
        )
