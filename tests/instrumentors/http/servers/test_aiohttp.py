"""aiohttp.web, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bext_otel.catalogue import HTTP_SERVER_ACTIVE_REQUESTS, REQUEST_SIZE, REQUESTS
from bext_otel_instrumentors.http.servers.aiohttp import AiohttpServerInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by, instrumenting

aiohttp = pytest.importorskip("aiohttp")
from aiohttp import web  # noqa: E402
from aiohttp.test_utils import TestClient, TestServer  # noqa: E402

instrumented = instrumented_by(AiohttpServerInstrumentor)


async def item(request: Any) -> Any:
    return web.Response(text=f"{request.match_info['item']} {len(await request.read())}")


async def fails(request: Any) -> Any:
    raise LookupError("no tea")


async def refuses(request: Any) -> Any:
    raise web.HTTPForbidden


async def streams(request: Any) -> Any:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(3):
        await response.write(b"tea")
    await response.write_eof()
    return response


async def echoes(request: Any) -> Any:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket


def application(folder: Path) -> Any:
    app = web.Application()
    inner = web.Application()
    for router in (app.router, inner.router):
        router.add_route("*", "/items/{item}", item)
    app.router.add_get("/fails", fails)
    app.router.add_get("/refuses", refuses)
    app.router.add_get("/streams", streams)
    app.router.add_get("/echoes/{room}", echoes)
    app.router.add_static("/files", folder)
    app.add_subapp("/inner/", inner)
    return app


def asking(folder: Path, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with TestClient(TestServer(application(folder))) as client:
            return await ask(client)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "status", "route"),
    [
        ("/items/1", 200, "/items/{item}"),
        ("/inner/items/1", 200, "/inner/items/{item}"),
        ("/fails", 500, "/fails"),
        ("/refuses", 403, "/refuses"),
        ("/streams", 200, "/streams"),
        ("/files/tea", 200, "/files/{filename}"),
        ("/files/none", 404, "/files/{filename}"),
        ("/none", 404, "unmatched"),
    ],
)
def test_a_request_is_measured(
    instrumented: Telemetry, tmp_path: Path, path: str, status: int, route: str
) -> None:
    (tmp_path / "tea").write_text("tea")

    async def ask(client: Any) -> Any:
        answer = await client.get(path)
        return answer.status, len(await answer.read())

    answered, length = asking(tmp_path, ask)
    assert status == answered
    assert {("shop", "GET", str(status), route): 1} == instrumented.counts(REQUESTS)
    attributes = instrumented.attributes()
    assert (status, path) == (attributes["http.response.status_code"], attributes["url.path"])
    assert ("127.0.0.1", "1.1") == (attributes["client.address"], attributes["network.protocol.version"])
    assert length == instrumented.sums(REQUEST_SIZE)["shop", "response"]
    assert "LookupError" == attributes.get("error.type", "LookupError")
    assert (status == 500) is (len(instrumented.server().events) == 1)
    assert path == instrumented.completion()["path"]
    assert {0} == {point.value for point in instrumented.points(HTTP_SERVER_ACTIVE_REQUESTS).values()}


def test_an_upload_in_chunks_is_counted(instrumented: Telemetry, tmp_path: Path) -> None:
    async def chunks() -> Any:
        for chunk in (b"1234", b"567"):
            yield chunk

    async def ask(client: Any) -> Any:
        return await (await client.post("/items/a", data=chunks())).text()

    assert "a 7" == asking(tmp_path, ask)
    assert 7 == instrumented.sums(REQUEST_SIZE)["shop", "request"]


def test_a_remote_parent_is_taken_on(instrumented: Telemetry, tmp_path: Path) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"

    async def ask(client: Any) -> Any:
        return await client.get("/items/1", headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})

    asking(tmp_path, ask)
    assert int(trace_id, 16) == instrumented.server().context.trace_id


def test_a_websocket_is_one_span_and_counted_by_its_handshake(
    instrumented: Telemetry, tmp_path: Path
) -> None:
    async def ask(client: Any) -> Any:
        async with client.ws_connect("/echoes/1") as socket:
            await socket.send_str("tea")
            return (await socket.receive()).data

    assert "tea" == asking(tmp_path, ask)
    assert {("shop", "GET", "101", "/echoes/{room}"): 1} == instrumented.counts(REQUESTS)
    assert "GET /echoes/{room}" == instrumented.server().name
    assert "ws" == instrumented.attributes()["url.scheme"]


def test_what_nothing_matched_has_the_route_that_the_operator_knows(
    use_telemetry: Callable[..., Telemetry], tmp_path: Path
) -> None:
    asked = []

    def known(app: str, path: str, scope: Any) -> str:
        asked.append((app, path, scope["type"], scope["query_string"], dict(scope["headers"])[b"x-tea"]))
        return "/old/{name}"

    async def ask(client: Any) -> Any:
        return [
            (await client.get(path, headers={"X-Tea": "mint"})).status for path in ("/items/1", "/old/1?a=b")
        ]

    telemetry = use_telemetry(route_of=known)
    with instrumenting(AiohttpServerInstrumentor):
        assert [200, 404] == asking(tmp_path, ask)
    assert [("shop", "/old/1", "http", b"a=b", b"mint")] == asked
    assert {("shop", "GET", "200", "/items/{item}"): 1, ("shop", "GET", "404", "/old/{name}"): 1} == (
        telemetry.counts(REQUESTS)
    )
    assert {"GET /items/{item}", "GET /old/{name}"} == {span.name for span in telemetry.servers()}


def test_what_is_excluded_is_not_measured(
    telemetry: Telemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_AIOHTTP_SERVER_EXCLUDED_URLS", "items")

    async def ask(client: Any) -> Any:
        return [(await client.get(path)).status for path in ("/items/1", "/none")]

    with instrumenting(AiohttpServerInstrumentor):
        assert [200, 404] == asking(tmp_path, ask)
    assert {("shop", "GET", "404", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_endpoints_answer_on_the_application_s_port(telemetry: Telemetry, tmp_path: Path) -> None:
    class Mount:
        def owns(self, path: str) -> bool:
            return path == "/metrics"

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"content-type", b"text/x-tea")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": scope["method"].encode()})

    async def ask(client: Any) -> Any:
        answer = await client.get("/metrics")
        return answer.status, answer.content_type, await answer.text()

    told: list[str] = []
    with instrumenting(AiohttpServerInstrumentor, asgi=Mount(), on_serving=lambda: told.append("serving")):
        assert (200, "text/x-tea", "GET") == asking(tmp_path, ask)
    assert {} == telemetry.counts(REQUESTS)
    assert told


@pytest.mark.filterwarnings("ignore:Inheritance class _InstrumentedApplication:DeprecationWarning")
@pytest.mark.parametrize("own", [False, True], ids=["the process's provider", "its own"])
def test_upstream_s_middleware_stands_down_unless_it_has_a_provider_of_its_own(
    telemetry: Telemetry, tmp_path: Path, own: bool
) -> None:
    upstream = pytest.importorskip("opentelemetry.instrumentation.aiohttp_server").AioHttpServerInstrumentor()
    theirs = Telemetry()

    async def ask(client: Any) -> Any:
        return (await client.get("/items/1")).status

    with instrumenting(AiohttpServerInstrumentor):
        upstream.instrument(tracer_provider=theirs.tracer_provider if own else None)
        try:
            assert 200 == asking(tmp_path, ask)
        finally:
            upstream.uninstrument()
    assert (1, int(own)) == (len(telemetry.servers()), len(theirs.servers()))
    assert 1 == sum(telemetry.counts(REQUESTS).values())
