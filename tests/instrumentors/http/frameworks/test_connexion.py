"""Connexion, on Starlette and on Flask: route templates though it routes more than once, one span."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.frameworks.connexion import ConnexionInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask

connexion = pytest.importorskip("connexion")

# Of its own calls, from Python 3.14 on.
pytestmark = pytest.mark.filterwarnings(
    "ignore:'asyncio.iscoroutinefunction' is deprecated:DeprecationWarning"
)
instrumented = instrumented_by(ConnexionInstrumentor, StarletteInstrumentor, FlaskInstrumentor)

ANSWERS = {"responses": {"200": {"description": "it worked"}}}
ITEM = {"name": "item", "in": "path", "required": True, "schema": {"type": "integer"}}
SPECIFICATION = {
    "openapi": "3.0.0",
    "info": {"title": "shop", "version": "1"},
    "servers": [{"url": "/v1"}],
    "paths": {
        "/items/{item}": {"get": {"operationId": "shop_views.item", "parameters": [ITEM], **ANSWERS}},
        "/fail": {"get": {"operationId": "shop_views.fail", **ANSWERS}},
    },
}


@pytest.fixture(params=["AsyncApp", "FlaskApp"])
def app(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    def fail() -> str:
        raise LookupError("lost")

    views = ModuleType("shop_views")
    views.item = lambda item: f"item {item}"  # type: ignore[attr-defined]
    views.fail = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_views", views)
    made = getattr(connexion, request.param)("shop")
    made.add_api(SPECIFICATION)
    return made


ITEMS = {"/v1/items/{item:int}", "/v1/items/<int:item>"}


@pytest.mark.parametrize("around", [lambda app: app, ASGIMiddleware], ids=["alone", "by-hand"])
@pytest.mark.parametrize(
    ("method", "path", "status", "routes"),
    [
        ("GET", "/v1/items/1", 200, ITEMS),
        ("POST", "/v1/items/1", 405, ITEMS),
        ("GET", "/v1/fail", 500, {"/v1/fail"}),
        ("GET", "/v1/openapi.json", 200, {"/v1/openapi.json"}),
        ("GET", "/v1/nowhere", 404, {"/v1/{path}", "unmatched"}),
        ("GET", "/nowhere", 404, {"unmatched"}),
    ],
)
def test_the_route_is_a_template_whatever_the_path(
    instrumented: Telemetry, app: Any, around: Any, method: str, path: str, status: int, routes: set[str]
) -> None:
    assert status == ask(around(app), path, method).status
    assert 1 == len(instrumented.servers())
    ((labels, count),) = instrumented.counts(REQUESTS).items()
    assert (("shop", method, str(status)), 1) == (labels[:3], count)
    assert labels[3] in routes
