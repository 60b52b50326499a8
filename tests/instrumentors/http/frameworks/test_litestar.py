"""Litestar: route templates, alone and mounted, one span."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from bext_otel.catalogue import REQUEST_SIZE, REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.frameworks.litestar import LitestarInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask, ask_async, http_scope

pytest.importorskip("litestar")
from litestar import Litestar, Request, Router, WebSocket, asgi, get, websocket
from litestar.config.cors import CORSConfig
from litestar.response import Response, Stream
from litestar.static_files import create_static_files_router
from litestar.testing import TestClient
from litestar.types import Receive, Scope, Send

instrumented = instrumented_by(LitestarInstrumentor, StarletteInstrumentor)


def litestar(files: Path | None = None, **more: Any) -> Litestar:
    @get("/")
    async def index() -> str:
        return "index"

    @get("/plain", sync_to_thread=False)
    def plain() -> str:
        return "plain"

    @get("/items/{item:int}")
    async def item(request: Request) -> str:
        return str(request.path_params["item"])

    @get("/fail")
    async def fail() -> None:
        raise LookupError("lost")

    @get("/stream")
    async def stream() -> Stream:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"abc"

        return Stream(chunks())

    @get("/{name:str}")
    async def user(request: Request) -> str:
        return str(request.path_params["name"])

    @asgi("/legacy", is_mount=True, copy_scope=True)
    async def legacy(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    @websocket("/ws/{room:str}")
    async def ws(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    static = [create_static_files_router("/static", [str(files)])] if files else []
    handlers = [
        index,
        plain,
        item,
        fail,
        stream,
        Router("/users", route_handlers=[user]),
        legacy,
        ws,
        *static,
    ]
    return Litestar(handlers, logging_config=None, openapi_config=None, **more)


ROUTES = [
    ("GET", "/", 200, "/"),
    ("GET", "/plain", 200, "/plain"),
    ("GET", "/plain/", 200, "/plain"),
    ("GET", "/items/1", 200, "/items/{item}"),
    ("OPTIONS", "/items/1", 204, "/items/{item}"),
    ("POST", "/items/1", 405, "/items/{item}"),
    ("HEAD", "/items/1", 405, "/items/{item}"),
    ("GET", "/users/ann", 200, "/users/{name}"),
    ("GET", "/fail", 500, "/fail"),
    ("GET", "/legacy", 200, "/legacy/{path}"),
    ("GET", "/legacy/a/b", 200, "/legacy/{path}"),
    ("GET", "/items/none", 404, "unmatched"),
    ("GET", "/nowhere/1", 404, "unmatched"),
]


@pytest.mark.parametrize("around", [lambda app: app, ASGIMiddleware], ids=["alone", "by-hand"])
@pytest.mark.parametrize(("method", "path", "status", "route"), ROUTES)
def test_the_route_is_a_template_whatever_the_path(
    instrumented: Telemetry, around: Any, method: str, path: str, status: int, route: str
) -> None:
    answer = ask(around(litestar()), path, method)
    assert status == answer.status
    assert {("shop", method, str(status), route): 1} == instrumented.counts(REQUESTS)
    assert (None if route == "unmatched" else route) == instrumented.attributes().get("http.route")


def test_a_file_is_no_route(instrumented: Telemetry, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    app = litestar(tmp_path)
    assert [200, 404] == [ask(app, f"/static/{name}.txt").status for name in "ab"]
    assert {"/static/{file_path}"} == {labels[3] for labels in instrumented.counts(REQUESTS)}


def test_an_unhandled_exception_is_a_500_with_its_class(instrumented: Telemetry) -> None:
    ask(litestar(), "/fail")
    span = instrumented.server()
    assert (StatusCode.ERROR, "LookupError") == (span.status.status_code, span.attributes["error.type"])  # type: ignore[index]


def test_an_exception_that_the_application_handles_is_no_unhandled_one(instrumented: Telemetry) -> None:
    app = litestar(exception_handlers={LookupError: lambda request, error: Response("gone", status_code=410)})
    assert 410 == ask(app, "/fail").status
    assert "error.type" not in instrumented.attributes()


def test_an_answer_before_the_router_has_the_route_that_it_would_have_had(instrumented: Telemetry) -> None:
    headers = [("origin", "https://a.example"), ("access-control-request-method", "GET")]
    app = litestar(cors_config=CORSConfig(allow_origins=["https://a.example"]))
    assert 204 == ask(app, "/items/3", "OPTIONS", headers=headers).status
    assert "/items/{item}" == instrumented.attributes()["http.route"]


def test_mounted_it_adds_its_route_and_no_span(instrumented: Telemetry) -> None:
    app = Starlette(routes=[Mount("/{tenant}/api", litestar())])
    assert 200 == ask(app, "/acme/api/items/3").status
    assert "/{tenant}/api/items/{item}" == instrumented.attributes()["http.route"]


def test_below_a_root_path_the_route_has_it(instrumented: Telemetry) -> None:
    assert 200 == ask(litestar(), "/shop/items/3", root_path="/shop").status
    assert "/shop/items/{item}" == instrumented.attributes()["http.route"]


def test_a_stream_is_measured_to_its_end(instrumented: Telemetry) -> None:
    with TestClient(litestar()) as client:
        assert "abcabcabc" == client.get("/stream").text
    assert {("shop", "GET", "200", "/stream"): 1} == instrumented.counts(REQUESTS)
    assert 9 == instrumented.sums(REQUEST_SIZE)["shop", "response"]


def test_mounting_another_framework_it_has_both_parts_of_the_route(instrumented: Telemetry) -> None:
    inner = Starlette(routes=[Route("/a/{number}/", lambda request: PlainTextResponse("a"))])
    app = Litestar([asgi("/inner", is_mount=True, copy_scope=True)(inner)], openapi_config=None)
    assert 200 == ask(app, "/inner/a/1/").status
    assert "/inner/a/{number}/" == instrumented.attributes()["http.route"]


def test_a_websocket_has_its_route(instrumented: Telemetry) -> None:
    async def connect() -> None:
        scope = {**http_scope("/ws/blue"), "type": "websocket", "subprotocols": []}
        messages = iter([{"type": "websocket.connect"}])

        async def receive() -> dict[str, Any]:
            return next(messages, {"type": "websocket.disconnect", "code": 1000})

        async def send(message: Any) -> None: ...

        await litestar()(scope, receive, send)

    asyncio.run(connect())
    assert "/ws/{room}" == instrumented.attributes()["http.route"]


def test_applications_made_before_are_covered_and_everything_is_put_back(telemetry: Telemetry) -> None:
    app = litestar()
    LitestarInstrumentor().instrument()
    ask(app, "/items/1")
    LitestarInstrumentor().uninstrument()
    ask(app, "/items/1")
    assert 1 == len(telemetry.servers())
    assert not hasattr(Litestar.__call__, "__wrapped__")


def test_requests_at_the_same_time_have_their_own_routes(instrumented: Telemetry) -> None:
    app = litestar()

    async def all_of_them() -> None:
        await asyncio.gather(
            *(ask_async(app, http_scope(path)) for path in ("/items/1", "/users/a", "/plain"))
        )

    asyncio.run(all_of_them())
    assert {"/items/{item}", "/users/{name}", "/plain"} == {
        span.attributes["http.route"]
        for span in instrumented.servers()  # type: ignore[index]
    }


@pytest.mark.parametrize("own", [False, True], ids=["the process's provider", "its own"])
def test_its_own_telemetry_adds_no_span_unless_it_has_providers_of_its_own(
    instrumented: Telemetry, own: bool
) -> None:
    try:
        from litestar.plugins import opentelemetry as its_own
    except ImportError:  # where older versions have it
        from litestar.contrib import opentelemetry as its_own

    theirs = Telemetry()
    config = its_own.OpenTelemetryConfig(
        tracer_provider=theirs.tracer_provider if own else None,
        meter_provider=theirs.meter_provider if own else None,
    )
    assert 200 == ask(litestar(plugins=[its_own.OpenTelemetryPlugin(config)]), "/items/1").status
    assert ["GET /items/{item}"] == [span.name for span in instrumented.spans()]
    assert {"bext_otel"} == {scope.name for scope in instrumented.metric_scopes()}
    assert own is bool(theirs.spans())
