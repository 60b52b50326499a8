"""What a server calls in an application's place."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from typing import Any

import pytest
from flask import Flask
from starlette.applications import Starlette

from bext_otel.catalogue import HTTP_SERVER_ACTIVE_REQUESTS, REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.hosting import Hosting
from bext_otel_instrumentors.http.servers.served import Served
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask, ask_wsgi

instrumented = instrumented_by(StarletteInstrumentor, FlaskInstrumentor)


class Application:
    """An ASGI application that a server looks at."""

    lifespan = "on"

    def __init__(self) -> None:
        self.state = {"ready": True}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"tea"})


async def function(scope: Any, receive: Any, send: Any) -> None:
    await Application()(scope, receive, send)


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"tea"]


def flask() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/items/<item>", view_func=lambda item: item, endpoint="item")
    return app


def served(**options: Any) -> Served:
    return Served(Hosting(), **options)


def test_a_request_is_measured(telemetry: Telemetry) -> None:
    assert b"tea" == ask(served().asgi(function), "/a").body
    assert b"tea" == ask_wsgi(served().wsgi(wsgi), "/a").body
    assert {("shop", "GET", "200", "unmatched"): 2} == telemetry.counts(REQUESTS)
    assert ["GET", "GET"] == [span.name for span in telemetry.servers()]
    assert 2 == len(telemetry.completions())


def test_everything_of_the_application_is_to_be_seen() -> None:
    app = Application()
    shown = served().asgi(app)
    shown.state["ready"] = False
    shown.lifespan = "off"
    assert ({"ready": False}, "off") == (app.state, app.lifespan)
    assert isinstance(shown, Application)
    assert inspect.iscoroutinefunction(shown.__call__)
    assert (function.__name__, function.__module__) == (
        served().asgi(function).__name__,
        served().asgi(function).__module__,
    )


def test_copies_are_copies_of_the_application() -> None:
    shown = served().asgi(Application())
    for copied in (copy.copy(shown), copy.deepcopy(shown), pickle.loads(pickle.dumps(shown))):
        assert Application is type(copied)
    assert function is pickle.loads(pickle.dumps(served().asgi(function)))


@pytest.mark.parametrize("thing", [None, "app:app", 3, object()])
def test_what_is_no_application_is_left_to_the_server(thing: Any) -> None:
    assert thing is served().asgi(thing)
    assert thing is served().wsgi(thing)


def test_who_opens_his_requests_himself_is_handed_on(instrumented: Telemetry) -> None:
    for app in (Starlette(), ASGIMiddleware(function)):
        assert app is served().asgi(app)
    application = flask()
    for app in (application, application.wsgi_app, WSGIMiddleware(wsgi)):
        assert app is served().wsgi(app)


def test_the_same_application_twice_is_wrapped_once() -> None:
    by = served()
    once = by.asgi(function)
    assert once is by.asgi(once)
    assert once is served().asgi(once)


def test_a_page_of_metrics_beside_the_work_is_no_application() -> None:
    prometheus = pytest.importorskip("prometheus_client")
    app = prometheus.make_wsgi_app()
    assert app is served().wsgi(app)


def test_what_is_disabled_by_name_is_not_measured_by_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "flask, redis")
    app = flask()
    assert app is served().wsgi(app)
    assert wsgi is not served().wsgi(wsgi)


def test_a_scope_of_an_unknown_type_is_the_application_s(telemetry: Telemetry) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    for scope in ({"type": "mqtt"}, {}):
        asyncio.run(served().asgi(app)(scope, None, None))
    assert [{"type": "mqtt"}, {}] == seen
    assert [] == telemetry.spans()


def test_what_an_application_raises_is_its_server_s(telemetry: Telemetry) -> None:
    def broken(environ: Any, start_response: Any) -> Any:
        raise LookupError("no tea")

    with pytest.raises(LookupError, match="no tea"):
        ask_wsgi(served().wsgi(broken), "/")
    assert {("shop", "GET", "500", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_a_framework_tells_its_route_from_inside(instrumented: Telemetry) -> None:
    app = flask()
    shown = served().wsgi(lambda environ, start_response: app(dict(environ), start_response))
    ask_wsgi(shown, "/items/7")
    assert {("shop", "GET", "200", "/items/<item>"): 1} == instrumented.counts(REQUESTS)
    assert "GET /items/<item>" == instrumented.server().name


def test_what_a_framework_leaves_out_is_not_measured(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_FLASK_EXCLUDED_URLS", "items")
    FlaskInstrumentor().instrument()
    try:
        app = flask()
        shown = served().wsgi(lambda environ, start_response: app(dict(environ), start_response))
        assert b"7" == ask_wsgi(shown, "/items/7").body
        assert ({}, []) == (telemetry.counts(REQUESTS), telemetry.spans())
        assert {0} == {point.value for point in telemetry.points(HTTP_SERVER_ACTIVE_REQUESTS).values()}
        ask_wsgi(shown, "/others")
        assert {("shop", "GET", "404", "unmatched"): 1} == telemetry.counts(REQUESTS)
    finally:
        FlaskInstrumentor().uninstrument()


class Mount:
    """Endpoints of one path."""

    def owns(self, path: str) -> bool:
        return path == "/metrics"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"metrics"})


def test_endpoints_that_are_mounted_by_hand_answer_inside_of_what_a_server_measures(
    telemetry: Telemetry,
) -> None:
    by_hand = ASGIMiddleware(function, mount=Mount())

    async def around(scope: Any, receive: Any, send: Any) -> None:
        await by_hand(scope, receive, send)

    shown = served().asgi(around)
    assert b"metrics" == ask(shown, "/metrics").body
    assert {} == telemetry.counts(REQUESTS)
    assert b"tea" == ask(shown, "/tea").body
    assert {("shop", "GET", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)
    assert "/tea" == telemetry.server().attributes["url.path"]


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_upstream_s_middleware_makes_the_one_span_where_it_is_asked_for(
    telemetry: Telemetry, interface: str
) -> None:
    by = served(upstream=True)
    if interface == "asgi":
        ask(by.asgi(function), "/a")
    else:
        ask_wsgi(by.wsgi(wsgi), "/a")
    assert telemetry.server().instrumentation_scope.name.startswith("opentelemetry.instrumentation.")
    assert {("shop", "GET", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_who_is_not_instrumented_any_more_is_called_as_it_is(telemetry: Telemetry) -> None:
    by = served()
    shown = by.wsgi(wsgi)
    by.ended = True
    assert b"tea" == ask_wsgi(shown, "/").body
    assert [] == telemetry.spans()


def test_upstream_s_instrumentation_of_what_is_inside_counts_for_itself(instrumented: Telemetry) -> None:
    from opentelemetry.instrumentation.flask import FlaskInstrumentor as Upstream

    app = flask()
    Upstream().instrument_app(
        app, tracer_provider=instrumented.tracer_provider, meter_provider=instrumented.meter_provider
    )
    try:
        ask_wsgi(served().wsgi(lambda environ, start_response: app(environ, start_response)), "/items/7")
    finally:
        Upstream().uninstrument_app(app)
    assert {("shop", "GET", "200", "/items/<item>"): 1} == instrumented.counts(REQUESTS)
    assert 1 == len(instrumented.servers())
    assert {0} == {point.value for point in instrumented.points(HTTP_SERVER_ACTIVE_REQUESTS).values()}
