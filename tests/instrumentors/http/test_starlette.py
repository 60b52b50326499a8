"""Starlette and FastAPI: route templates, and applications made before and after."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Host, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from bext_otel.catalogue import REQUEST_DURATION, REQUEST_SIZE, REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask, ask_async, http_scope
from tests.instrumentors.starlettes import tells_its_route

instrumented = instrumented_by(StarletteInstrumentor)


async def hello(_: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def fail(_: Any) -> PlainTextResponse:
    raise LookupError("lost")


def starlette(directory: Path) -> Starlette:
    inner = Starlette(routes=[Route("/items/{item:int}", hello), Route("/fail", fail)])
    return Starlette(
        routes=[
            Route("/a/{name}", hello),
            Route("/only-post", hello, methods=["POST"]),
            Route("/fail", fail),
            Mount("/users/{user}", app=inner),
            Mount("/v1", routes=[Mount("/deep/{level}", routes=[Route("/x/{y}", hello)])]),
            Mount("/static", app=StaticFiles(directory=directory)),
            Host("{tenant}.shop.example", app=inner),
        ]
    )


def labels(telemetry: Telemetry) -> list[tuple[str, str]]:
    """Status and route of what was counted."""
    return [(status, route) for (_, _, status, route) in telemetry.counts(REQUESTS)]


@pytest.mark.parametrize(
    ("path", "status", "route"),
    [
        ("/a/b", 200, "/a/{name}"),
        ("/users/42/items/7", 200, "/users/{user}/items/{item:int}"),
        ("/v1/deep/3/x/4", 200, "/v1/deep/{level}/x/{y}"),
        ("/static/page.txt", 200, "/static/{path}"),
        ("/static/missing.txt", 404, "/static/{path}"),
        ("/only-post", 405, "/only-post"),
        ("/missing", 404, None),
        ("/users/42/missing", 404, None),
        ("/a/b/", 307, None),
    ],
)
def test_the_route_is_a_template_whatever_the_path(
    instrumented: Telemetry, tmp_path: Path, path: str, status: int, route: str | None
) -> None:
    (tmp_path / "page.txt").write_text("page")
    assert status == ask(starlette(tmp_path), path).status
    assert route == instrumented.attributes().get("http.route")
    assert ("GET" if route is None else f"GET {route}") == instrumented.server().name
    assert [(str(status), route or "unmatched")] == labels(instrumented)
    assert {("shop", route or "unmatched"): 1} == instrumented.counts(REQUEST_DURATION)


def test_a_route_under_a_host_has_its_own_template(instrumented: Telemetry, tmp_path: Path) -> None:
    scope = {**http_scope("/items/7"), "headers": [(b"host", b"acme.shop.example")]}
    asyncio.run(ask_async(starlette(tmp_path), scope))
    assert "/items/{item:int}" == instrumented.attributes()["http.route"]


def test_what_the_server_mounts_the_application_under_is_part_of_the_route(
    instrumented: Telemetry, tmp_path: Path
) -> None:
    ask(starlette(tmp_path), "/api/users/1/items/2", root_path="/api")
    assert "/api/users/{user}/items/{item:int}" == instrumented.attributes()["http.route"]


def test_an_unhandled_exception_is_a_500_with_its_class(instrumented: Telemetry, tmp_path: Path) -> None:
    """Starlette answers first and raises then."""
    with pytest.raises(LookupError):
        ask(starlette(tmp_path), "/users/1/fail")
    span = instrumented.server()
    assert ("GET /users/{user}/fail", StatusCode.ERROR) == (span.name, span.status.status_code)
    assert (500, "LookupError") == (
        instrumented.attributes()["http.response.status_code"],
        instrumented.attributes()["error.type"],
    )
    assert [("500", "/users/{user}/fail")] == labels(instrumented)
    assert len(b"Internal Server Error") == instrumented.sums(REQUEST_SIZE)["shop", "response"]


def test_a_client_that_left_is_not_the_applications_failure(instrumented: Telemetry) -> None:
    """Starlette raises ClientDisconnect, and answers nobody with a 500."""

    async def read(request: Any) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def ignore(_: Any) -> None:
        return None

    scope = http_scope("/read", "POST")
    with pytest.raises(ClientDisconnect):
        asyncio.run(Starlette(routes=[Route("/read", read, methods=["POST"])])(scope, gone, ignore))
    assert [("499", "/read")] == labels(instrumented)
    assert StatusCode.UNSET is instrumented.server().status.status_code


def test_streams_are_measured_to_their_last_byte_and_background_tasks_are_not(
    instrumented: Telemetry,
) -> None:
    seen: list[int] = []

    async def chunks() -> Any:
        for _ in range(3):
            seen.append(len(instrumented.spans()))
            yield b"12345"

    async def background() -> None:
        for _ in range(2000):
            if instrumented.spans():
                break
            await asyncio.sleep(0.005)
        seen.append(len(instrumented.spans()))

    async def stream(_: Any) -> StreamingResponse:
        return StreamingResponse(chunks(), background=BackgroundTask(background))

    ask(Starlette(routes=[Route("/stream", stream)]), "/stream")
    assert [0, 0, 0, 1] == seen
    assert 15 == instrumented.sums(REQUEST_SIZE)["shop", "response"]


@pytest.mark.parametrize(
    "middleware",
    [[], [Middleware(BaseHTTPMiddleware, dispatch=lambda request, call_next: call_next(request))]],
)
def test_a_stream_that_breaks_is_a_failure_whatever_middleware_ends_the_answer(
    instrumented: Telemetry, middleware: list[Any]
) -> None:
    async def chunks() -> Any:
        yield b"12345"
        raise LookupError("broken")

    async def stream(_: Any) -> StreamingResponse:
        return StreamingResponse(chunks())

    with pytest.raises(LookupError):
        ask(Starlette(routes=[Route("/stream", stream)], middleware=middleware), "/stream")
    assert [("500", "/stream")] == labels(instrumented)
    assert "LookupError" == instrumented.attributes()["error.type"]
    assert StatusCode.ERROR is instrumented.server().status.status_code


def test_a_background_task_that_fails_at_once_is_a_failure_of_its_request(instrumented: Telemetry) -> None:
    def background() -> None:
        raise LookupError("lost")

    async def answer(_: Any) -> PlainTextResponse:
        return PlainTextResponse("x", background=BackgroundTask(background))

    with pytest.raises(LookupError):
        ask(Starlette(routes=[Route("/x", answer)]), "/x")
    assert "LookupError" == instrumented.attributes()["error.type"]


def test_a_middleware_that_copies_the_scope_hides_no_route(instrumented: Telemetry) -> None:
    class Copying:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app({**scope}, receive, send)

    ask(Starlette(routes=[Route("/a/{b}", hello)], middleware=[Middleware(Copying)]), "/a/1")
    assert "/a/{b}" == instrumented.attributes()["http.route"]


def test_a_websocket_has_its_route(instrumented: Telemetry) -> None:
    async def endpoint(websocket: Any) -> None:
        await websocket.accept()
        await websocket.close(1000)

    scope = {**http_scope("/ws/7"), "type": "websocket", "scheme": "ws", "subprotocols": []}
    del scope["method"]

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(_: Any) -> None:
        return None

    asyncio.run(Starlette(routes=[WebSocketRoute("/ws/{room}", endpoint)])(scope, receive, send))
    assert "GET /ws/{room}" == instrumented.server().name
    assert [("101", "/ws/{room}")] == labels(instrumented)


def fastapi() -> FastAPI:
    app, router, deeper, below = FastAPI(), APIRouter(prefix="/r"), APIRouter(prefix="/deeper"), FastAPI()

    @app.get("/plain/{number}")
    def plain(number: int) -> int:
        return number

    @router.get("/in/{x}")
    def included(x: str) -> str:
        return x

    @deeper.get("/x/{y}")
    def deep(y: str) -> str:
        return y

    @below.get("/z/{z}")
    def mounted(z: str) -> str:
        return z

    @app.get("/fail")
    def failing() -> None:
        raise LookupError("lost")

    router.include_router(deeper)
    app.include_router(router, prefix="/api")
    app.mount("/below/{tenant}", below)
    return app


@pytest.mark.parametrize(
    ("method", "path", "status", "route"),
    [
        ("GET", "/plain/1", 200, "/plain/{number}"),
        ("GET", "/plain/one", 422, "/plain/{number}"),
        ("GET", "/api/r/in/1", 200, "/api/r/in/{x}"),
        ("GET", "/api/r/deeper/x/1", 200, "/api/r/deeper/x/{y}"),
        ("POST", "/api/r/in/1", 405, "/api/r/in/{x}"),
        ("GET", "/below/acme/z/1", 200, "/below/{tenant}/z/{z}"),
        ("GET", "/below/acme/missing", 404, None),
        ("GET", "/openapi.json", 200, "/openapi.json"),
        ("GET", "/missing", 404, None),
    ],
)
def test_fastapi_has_the_whole_template_and_one_server_span(
    instrumented: Telemetry, method: str, path: str, status: int, route: str | None
) -> None:
    assert status == ask(fastapi(), path, method).status
    assert route == instrumented.attributes().get("http.route")
    assert [(str(status), route or "unmatched")] == labels(instrumented)
    assert ["bext_otel"] == [span.instrumentation_scope.name for span in instrumented.servers()]


def test_an_unhandled_exception_in_fastapi_is_a_500_with_its_class(instrumented: Telemetry) -> None:
    with pytest.raises(LookupError):
        ask(fastapi(), "/fail")
    assert (500, "LookupError") == (
        instrumented.attributes()["http.response.status_code"],
        instrumented.attributes()["error.type"],
    )


def test_our_middleware_around_fastapi_is_its_only_server_span(telemetry: Telemetry) -> None:
    """Without the instrumentor, too: FastAPI measures itself unless it is told otherwise."""
    ask(ASGIMiddleware(fastapi()), "/api/r/in/1")
    assert ["bext_otel"] == [span.instrumentation_scope.name for span in telemetry.spans()]
    assert "/api/r/in/{x}" == telemetry.attributes()["http.route"]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/a/b", "/a/{name}"),
        ("/users/42/items/7", "/users/{user}/items/{item:int}"),
        ("/v1/deep/3/x/4", "/v1/deep/{level}/x/{y}"),
        ("/static/page.txt", "/static/{path}"),
        ("/missing", None),
        ("/users/42/missing", None),
        # Older ones are asked for their routes, and know better.
        pytest.param("/users/users/items/7", None, marks=tells_its_route),
    ],
)
def test_our_middleware_alone_guesses_templates_from_the_scope(
    telemetry: Telemetry, tmp_path: Path, path: str, route: str | None
) -> None:
    """Where that cannot be done without a value that the client chose, there is none."""
    (tmp_path / "page.txt").write_text("page")
    ask(ASGIMiddleware(starlette(tmp_path)), path)
    assert route == telemetry.attributes().get("http.route")


def test_applications_made_before_are_covered_and_everything_is_put_back(telemetry: Telemetry) -> None:
    owners = (Starlette, FastAPI, Route, Mount, WebSocketRoute)
    before = {
        (owner, name): vars(owner).get(name)
        for owner in owners
        for name in ("__call__", "__init__", "handle")
    }
    app = Starlette(routes=[Route("/a/{b}", hello)])
    instrumentor = StarletteInstrumentor()
    for _ in range(2):
        ask(app, "/a/1")
        assert [] == telemetry.servers()
        instrumentor.instrument()
        ask(app, "/a/1")
        assert "GET /a/{b}" == telemetry.server().name
        instrumentor.uninstrument()
        telemetry.clear()
    assert before == {(owner, name): vars(owner).get(name) for owner, name in before}


@pytest.mark.parametrize(("disabled", "measured"), [("fastapi", "/starlette"), ("starlette", "/fastapi")])
def test_one_of_the_two_can_be_left_alone(telemetry: Telemetry, disabled: str, measured: str) -> None:
    api = FastAPI()
    api.add_api_route("/fastapi", lambda: "x")
    StarletteInstrumentor().instrument(disabled=frozenset({disabled}))
    try:
        assert 200 == ask(api, "/fastapi").status
        assert 200 == ask(Starlette(routes=[Route("/starlette", hello)]), "/starlette").status
    finally:
        StarletteInstrumentor().uninstrument()
    assert [("200", measured)] == labels(telemetry)


def test_fastapi_is_covered_when_it_is_imported_later() -> None:
    """In a process of its own, since here it is imported already."""
    code = """
import asyncio, sys
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
StarletteInstrumentor().instrument()
assert "fastapi" not in sys.modules
import fastapi
from tests.instrumentors.driving import ask
seen = []
from bext_otel_instrumentors.http import asgi
original = asgi.exchange_for
asgi.exchange_for = lambda *a, **k: seen.append(1) or original(*a, **k)
app = fastapi.FastAPI()
ask(app, "/missing")
assert seen == [1], seen
StarletteInstrumentor().uninstrument()
ask(app, "/missing")
assert seen == [1], seen
"""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60, cwd=root
    )
    assert (0, "") == (done.returncode, done.stderr)


class Unauthorized:
    """A middleware that answers before anything is routed."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        else:
            await PlainTextResponse("no", 401)(scope, receive, send)


@pytest.mark.parametrize(
    ("path", "host", "route"),
    [
        ("/a/b", "", "/a/{name}"),
        ("/users/42/items/7", "", "/users/{user}/items/{item:int}"),
        ("/v1/deep/3/x/4", "", "/v1/deep/{level}/x/{y}"),
        ("/static/page.txt", "", "/static/{path}"),
        ("/only-post", "", "/only-post"),
        ("/items/7", "a.shop.example", "/items/{item:int}"),
        ("/missing", "", None),
        ("/users/42/missing", "", None),
    ],
)
def test_an_answer_before_routing_has_the_route_that_it_would_have_had(
    instrumented: Telemetry, tmp_path: Path, path: str, host: str, route: str | None
) -> None:
    app = starlette(tmp_path)
    app.add_middleware(Unauthorized)
    headers = [(b"host", host.encode())]
    assert (
        401
        == asyncio.run(
            ask_async(app, {**http_scope(f"/under{path}", root_path="/under"), "headers": headers})
        ).status
    )
    assert [("401", "unmatched" if route is None else f"/under{route}")] == labels(instrumented)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/plain/1", "/plain/{number}"),
        ("/api/r/in/1", "/api/r/in/{x}"),
        ("/api/r/deeper/x/1", "/api/r/deeper/x/{y}"),
        ("/below/acme/z/1", "/below/{tenant}/z/{z}"),
        ("/missing", None),
    ],
)
@pytest.mark.parametrize("by_hand", [False, True])
def test_an_answer_of_fastapi_before_routing_has_its_route(
    telemetry: Telemetry, path: str, route: str | None, by_hand: bool
) -> None:
    app = fastapi()
    app.add_middleware(Unauthorized)
    if by_hand:
        ask(ASGIMiddleware(app), path)
    else:
        StarletteInstrumentor().instrument()
        try:
            ask(app, path)
        finally:
            StarletteInstrumentor().uninstrument()
    assert [("401", route or "unmatched")] == labels(telemetry)


def test_an_answer_of_an_application_below_a_mount_has_its_route(instrumented: Telemetry) -> None:
    below = fastapi()
    below.add_middleware(Unauthorized)
    ask(Starlette(routes=[Mount("/v/{version}", app=below)]), "/v/1/api/r/in/1")
    assert [("401", "/v/{version}/api/r/in/{x}")] == labels(instrumented)


def test_a_preflight_has_the_route_of_what_it_asks_for(instrumented: Telemetry) -> None:
    app = fastapi()
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
    headers = [("origin", "http://shop.example"), ("access-control-request-method", "GET")]
    assert 200 == ask(app, "/api/r/in/1", "OPTIONS", headers=headers).status
    assert [("200", "/api/r/in/{x}")] == labels(instrumented)


def test_asking_for_a_route_leaves_the_request_as_it_was(instrumented: Telemetry) -> None:
    app, scope = fastapi(), http_scope("/api/r/in/1")
    app.add_middleware(Unauthorized)
    asyncio.run(ask_async(app, scope))
    assert {**http_scope("/api/r/in/1"), "app": app} == scope


def test_routes_that_cannot_be_asked_are_no_failure(
    instrumented: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Route):
        def matches(self, scope: Any) -> Any:
            raise ZeroDivisionError

    app = Starlette(routes=[Broken("/a", hello)], middleware=[Middleware(Unauthorized)])
    assert 401 == ask(app, "/a").status
    assert [("401", "unmatched")] == labels(instrumented)
    assert "" == caplog.text
