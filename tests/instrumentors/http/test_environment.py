"""What OpenTelemetry's standard variables choose for HTTP servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask, Response
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from bext_otel.catalogue import HTTP_SERVER_REQUEST_DURATION, REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.environment import choices
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask, ask_wsgi


async def hello(_: Any) -> PlainTextResponse:
    return PlainTextResponse("hello", headers={"X-Cache": "hit", "Set-Cookie": "a=1"})


def starlette() -> Any:
    return Starlette(
        routes=[
            Route("/items/{item}", hello),
            Route("/probe/live", hello),
            Mount("/in", Starlette(routes=[Route("/x", hello)])),
        ]
    )


def fastapi() -> Any:
    app = FastAPI()
    app.add_api_route("/items/{item}", lambda item: item)
    app.add_api_route("/probe/live", lambda: "x")
    return app


def flask() -> Any:
    app = Flask(__name__)
    app.add_url_rule(
        "/items/<item>",
        view_func=lambda item: Response(item, headers={"X-Cache": "hit", "Set-Cookie": "a=1"}),
        endpoint="items",
    )
    app.add_url_rule("/probe/live", view_func=lambda: "x", endpoint="live")
    return app


def uninstrumented_asgi() -> Any:
    return ASGIMiddleware(starlette())


def uninstrumented_wsgi() -> Any:
    return WSGIMiddleware(flask())


MAKERS: dict[str, tuple[Callable[[], Any], Callable[..., Any]]] = {
    "STARLETTE": (starlette, ask),
    "FASTAPI": (fastapi, ask),
    "FLASK": (flask, ask_wsgi),
    "ASGI": (uninstrumented_asgi, ask),
    "WSGI": (uninstrumented_wsgi, ask_wsgi),
}


@contextmanager
def instrumented(**kwargs: Any) -> Iterator[None]:
    both = StarletteInstrumentor(), FlaskInstrumentor()
    for instrumentor in both:
        instrumentor.instrument(**kwargs)
    try:
        yield
    finally:
        for instrumentor in both:
            instrumentor.uninstrument()


@contextmanager
def made(name: str) -> Iterator[tuple[Any, Callable[..., Any]]]:
    """An application of this kind, and who asks it; instrumented, unless a middleware does that."""
    make, asking = MAKERS[name]
    if name in {"ASGI", "WSGI"}:
        yield make(), asking
        return
    with instrumented():
        yield make(), asking


@pytest.mark.parametrize("variable", ["OTEL_PYTHON_{}_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS"])
@pytest.mark.parametrize("name", MAKERS)
def test_an_excluded_url_leaves_nothing_behind(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, name: str, variable: str
) -> None:
    monkeypatch.setenv(variable.format(name), "never, shop.example:8000/probe/.*,")
    with made(name) as (app, asking):
        assert 200 == asking(app, "/probe/live").status
        assert ([], {}, []) == (telemetry.spans(), telemetry.counts(REQUESTS), telemetry.records())
        assert 200 == asking(app, "/items/1").status
    assert "/items/1" == telemetry.attributes()["url.path"]
    assert (
        1
        == sum(telemetry.counts(REQUESTS).values())
        == sum(telemetry.counts(HTTP_SERVER_REQUEST_DURATION).values())
    )


def test_the_variable_of_a_library_comes_before_the_general_one_and_is_nobody_elses(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "live")
    monkeypatch.setenv("OTEL_PYTHON_FLASK_EXCLUDED_URLS", "items")
    with instrumented():
        ask_wsgi(flask(), "/probe/live")
        ask_wsgi(flask(), "/items/1")
        ask(starlette(), "/probe/live")
        ask(starlette(), "/items/2")
    assert ["/probe/live", "/items/2"] == [
        (span.attributes or {})["url.path"] for span in telemetry.servers()
    ]


def test_what_is_mounted_in_an_excluded_request_is_excluded_with_it(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_FASTAPI_EXCLUDED_URLS", "/in")
    app = FastAPI()
    app.mount("/in", starlette())
    with instrumented():
        assert 200 == ask(app, "/in/items/1").status
        assert 404 == ask(app, "/items/1").status
    assert ["/items/1"] == [(span.attributes or {})["url.path"] for span in telemetry.servers()]


def test_a_websocket_can_be_excluded(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_ASGI_EXCLUDED_URLS", "^ws://shop.example:8000/live$")
    closed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        closed.append(scope["type"])

    ask(ASGIMiddleware(app), "/live", type="websocket", scheme="ws")
    assert (["websocket"], []) == (closed, telemetry.spans())


@pytest.mark.parametrize(("make", "asking"), [(starlette, ask), (fastapi, ask), (flask, ask_wsgi)])
def test_upstreams_engine_leaves_them_out_too(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any], asking: Callable[..., Any]
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "live")
    with instrumented(upstream=True):
        app = make()
        assert 200 == asking(app, "/probe/live").status
        assert ([], {}, []) == (telemetry.spans(), telemetry.counts(REQUESTS), telemetry.records())
        assert 200 == asking(app, "/items/1").status
    assert 1 == len(telemetry.servers())


def test_what_is_no_regular_expression_is_one_line(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "(")
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", "[")
    ask(ASGIMiddleware(starlette()), "/items/1")
    assert 1 == len(telemetry.servers())
    assert ["OTEL_PYTHON_EXCLUDED_URLS", "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST"] == [
        record.getMessage().partition(" ")[0] for record in caplog.records
    ]


def test_without_variables_nothing_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", " , ")
    chosen = choices("flask")
    assert (None, None, None) == (chosen.excluded, chosen.request, chosen.response)


@pytest.mark.parametrize("name", ["STARLETTE", "FLASK", "ASGI", "WSGI"])
def test_headers_that_were_asked_for_are_shown(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST",
        "x-tenant, Authorization,x-inner.*,content-type",
    )
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE", "x-cache,set-cookie")
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS", "INNER")
    sent = {
        "X-Tenant": "a",
        "authorization": "Basic x",
        "x-inner-id": "7",
        "x-other": "b",
        "content-type": "text/plain",
        "x-tenant-id": "c",
    }
    with made(name) as (app, asking):
        asking(app, "/items/1", headers=list(sent.items()))
    found = {key: value for key, value in telemetry.attributes().items() if ".header." in key}
    assert {
        "http.request.header.x-tenant": ("a",),
        "http.request.header.authorization": ("[REDACTED]",),
        "http.request.header.x-inner-id": ("[REDACTED]",),
        "http.request.header.content-type": ("text/plain",),
        "http.response.header.x-cache": ("hit",),
        "http.response.header.set-cookie": ("[REDACTED]",),
    } == found


def test_a_header_that_comes_twice_is_shown_with_both_values(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", "x-tenant")
    ask(ASGIMiddleware(starlette()), "/items/1", headers=[("x-tenant", "a"), ("x-tenant", "b" * 1000)])
    assert ("a", "b" * 512) == telemetry.attributes()["http.request.header.x-tenant"]
