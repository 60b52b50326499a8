"""Sanic under servers of ASGI's: route templates, one span."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.frameworks.sanic import SanicInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask_async, http_scope

pytest.importorskip("sanic")
from sanic import Blueprint, Sanic, text
from sanic.exceptions import Forbidden

instrumented = instrumented_by(SanicInstrumentor)


@pytest.fixture
def app() -> Iterator[Any]:
    Sanic.test_mode = True
    shop = Sanic("asgi_shop")
    inner = Blueprint("users", url_prefix="/users")

    @shop.get("/items/<item:int>")
    async def item(request: Any, item: int) -> Any:
        return text(str(item))

    @shop.get("/fails")
    async def fails(request: Any) -> Any:
        raise LookupError("lost")

    @shop.get("/forbidden")
    async def forbidden(request: Any) -> Any:
        raise Forbidden("no")

    @inner.get("/<name>")
    async def user(request: Any, name: str) -> Any:
        return text(name)

    shop.blueprint(Blueprint.group(inner, url_prefix="/api"))
    yield shop
    Sanic.unregister_app(shop)
    Sanic.test_mode = False


def asked(app: Sanic, path: str, method: str = "GET", around: Any = None) -> Any:
    async def one() -> Any:
        started = asyncio.Event()
        messages = [{"type": "lifespan.startup"}]

        async def receive() -> Any:
            if not messages:
                await asyncio.Event().wait()
            return messages.pop()

        async def send(message: Any) -> None:
            started.set()

        living = asyncio.ensure_future(app({"type": "lifespan"}, receive, send))
        await started.wait()
        try:
            return await ask_async(around or app, http_scope(path, method))
        finally:
            living.cancel()

    return asyncio.run(one())


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize(
    ("method", "path", "status", "route", "error"),
    [
        ("GET", "/items/1", 200, "/items/<item:int>", None),
        ("POST", "/items/1", 405, "/items/<item:int>", None),
        ("GET", "/api/users/ann", 200, "/api/users/<name:str>", None),
        ("GET", "/forbidden", 403, "/forbidden", None),
        ("GET", "/fails", 500, "/fails", "LookupError"),
        ("GET", "/nowhere/1", 404, None, None),
    ],
)
def test_the_route_is_a_template_whatever_the_path(
    instrumented: Telemetry,
    app: Sanic,
    by_hand: bool,
    method: str,
    path: str,
    status: int,
    route: str,
    error: str | None,
) -> None:
    assert status == asked(app, path, method, ASGIMiddleware(app) if by_hand else None).status
    assert {("shop", method, str(status), route or "unmatched"): 1} == instrumented.counts(REQUESTS)
    attributes = instrumented.attributes()
    assert (route, error) == (attributes.get("http.route"), attributes.get("error.type"))


def test_an_answer_before_the_router_has_the_route_that_it_would_have_had(
    instrumented: Telemetry, app: Sanic
) -> None:
    @app.signal("http.routing.before")
    async def refuse(request: Any, **_: Any) -> None:
        raise Forbidden("no")

    assert 403 == asked(app, "/items/1").status
    assert "/items/<item:int>" == instrumented.attributes()["http.route"]
