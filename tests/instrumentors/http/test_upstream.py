"""Beside upstream's own instrumentation: one server span, counted once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor as UpstreamFastAPI
from opentelemetry.instrumentation.flask import FlaskInstrumentor as UpstreamFlask
from opentelemetry.instrumentation.starlette import StarletteInstrumentor as UpstreamStarlette
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as UpstreamWSGI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from bext_otel.apps import current_app
from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import Answer, ask, ask_async, ask_wsgi, http_scope

instrumented = instrumented_by(StarletteInstrumentor, FlaskInstrumentor)


def providers(telemetry: Telemetry) -> dict[str, Any]:
    return {"tracer_provider": telemetry.tracer_provider, "meter_provider": telemetry.meter_provider}


async def hello(_: Any) -> PlainTextResponse:
    return PlainTextResponse(f"{current_app()}")


def starlette() -> Starlette:
    return Starlette(routes=[Route("/a/{b}", hello)])


def fastapi() -> FastAPI:
    app = FastAPI()

    @app.get("/a/{b}")
    def a(b: str) -> str | None:
        return current_app()

    return app


def flask() -> Flask:
    app = Flask(__name__)

    @app.route("/a/<b>")
    def a(b: str) -> str:
        return f"{current_app()}"

    return app


def counted_once(telemetry: Telemetry, route: str, answer: Answer) -> None:
    assert b"shop" in answer.body
    server = telemetry.server()
    assert {("shop", "GET", "200", route): 1} == telemetry.counts(REQUESTS)
    assert server.context.trace_id == telemetry.completions()[0].log_record.trace_id
    assert server.context.span_id == telemetry.completions()[0].log_record.span_id
    assert ("shop", route) == (server.attributes["bext.app"], server.attributes["http.route"])


def test_fastapi_instrumented_by_upstream(instrumented: Telemetry) -> None:
    app = fastapi()
    UpstreamFastAPI.instrument_app(app, **providers(instrumented))
    try:
        counted_once(instrumented, "/a/{b}", ask(app, "/a/1"))
    finally:
        UpstreamFastAPI.uninstrument_app(app)


def test_starlette_instrumented_by_upstream(instrumented: Telemetry) -> None:
    app = starlette()
    UpstreamStarlette.instrument_app(app, **providers(instrumented))
    counted_once(instrumented, "/a/{b}", ask(app, "/a/1"))


def test_flask_instrumented_by_upstream(instrumented: Telemetry) -> None:
    app = flask()
    UpstreamFlask().instrument_app(app, **providers(instrumented))
    counted_once(instrumented, "/a/<b>", ask_wsgi(app, "/a/1"))


@pytest.mark.parametrize("make", [starlette, fastapi])
def test_upstreams_asgi_middleware_inside_ours(instrumented: Telemetry, make: Any) -> None:
    app = make()
    app.add_middleware(OpenTelemetryMiddleware, **providers(instrumented))
    counted_once(instrumented, "/a/{b}", ask(app, "/a/1"))


@pytest.mark.parametrize("make", [starlette, fastapi])
def test_upstreams_asgi_middleware_outside_of_ours(instrumented: Telemetry, make: Any) -> None:
    """Its span stands for the request, and is given what only we know."""
    answer = ask(OpenTelemetryMiddleware(make(), **providers(instrumented)), "/a/1")
    counted_once(instrumented, "/a/{b}", answer)
    assert "opentelemetry.instrumentation.asgi" == instrumented.server().instrumentation_scope.name


def test_upstreams_asgi_middleware_between_ours_by_hand(telemetry: Telemetry) -> None:
    ask(ASGIMiddleware(OpenTelemetryMiddleware(ASGIMiddleware(starlette()), **providers(telemetry))), "/a/1")
    assert "bext_otel" == telemetry.server().instrumentation_scope.name
    assert {("shop", "GET", "200", "/a/{b}"): 1} == telemetry.counts(REQUESTS)


def test_upstreams_wsgi_middleware_outside_of_ours(instrumented: Telemetry) -> None:
    answer = ask_wsgi(UpstreamWSGI(flask(), **providers(instrumented)), "/a/1")
    counted_once(instrumented, "/a/<b>", answer)


def test_upstreams_wsgi_middleware_inside_ours(telemetry: Telemetry) -> None:
    ask_wsgi(WSGIMiddleware(UpstreamWSGI(flask(), **providers(telemetry))), "/a/1")
    assert "bext_otel" == telemetry.server().instrumentation_scope.name
    assert {("shop", "GET", "200", "/a/<b>"): 1} == telemetry.counts(REQUESTS)


def test_a_request_to_oneself_below_upstreams_span_is_a_request_of_its_own(telemetry: Telemetry) -> None:
    inner = ASGIMiddleware(starlette())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await ask_async(inner, http_scope("/a/2"))
        await inner.app(scope, receive, send)

    asyncio.run(
        ask_async(OpenTelemetryMiddleware(ASGIMiddleware(app), **providers(telemetry)), http_scope("/a/1"))
    )
    assert ["bext_otel", "opentelemetry.instrumentation.asgi"] == [
        span.instrumentation_scope.name for span in telemetry.servers()
    ]
    assert {("shop", "GET", "200", "/a/{b}"): 2} == telemetry.counts(REQUESTS)


OPTED_IN = """
import sys
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask
from tests.instrumentors.http.test_upstream import fastapi, providers
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry import metrics, trace
from bext_otel import catalogue
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
telemetry = Telemetry()
trace.set_tracer_provider(telemetry.tracer_provider)
metrics.set_meter_provider(telemetry.meter_provider)
StarletteInstrumentor().instrument()
app = fastapi()
if sys.argv[1] == "inside":
    FastAPIInstrumentor.instrument_app(app, **providers(telemetry))
elif sys.argv[1] == "outside":
    app = OpenTelemetryMiddleware(app, **providers(telemetry))
ask(app, "/a/1")
print(sum(telemetry.counts(catalogue.HTTP_SERVER_REQUEST_DURATION).values()))
print(sum(telemetry.counts(catalogue.REQUESTS).values()))
print(len(telemetry.servers()))
"""


@pytest.mark.parametrize("where", ["inside", "outside", "nowhere"])
@pytest.mark.parametrize("conventions", ["http", "http/dup", ""])
def test_the_standard_duration_is_recorded_once_whoever_does_it(where: str, conventions: str) -> None:
    """Upstream reads which conventions it speaks once for a process."""
    environment = {**os.environ, "OTEL_SEMCONV_STABILITY_OPT_IN": conventions}
    done = subprocess.run(
        [sys.executable, "-c", OPTED_IN, where],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        cwd=Path(__file__).parents[3],
    )
    assert ("1\n1\n1\n", "") == (done.stdout, done.stderr)


DJANGO = """
import sys
from opentelemetry.instrumentation.django import DjangoInstrumentor as Upstream
from opentelemetry import metrics, trace
from tests.instrumentors import django_project
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.http.test_django import by_asgi, by_wsgi
from bext_otel import catalogue
from bext_otel_instrumentors.http.django import DjangoInstrumentor
telemetry = Telemetry()
trace.set_tracer_provider(telemetry.tracer_provider)
metrics.set_meter_provider(telemetry.meter_provider)
Upstream().instrument(tracer_provider=telemetry.tracer_provider, meter_provider=telemetry.meter_provider)
DjangoInstrumentor().instrument()
{"wsgi": by_wsgi, "asgi": by_asgi}[sys.argv[1]]("/items/7/")
print(telemetry.server().name, telemetry.server().instrumentation_scope.name)
print(sum(telemetry.counts(catalogue.HTTP_SERVER_REQUEST_DURATION).values()))
print(sum(telemetry.counts(catalogue.REQUESTS).values()))
"""


@pytest.mark.parametrize("handler", ["wsgi", "asgi"])
@pytest.mark.parametrize("conventions", ["http", ""])
def test_django_instrumented_by_upstream(handler: str, conventions: str) -> None:
    """In a process of its own: upstream adds a middleware to the settings."""
    done = subprocess.run(
        [sys.executable, "-c", DJANGO, handler],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OTEL_SEMCONV_STABILITY_OPT_IN": conventions},
        cwd=Path(__file__).parents[3],
    )
    assert ("GET /items/<int:item>/ bext_otel\n1\n1\n", "") == (done.stdout, done.stderr)
