"""BlackSheep: route templates, alone and mounted, one span."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.frameworks.blacksheep import BlacksheepInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask

pytest.importorskip("blacksheep")
from blacksheep import Application, Response, text
from blacksheep.server.routing import Router

instrumented = instrumented_by(BlacksheepInstrumentor, StarletteInstrumentor)


async def legacy(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"legacy"})


def blacksheep(router: Router | None = None) -> Application:
    app = Application(router=router or Router())
    app.router.add_get("/items/{item}", item)
    app.router.add_get("/fails", fails)
    app.mount("/legacy", legacy)
    return app


async def item(item: str) -> Response:
    return text(item)


async def fails() -> Response:
    raise LookupError("lost")


ROUTES = [
    ("GET", "/items/1", 200, "/items/{item}"),
    ("GET", "/fails", 500, "/fails"),
    ("GET", "/legacy/a/b", 200, "/legacy/{path}"),
    ("POST", "/items/1", 404, "unmatched"),
    ("GET", "/nowhere", 404, "unmatched"),
]


@pytest.mark.parametrize("around", [lambda app: app, ASGIMiddleware], ids=["alone", "by-hand"])
@pytest.mark.parametrize(("method", "path", "status", "route"), ROUTES)
def test_the_route_is_a_template_whatever_the_path(
    instrumented: Telemetry, around: Any, method: str, path: str, status: int, route: str
) -> None:
    assert status == ask(around(blacksheep()), path, method).status
    assert {("shop", method, str(status), route): 1} == instrumented.counts(REQUESTS)
    assert (None if route == "unmatched" else route) == instrumented.attributes().get("http.route")


def test_routers_within_routers_tell_what_matched(instrumented: Telemetry) -> None:
    inner = Router(prefix="/inner")
    inner.add_get("/users/{name}", lambda name: text(name))
    app = blacksheep(Router(sub_routers=[inner]))
    for path in ("/inner/users/ann", "/items/1", "/inner/none"):
        ask(app, path)
    counted = {(labels[2], labels[3]) for labels in instrumented.counts(REQUESTS)}
    assert {("200", "/inner/users/{name}"), ("200", "/items/{item}"), ("404", "unmatched")} == counted


def test_mounted_in_another_framework_the_route_has_the_mount(instrumented: Telemetry) -> None:
    assert 200 == ask(Starlette(routes=[Mount("/api", blacksheep())]), "/api/items/3").status
    assert "/api/items/{item}" == instrumented.attributes()["http.route"]


def test_an_exception_is_named(instrumented: Telemetry) -> None:
    ask(blacksheep(), "/fails")
    assert "LookupError" == instrumented.attributes()["error.type"]


def test_everything_is_put_back(telemetry: Telemetry) -> None:
    app = blacksheep()
    BlacksheepInstrumentor().instrument()
    ask(app, "/items/1")
    BlacksheepInstrumentor().uninstrument()
    ask(app, "/items/1")
    assert 1 == len(telemetry.servers())
    assert not hasattr(Router.get_match, "__wrapped__")
    assert "log_unhandled_exc" not in vars(Application)
