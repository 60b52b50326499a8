"""Upstream's own middleware around an application, in its code: one server span, with either engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fresh import fresh

PROGRAM = """
import inspect
import bext_otel
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exported = InMemorySpanExporter()
runs = bext_otel.configure(telemetry={"engine": ENGINE}, span_processors=[SimpleSpanProcessor(exported)])
HEADERS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
"""

ASGI = """
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
app = OpenTelemetryMiddleware(Starlette(routes=[Route("/tea/{kind}", lambda request: PlainTextResponse("tea"))]))
status = TestClient(app).get("/tea/1", headers=HEADERS).status_code
is_asgi3 = inspect.iscoroutinefunction(app.__call__)
"""

WSGI = """
from flask import Flask
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from werkzeug.test import Client
flask = Flask("shop")
flask.get("/tea/<kind>")(lambda kind: "tea")
answer = Client(OpenTelemetryMiddleware(flask)).get("/tea/1", headers=HEADERS)
status, is_asgi3 = answer.status_code, True
answer.close()
"""

SHOW = """
page = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True).body.decode().splitlines()
durations = [line for line in page if line.startswith("http_server_request_duration_seconds_count")]
servers = [span for span in exported.get_finished_spans() if span.kind.name == "SERVER"]
show([status, is_asgi3, [f"{span.parent.span_id:x}" for span in servers], sum(int(line.split()[-1]) for line in durations)])
"""


@pytest.mark.parametrize("engine", ["upstream", "bext"])
@pytest.mark.parametrize("program", [ASGI, WSGI], ids=["asgi", "wsgi"])
def test_a_middleware_that_is_around_the_application_makes_the_one_server_span(
    tmp_path: Path, engine: str, program: str
) -> None:
    """Below the caller's; and servers and test clients still see which ASGI it speaks."""
    shown, _ = fresh(PROGRAM.replace("ENGINE", repr(engine)) + program + SHOW, tmp_path)
    assert [200, True, ["b7ad6b7169203331"], 1] == shown
