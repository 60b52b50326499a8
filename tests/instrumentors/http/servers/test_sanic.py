"""Sanic's own server, over real sockets, in a loop that runs already."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bext_otel.catalogue import HTTP_SERVER_ACTIVE_REQUESTS, REQUEST_SIZE, REQUESTS
from bext_otel_instrumentors.http.servers.sanic import SanicServerInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by, instrumenting
from tests.waiting import until

pytest.importorskip("sanic")
from sanic import Sanic, text

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

instrumented = instrumented_by(SanicServerInstrumentor)


def application() -> Any:
    Sanic.test_mode = True  # what it rewrites, it rewrites anew for each application then
    app = Sanic(f"shop_{id(object())}", configure_logging=False)
    app.ctx.entered = []

    @app.get("/items/<item:int>")
    async def item(request: Any, item: int) -> Any:
        return text(str(item))

    @app.post("/uploads/<name>", stream=True)
    async def upload(request: Any, name: str) -> Any:
        return text(str(sum([len(part) async for part in request.stream])))

    @app.get("/stream")
    async def stream(request: Any) -> None:
        response = await request.respond(headers={"content-length": "6"})
        await response.send(b"abc")
        await response.send(b"def", end_stream=True)

    @app.get("/waits")
    async def waits(request: Any) -> Any:
        app.ctx.entered.append(request)
        await asyncio.Event().wait()

    return app


def talk(conversation: Callable[[Any, int], Awaitable[Any]], app: Any = None, **config: Any) -> Any:
    """`conversation` with a server of `app`, which has ended when it returns."""
    app = app or application()

    async def run() -> Any:
        app.config.update(config)
        listener = socket.create_server(("127.0.0.1", 0))
        server = await app.create_server(sock=listener, return_asyncio_server=True, access_log=False)
        await server.startup()
        await server.before_start()
        await server.after_start()
        try:
            return await conversation(app, listener.getsockname()[1])
        finally:
            await server.close()

    try:
        return asyncio.run(run())
    finally:
        Sanic.unregister_app(app)


def sending(request: bytes) -> Callable[[Any, int], Awaitable[bytes]]:
    async def conversation(app: Any, port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return answer

    return conversation


def get(path: str, *, last: bool = True, method: str = "GET") -> bytes:
    close = "Connection: close\r\n" if last else "Connection: keep-alive\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: shop.example\r\n{close}\r\n".encode()


def test_requests_of_one_connection_are_measured_once_each(instrumented: Telemetry) -> None:
    answer = talk(sending(get("/items/1?token=abc", last=False) + get("/none", last=False) + get("/stream")))
    assert [b"200", b"404", b"200"] == [
        part[:3] for part in answer.replace(b"HTTP/1.1 ", b"\0").split(b"\0")[1:]
    ]
    assert {
        ("shop", "GET", "200", "/items/<item:int>"): 1,
        ("shop", "GET", "404", "unmatched"): 1,
        ("shop", "GET", "200", "/stream"): 1,
    } == instrumented.counts(REQUESTS)
    assert [None, None, None] == [span.parent for span in instrumented.servers()]
    first = dict(instrumented.servers()[0].attributes or {})
    assert ("/items/1", "127.0.0.1", "1.1") == (
        first["url.path"],
        first["client.address"],
        first["network.protocol.version"],
    )
    assert {0} == {point.value for point in instrumented.points(HTTP_SERVER_ACTIVE_REQUESTS).values()}


def test_what_is_streamed_either_way_is_counted(instrumented: Telemetry) -> None:
    talk(
        sending(
            b"POST /uploads/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"4\r\nabcd\r\n3\r\nefg\r\n0\r\n\r\n"
        )
    )
    assert 7 == instrumented.sums(REQUEST_SIZE)["shop", "request"]
    assert 1 == instrumented.sums(REQUEST_SIZE)["shop", "response"]
    talk(sending(get("/stream")))
    assert 1 + 6 == instrumented.sums(REQUEST_SIZE)["shop", "response"]


def test_an_answer_to_head_has_no_body(instrumented: Telemetry) -> None:
    app = application()
    app.head("/items/<item:int>", name="head")(lambda request, item: text("abc"))
    talk(sending(get("/items/1", method="HEAD")), app)
    assert 0 == instrumented.sums(REQUEST_SIZE).get(("shop", "response"), 0)


def test_a_client_that_leaves_before_its_answer_is_a_499(instrumented: Telemetry) -> None:
    async def leaves(app: Any, port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/waits"))
        await asyncio.to_thread(until, lambda: app.ctx.entered)
        writer.close()
        await asyncio.to_thread(until, instrumented.servers)

    talk(leaves)
    assert {("shop", "GET", "499", "/waits"): 1} == instrumented.counts(REQUESTS)


def test_a_deadline_of_sanic_s_is_the_answer_that_it_sends(instrumented: Telemetry) -> None:
    assert b"503" in talk(sending(get("/waits")), RESPONSE_TIMEOUT=0.1)[:20]
    assert {("shop", "GET", "503", "/waits"): 1} == instrumented.counts(REQUESTS)


def test_what_is_no_request_is_none(instrumented: Telemetry) -> None:
    assert b"400" in talk(sending(b"nonsense\r\n\r\n"))[:20]
    assert {} == instrumented.counts(REQUESTS)


def test_what_nothing_matched_has_the_route_that_the_operator_knows(
    use_telemetry: Callable[..., Telemetry],
) -> None:
    asked = []

    def known(app: str, path: str, scope: Any) -> str:
        asked.append((app, path, scope["type"], scope["query_string"], dict(scope["headers"])[b"host"]))
        return "/old/{name}"

    telemetry = use_telemetry(route_of=known)
    with instrumenting(SanicServerInstrumentor):
        talk(sending(get("/items/1", last=False) + get("/old/1?a=b")))
    assert [("shop", "/old/1", "http", b"a=b", b"shop.example")] == asked
    assert {("shop", "GET", "200", "/items/<item:int>"): 1, ("shop", "GET", "404", "/old/{name}"): 1} == (
        telemetry.counts(REQUESTS)
    )


class Mount:
    """Endpoints, of which one is broken."""

    def owns(self, path: str) -> bool:
        return path in {"/metrics", "/items/1"}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/items/1":
            raise OSError("no endpoint")
        body = f"{scope['method']} {scope['query_string'].decode()} {scope['client'][0]}".encode()
        headers = [(b"content-type", b"text/x-tea"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


@pytest.mark.parametrize(
    ("method", "body"), [("GET", b"GET a=1 127.0.0.1"), ("HEAD", b""), ("POST", b"POST a=1 127.0.0.1")]
)
def test_endpoints_answer_on_the_application_s_port(telemetry: Telemetry, method: str, body: bytes) -> None:
    app = application()
    touched: list[str] = []
    app.middleware("response")(lambda request, response: touched.append(request.path))
    asked = get("/metrics?a=1", method=method, last=False)
    if method == "POST":
        asked = asked.removesuffix(b"\r\n") + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000
    with instrumenting(SanicServerInstrumentor, asgi=Mount()):
        answer = talk(sending(asked + get("/items/2")), app)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert (1, 1) == (head.count(b"content-type: text/x-tea"), head.lower().count(b"content-length"))
    assert rest.startswith(body + b"HTTP/1.1 200 OK")
    assert rest.endswith(b"\r\n\r\n2")
    assert ["/items/2"] == touched
    assert {("shop", "GET", "200", "/items/<item:int>"): 1} == telemetry.counts(REQUESTS)


def test_where_an_endpoint_fails_the_application_answers(telemetry: Telemetry) -> None:
    with instrumenting(SanicServerInstrumentor, asgi=Mount()):
        assert talk(sending(get("/items/1"))).endswith(b"\r\n\r\n1")
    assert {("shop", "GET", "200", "/items/<item:int>"): 1} == telemetry.counts(REQUESTS)


def test_excluded_paths_are_left_out(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_SANIC_EXCLUDED_URLS", "items")
    with instrumenting(SanicServerInstrumentor):
        talk(sending(get("/items/1", last=False) + get("/none")))
    assert {("shop", "GET", "404", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_who_serves_is_told_before_any_request(telemetry: Telemetry) -> None:
    told: list[str] = []

    async def nothing(app: Any, port: int) -> list[str]:
        return list(told)

    with instrumenting(SanicServerInstrumentor, on_serving=lambda: told.append("serving")):
        assert ["serving"] == talk(nothing)


def test_undone_nothing_is_left(telemetry: Telemetry) -> None:
    http = sys.modules["sanic.http.http1"].Http
    before = http.http1
    with instrumenting(SanicServerInstrumentor):
        assert before is not http.http1
    assert before is http.http1
    talk(sending(get("/items/1")))
    assert [] == telemetry.spans()
