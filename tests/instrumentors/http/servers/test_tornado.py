"""Tornado's HTTPServer, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bext_otel.catalogue import HTTP_SERVER_ACTIVE_REQUESTS, REQUEST_SIZE, REQUESTS
from bext_otel_instrumentors.http.servers.tornado import TornadoServerInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by, instrumenting
from tests.waiting import until

pytest.importorskip("tornado")
from tornado import httpclient, httpserver, routing, testing, web, websocket, wsgi
from tornado.httputil import HTTPHeaders

instrumented = instrumented_by(TornadoServerInstrumentor)


class Item(web.RequestHandler):
    async def get(self, item: str) -> None:
        await asyncio.sleep(0)
        self.write(item)

    def post(self, item: str) -> None:
        self.write(str(len(self.request.body)))


class Fails(web.RequestHandler):
    def get(self) -> None:
        raise LookupError("no tea")


class Refuses(web.RequestHandler):
    def get(self) -> None:
        raise web.HTTPError(403)


class Streams(web.RequestHandler):
    async def get(self) -> None:
        for _ in range(3):
            self.write(b"tea")
            await self.flush()


class Echoes(websocket.WebSocketHandler):
    def on_message(self, message: Any) -> Any:
        return self.write_message(message)


def application() -> Any:
    inner = web.Application([(r"/inner/items/(?P<item>\w+)", Item)])
    app = web.Application(
        [
            (r"/items/(\w+)", Item),
            (r"/fails", Fails),
            (r"/refuses", Refuses),
            (r"/streams", Streams),
            (r"/echoes/(\w+)", Echoes2),
        ]
    )
    return routing.RuleRouter(
        [
            routing.Rule(routing.PathMatches("/inner/.*"), inner),
            routing.Rule(routing.PathMatches("/.*"), app),
        ]
    )


class Echoes2(Echoes):
    def open(self, room: str) -> None:
        """Rooms are all the same."""


def asking(app: Any, ask: Callable[[int], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        listening, port = testing.bind_unused_port()
        server = httpserver.HTTPServer(app, **options)
        server.add_socket(listening)
        try:
            return await ask(port)
        finally:
            server.stop()
            await server.close_all_connections()

    return asyncio.run(run())


def fetching(path: str, **options: Any) -> Callable[[int], Awaitable[Any]]:
    async def ask(port: int) -> Any:
        client = httpclient.AsyncHTTPClient()
        return await client.fetch(f"http://127.0.0.1:{port}{path}", raise_error=False, **options)

    return ask


@pytest.mark.parametrize(
    ("path", "status", "route"),
    [
        ("/items/1", 200, "/items/{arg1}"),
        ("/inner/items/1", 200, "/inner/items/{item}"),
        ("/fails", 500, "/fails"),
        ("/refuses", 403, "/refuses"),
        ("/streams", 200, "/streams"),
        ("/none", 404, "unmatched"),
        ("/inner/none", 404, "unmatched"),
    ],
)
def test_a_request_is_measured(instrumented: Telemetry, path: str, status: int, route: str) -> None:
    answer = asking(application(), fetching(f"{path}?q=1"))
    assert status == answer.code
    assert {("shop", "GET", str(status), route): 1} == instrumented.counts(REQUESTS)
    attributes = instrumented.attributes()
    assert (status, path, "q=1") == (
        attributes["http.response.status_code"],
        attributes["url.path"],
        attributes["url.query"],
    )
    assert ("127.0.0.1", "1.1") == (attributes["client.address"], attributes["network.protocol.version"])
    assert len(answer.body) == instrumented.sums(REQUEST_SIZE)["shop", "response"]
    assert (status == 500) is (len(instrumented.server().events) == 1)
    assert path == instrumented.completion()["path"]
    assert {0} == {point.value for point in instrumented.points(HTTP_SERVER_ACTIVE_REQUESTS).values()}


def test_an_upload_is_counted(instrumented: Telemetry) -> None:
    answer = asking(application(), fetching("/items/a", method="POST", body=b"1234567"))
    assert b"7" == answer.body
    assert 7 == instrumented.sums(REQUEST_SIZE)["shop", "request"]


def test_who_a_proxy_says_that_the_client_is_is_believed_as_the_server_does(instrumented: Telemetry) -> None:
    headers = HTTPHeaders({"X-Real-Ip": "192.0.2.7", "X-Forwarded-Proto": "https"})
    asking(application(), fetching("/items/1", headers=headers), xheaders=True)
    attributes = instrumented.attributes()
    assert ("192.0.2.7", "https") == (attributes["client.address"], attributes["url.scheme"])


def test_a_websocket_is_one_span_and_counted_by_its_handshake(instrumented: Telemetry) -> None:
    async def ask(port: int) -> Any:
        socket = await websocket.websocket_connect(f"ws://127.0.0.1:{port}/echoes/1")
        assert {("shop", "GET", "101", "/echoes/{arg1}"): 1} == instrumented.counts(REQUESTS)
        assert [] == instrumented.spans()
        await socket.write_message("tea")
        said = await socket.read_message()
        socket.close()
        await asyncio.to_thread(until, instrumented.spans)
        return said

    assert "tea" == asking(application(), ask)
    assert {("shop", "GET", "101", "/echoes/{arg1}"): 1} == instrumented.counts(REQUESTS)
    assert ("GET /echoes/{arg1}", "ws") == (
        instrumented.server().name,
        instrumented.attributes()["url.scheme"],
    )


def test_a_client_that_leaves_is_no_error(instrumented: Telemetry) -> None:
    left = asyncio.Event()

    class Waits(web.RequestHandler):
        async def get(self) -> None:
            await left.wait()

    async def ask(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.to_thread(until, instrumented.spans)
        left.set()
        await asyncio.sleep(0)

    asking(web.Application([("/waits", Waits)]), ask)
    assert {("shop", "GET", "499", "/waits"): 1} == instrumented.counts(REQUESTS)


def test_a_wsgi_application_in_it_is_measured_once(instrumented: Telemetry) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"tea"]

    answer = asking(wsgi.WSGIContainer(app), fetching("/a"))
    assert b"tea" == answer.body
    assert {("shop", "GET", "200", "unmatched"): 1} == instrumented.counts(REQUESTS)


def test_what_nothing_matched_has_the_route_that_the_operator_knows(
    use_telemetry: Callable[..., Telemetry],
) -> None:
    asked = []

    def known(app: str, path: str, scope: Any) -> str:
        asked.append((app, path, scope["type"], scope["query_string"]))
        return "/old/{name}"

    telemetry = use_telemetry(route_of=known)
    with instrumenting(TornadoServerInstrumentor):
        assert 200 == asking(application(), fetching("/items/1")).code
        assert 404 == asking(application(), fetching("/old/1?a=b")).code
    assert [("shop", "/old/1", "http", b"a=b")] == asked
    assert {("shop", "GET", "200", "/items/{arg1}"): 1, ("shop", "GET", "404", "/old/{name}"): 1} == (
        telemetry.counts(REQUESTS)
    )
    assert "GET /old/{name}" == telemetry.servers()[1].name


def test_what_is_excluded_is_not_measured(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_TORNADO_EXCLUDED_URLS", "items")
    with instrumenting(TornadoServerInstrumentor):
        assert 200 == asking(application(), fetching("/items/1")).code
    assert ({}, []) == (telemetry.counts(REQUESTS), telemetry.spans())


def test_that_it_listens_is_told(telemetry: Telemetry) -> None:
    told: list[str] = []
    with instrumenting(TornadoServerInstrumentor, on_serving=lambda: told.append("serving")):
        asking(application(), fetching("/items/1"))
    assert "serving" in told


class Mount:
    """Endpoints, of which one is broken."""

    def owns(self, path: str) -> bool:
        return path in {"/metrics", "/fails"}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fails":
            raise OSError("no endpoint")
        body = f"{scope['method']} {scope['query_string'].decode()} {dict(scope['headers'])[b'x-a'].decode()}"
        headers = [(b"content-type", b"text/x-tea"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body.encode()}
        )


@pytest.mark.parametrize("xheaders", [False, True])
@pytest.mark.parametrize(
    ("method", "body", "said"),
    [("GET", None, b"GET a=1 tea"), ("HEAD", None, b""), ("POST", b"x" * 100_000, b"POST a=1 tea")],
)
def test_endpoints_answer_on_the_application_s_port(
    telemetry: Telemetry, method: str, body: bytes | None, said: bytes, xheaders: bool
) -> None:
    ask = fetching("/metrics?a=1", method=method, body=body, headers={"X-A": "tea"})
    with instrumenting(TornadoServerInstrumentor, asgi=Mount()):
        answer = asking(application(), ask, xheaders=xheaders)
    assert (200, "text/x-tea", said) == (answer.code, answer.headers["Content-Type"], answer.body)
    assert ({}, []) == (telemetry.counts(REQUESTS), telemetry.spans())


def test_where_an_endpoint_fails_the_application_answers(telemetry: Telemetry) -> None:
    with instrumenting(TornadoServerInstrumentor, asgi=Mount()):
        assert 500 == asking(application(), fetching("/fails")).code
    assert {("shop", "GET", "500", "/fails"): 1} == telemetry.counts(REQUESTS)


def test_an_endpoint_leaves_the_connection_open_for_the_next_request(telemetry: Telemetry) -> None:
    async def ask(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        endpoint = b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n"
        writer.write(endpoint + b"GET /items/last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        try:
            return await reader.read()
        finally:
            writer.close()

    with instrumenting(TornadoServerInstrumentor, asgi=Mount()):
        assert asking(application(), ask).endswith(b"last")
    assert {("shop", "GET", "200", "/items/{arg1}"): 1} == telemetry.counts(REQUESTS)


@pytest.mark.parametrize("own", [False, True], ids=["the process's provider", "its own"])
def test_upstream_instruments_no_handler_unless_it_has_a_provider_of_its_own(
    telemetry: Telemetry, own: bool
) -> None:
    class Mine(Item):
        """Which upstream marks, and no other test uses."""

    upstream = pytest.importorskip("opentelemetry.instrumentation.tornado").TornadoInstrumentor()
    theirs = Telemetry()
    with instrumenting(TornadoServerInstrumentor):
        upstream.instrument(tracer_provider=theirs.tracer_provider if own else None)
        try:
            answer = asking(web.Application([(r"/mine/(\w+)", Mine)]), fetching("/mine/1"))
        finally:
            upstream.uninstrument()
    assert (200, 1) == (answer.code, len(telemetry.servers()))
    assert own is bool([span for span in theirs.spans() if span.name.startswith("GET /mine")])
    assert {("shop", "GET", "200", "/mine/{arg1}"): 1} == telemetry.counts(REQUESTS)
