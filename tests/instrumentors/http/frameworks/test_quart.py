"""Quart: route templates, alone and mounted, one span."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.routing import Mount

from bext_otel.apps import current_app
from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.frameworks.quart import QuartInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask

pytest.importorskip("quart")
from quart import Blueprint, Quart, Response, websocket

instrumented = instrumented_by(QuartInstrumentor, StarletteInstrumentor)


def quart(**more: Any) -> Quart:
    app = Quart(__name__, **more)
    shop = Blueprint("shop", __name__, url_prefix="/shop")

    @app.get("/items/<int:item>")
    async def item(item: int) -> str:
        return f"{current_app()}"

    @app.get("/sync/<name>")
    def sync(name: str) -> str:
        return f"{current_app()}"

    @app.get("/fail")
    async def fail() -> str:
        raise LookupError("lost")

    @app.get("/handled")
    async def handled() -> str:
        raise ZeroDivisionError

    @app.errorhandler(ZeroDivisionError)
    async def turned(_: Exception) -> tuple[str, int]:
        return "unavailable", 503

    @app.get("/stream")
    async def stream() -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"abc"

        return Response(chunks())

    @app.websocket("/ws/<room>")
    async def ws(room: str) -> None:
        await websocket.accept()

    @shop.get("/<tenant>/")
    async def tenant(tenant: str) -> str:
        return tenant

    app.register_blueprint(shop)
    return app


ROUTES = [
    ("GET", "/items/1", 200, "/items/<int:item>"),
    ("HEAD", "/items/1", 200, "/items/<int:item>"),
    ("OPTIONS", "/items/1", 200, "/items/<int:item>"),
    ("POST", "/items/1", 405, "/items/<int:item>"),
    ("GET", "/sync/a", 200, "/sync/<name>"),
    ("GET", "/shop/acme/", 200, "/shop/<tenant>/"),
    ("GET", "/fail", 500, "/fail"),
    ("GET", "/handled", 503, "/handled"),
    ("GET", "/stream", 200, "/stream"),
    ("GET", "/static/no.css", 404, "/static/<path:filename>"),
    ("GET", "/items/none", 404, "unmatched"),
    ("GET", "/nowhere", 404, "unmatched"),
]


@pytest.mark.parametrize("around", [lambda app: app, ASGIMiddleware], ids=["alone", "by-hand"])
@pytest.mark.parametrize(("method", "path", "status", "route"), ROUTES)
def test_the_route_is_a_template_whatever_the_path(
    instrumented: Telemetry, around: Any, method: str, path: str, status: int, route: str
) -> None:
    answer = ask(around(quart()), path, method)
    assert status == answer.status
    assert {("shop", method, str(status), route): 1} == instrumented.counts(REQUESTS)
    assert (None if route == "unmatched" else route) == instrumented.attributes().get("http.route")


@pytest.mark.parametrize("path", ["/items/1", "/sync/a"])
def test_a_view_works_for_the_app_of_its_request(instrumented: Telemetry, path: str) -> None:
    assert b"shop" == ask(quart(), path).body


def test_an_unhandled_exception_is_a_500_with_its_class(instrumented: Telemetry) -> None:
    ask(quart(), "/fail")
    span = instrumented.server()
    assert (StatusCode.ERROR, "LookupError") == (span.status.status_code, span.attributes["error.type"])  # type: ignore[index]


def test_an_exception_that_the_application_handles_is_no_unhandled_one(instrumented: Telemetry) -> None:
    ask(quart(), "/handled")
    assert "503" == instrumented.attributes()["error.type"]


@pytest.mark.parametrize(
    ("path", "method", "route"),
    [
        ("/items/3", "GET", "/items/<int:item>"),
        ("/items/3", "POST", "/items/<int:item>"),
        ("/none", "GET", None),
    ],
)
def test_an_answer_before_the_router_has_the_route_that_it_would_have_had(
    instrumented: Telemetry, path: str, method: str, route: str | None
) -> None:
    app = quart()

    async def denying(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 403, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app.asgi_app = denying  # type: ignore[method-assign]
    assert 403 == ask(app, path, method).status
    assert route == instrumented.attributes().get("http.route")


def test_mounted_it_adds_its_route_and_no_span(instrumented: Telemetry) -> None:
    app = Starlette(routes=[Mount("/{tenant}/api", quart())])
    assert 200 == ask(app, "/acme/api/items/3").status
    assert "/{tenant}/api/items/<int:item>" == instrumented.attributes()["http.route"]


def test_below_a_root_path_the_route_has_it(instrumented: Telemetry) -> None:
    assert 200 == ask(quart(), "/shop/items/3", root_path="/shop").status
    assert "/shop/items/<int:item>" == instrumented.attributes()["http.route"]


def test_a_websocket_has_its_route(instrumented: Telemetry) -> None:
    async def connect() -> None:
        async with quart().test_client().websocket("/ws/blue"):
            pass

    asyncio.run(connect())
    assert "/ws/<room>" == instrumented.attributes()["http.route"]


def test_applications_made_before_are_covered_and_everything_is_put_back(telemetry: Telemetry) -> None:
    app = quart()
    QuartInstrumentor().instrument()
    ask(app, "/items/1")
    QuartInstrumentor().uninstrument()
    ask(app, "/items/1")
    assert 1 == len(telemetry.servers())
    assert not hasattr(Quart.__call__, "__wrapped__")
