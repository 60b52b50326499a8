"""`engine = "upstream"`: upstream's middleware makes the one server span, ours counts."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from msgspec.structs import replace
from opentelemetry import baggage, trace
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from bext_otel.catalogue import REQUESTS
from bext_otel.operation import settings, use
from bext_otel.trust import trusted_parents
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask_async, ask_wsgi, http_scope

upstream = instrumented_by(StarletteInstrumentor, FlaskInstrumentor, upstream=True)


async def hello(_: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


def scopes(telemetry: Telemetry) -> set[str]:
    return {
        span.instrumentation_scope.name
        for span in telemetry.servers()
        if span.instrumentation_scope is not None
    }


def test_an_asgi_request_has_upstreams_span_and_our_counts(upstream: Telemetry) -> None:
    app = Starlette(routes=[Mount("/in", Starlette(routes=[Route("/a/{b}", hello)]))])
    answer = asyncio.run(ask_async(app, http_scope("/in/a/1")))
    assert b"hello" == answer.body
    assert {"opentelemetry.instrumentation.asgi"} == scopes(upstream)
    assert "GET /in/a/{b}" == upstream.server().name
    assert "/in/a/{b}" == upstream.attributes()["http.route"]
    assert {("shop", "GET", "200", "/in/a/{b}"): 1} == upstream.counts(REQUESTS)


@pytest.mark.parametrize("path", ["/a/1", "/a/caf\u00e9"])
def test_a_wsgi_request_has_upstreams_span_and_our_counts(upstream: Telemetry, path: str) -> None:
    app = Flask(__name__)
    app.add_url_rule("/a/<b>", view_func=lambda b: "hello", endpoint="a")
    answer = ask_wsgi(app, path)
    assert b"hello" == answer.body
    assert {"opentelemetry.instrumentation.wsgi"} == scopes(upstream)
    assert "GET /a/<b>" == upstream.server().name
    assert {("shop", "GET", "200", "/a/<b>"): 1} == upstream.counts(REQUESTS)


def test_a_name_that_somebody_chose_stays(upstream: Telemetry) -> None:
    async def named(_: Any) -> PlainTextResponse:
        trace.get_current_span().update_name("checkout")
        return PlainTextResponse("x")

    asyncio.run(ask_async(Starlette(routes=[Route("/a/{b}", named)]), http_scope("/a/1")))
    assert "checkout" == upstream.server().name


def test_undoing_takes_upstreams_middleware_away_too(telemetry: Telemetry) -> None:
    before = Starlette.__call__, Flask.__call__
    for instrumentor in (StarletteInstrumentor(), FlaskInstrumentor()):
        instrumentor.instrument(upstream=True)
        instrumentor.uninstrument()
    assert before == (Starlette.__call__, Flask.__call__)


def test_upstreams_span_begins_a_trace_whatever_the_server_was_started_in(upstream: Telemetry) -> None:
    app = Starlette(routes=[Route("/a/{b}", hello)])
    with upstream.tracer_provider.get_tracer("click").start_as_current_span("serve") as command:
        for _ in range(2):
            asyncio.run(ask_async(app, http_scope("/a/1")))
        assert trace.get_current_span() is command
    assert [None] * 2 == [span.parent for span in upstream.servers()]


SENT = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("baggage", "user=7")]


@pytest.mark.parametrize("trusted", ["none", "192.0.2.0/24"])
@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_upstreams_span_has_no_parent_that_is_not_trusted(
    upstream: Telemetry, kind: str, trusted: str
) -> None:
    """The application sees the headers in either case, and baggage of those who are trusted."""
    use(replace(settings(), trusts=trusted_parents((trusted,), {})))
    seen: list[Any] = []
    if kind == "asgi":

        async def look(request: Any) -> PlainTextResponse:
            seen.extend([baggage.get_baggage("user"), request.headers["traceparent"]])
            return PlainTextResponse("x")

        asyncio.run(ask_async(Starlette(routes=[Route("/", look)]), http_scope("/", headers=SENT)))
    else:
        app = Flask(__name__)

        @app.route("/")
        def view() -> str:
            seen.extend([baggage.get_baggage("user"), request.headers["traceparent"]])
            return "x"

        ask_wsgi(app, headers=SENT)
    span = upstream.server()
    assert ["7" if trusted != "none" else None, SENT[0][1]] == seen
    assert (trusted == "none") == (span.parent is None)


COUNTED = """
import sys
from opentelemetry import metrics, trace
from tests.instrumentors.conftest import Telemetry
telemetry = Telemetry()
trace.set_tracer_provider(telemetry.tracer_provider)
metrics.set_meter_provider(telemetry.meter_provider)

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.django import DjangoInstrumentor as UpstreamDjango
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor as UpstreamFastAPI
from opentelemetry.instrumentation.flask import FlaskInstrumentor as UpstreamFlask
from opentelemetry.instrumentation.starlette import StarletteInstrumentor as UpstreamStarlette
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as UpstreamWSGI
from bext_otel_instrumentors.http.django import DjangoInstrumentor
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from bext_otel_instrumentors.http.upstream_within import ASGIWithin, WSGIWithin
from tests.instrumentors.driving import ask, ask_wsgi
from tests.instrumentors.http.test_upstream import fastapi, flask, starlette

kind, by = sys.argv[1:]
if kind == "django":
    from tests.instrumentors import django_project
    if by == "instrumentor":
        UpstreamDjango().instrument()
for instrumentor in (DjangoInstrumentor, FlaskInstrumentor, StarletteInstrumentor, ASGIWithin, WSGIWithin):
    instrumentor().instrument(upstream=True)
if kind == "django":
    from tests.instrumentors.http.test_django import by_wsgi
    call = lambda: by_wsgi("/items/7/")
elif kind == "flask":
    app = flask()
    if by == "middleware":
        app.wsgi_app = UpstreamWSGI(app.wsgi_app)
    elif by == "instrumentor":
        UpstreamFlask().instrument_app(app)
    call = lambda: ask_wsgi(app, "/a/1")
else:
    app = {"starlette": starlette, "fastapi": fastapi}[kind]()
    if by == "middleware":
        app.add_middleware(OpenTelemetryMiddleware)
    elif by == "instrumentor":
        {"starlette": UpstreamStarlette, "fastapi": UpstreamFastAPI}[kind].instrument_app(app)
    call = lambda: ask(app, "/a/1")
call()
call()
print(sum(point.count for point in telemetry.points_of("http.server.request.duration")))
print(sum(point.value for point in telemetry.points_of("http.server.active_requests")))
"""


@pytest.mark.parametrize("by", ["nobody", "middleware", "instrumentor"])
@pytest.mark.parametrize("kind", ["starlette", "fastapi", "flask", "django"])
def test_a_request_is_counted_once_whoever_else_counts_inside(kind: str, by: str) -> None:
    """And none is in progress any more. Upstream reads which conventions it speaks once for a process."""
    if (kind, by) == ("django", "middleware"):
        pytest.skip("Django has upstream's middleware by its instrumentor alone")
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, kind, by],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OTEL_SEMCONV_STABILITY_OPT_IN": "http"},
        cwd=Path(__file__).parents[3],
    )
    assert ("2\n0\n", "") == (done.stdout, done.stderr)
