"""Behind real servers, over real sockets: what they make of connections is what we measure."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
import websockets.sync.client
from a2wsgi import WSGIMiddleware as A2WSGI
from flask import Flask, Response
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from waitress.server import create_server

from bext_otel.catalogue import REQUEST_SIZE, REQUESTS
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.waiting import until

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # servers lag behind the libraries below them


instrumented = instrumented_by(StarletteInstrumentor, FlaskInstrumentor)


def flask() -> Flask:
    app = Flask(__name__)

    @app.route("/items/<item>", methods=["GET", "POST"])
    def item(item: str) -> str:
        return item

    @app.route("/endless")
    def endless() -> Response:
        def chunks() -> Iterator[bytes]:
            while True:
                yield b"x" * 65536

        return Response(chunks())

    return app


def starlette() -> Starlette:
    async def item(request: Any) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    async def fail(_: Any) -> PlainTextResponse:
        raise LookupError("lost")

    async def endless(_: Any) -> StreamingResponse:
        async def chunks() -> Any:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)

        return StreamingResponse(chunks())

    async def echo(websocket: Any) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async def deny(websocket: Any) -> None:
        await websocket.close()

    return Starlette(
        routes=[
            Route("/items/{item}", item, methods=["GET", "POST"]),
            Route("/fail", fail),
            Route("/endless", endless),
            WebSocketRoute("/echo/{room}", echo),
            WebSocketRoute("/deny", deny),
            Mount("/flask", app=A2WSGI(flask())),
        ]
    )


def free_socket() -> socket.socket:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    return listening


@contextlib.contextmanager
def by_uvicorn(app: Any) -> Iterator[int]:
    listening = free_socket()
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        until(lambda: server.started)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextlib.contextmanager
def by_hypercorn(app: Any) -> Iterator[int]:
    pytest.importorskip("hypercorn")
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    listening = free_socket()
    port = listening.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.errorlog = None
    config.graceful_timeout = 1
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(serve(app, config, shutdown_trigger=stop.wait))
    )
    thread.start()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@contextlib.contextmanager
def by_waitress(app: Any) -> Iterator[int]:
    server = create_server(app, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.effective_port
    finally:
        # By the thread that waits for its sockets, which must not be closed meanwhile.
        server.trigger.pull_trigger(server.close)
        server.task_dispatcher.shutdown()
        thread.join()


def get(port: int, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(
            method, path, body, headers, encode_chunked=body is not None and not isinstance(body, bytes)
        )
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


ASGI = pytest.mark.parametrize("serve", [by_uvicorn, by_hypercorn])
Serve = Callable[[Any], contextlib.AbstractContextManager[int]]


def counted(telemetry: Telemetry, status: str, route: str) -> None:
    until(lambda: telemetry.servers())
    assert {("shop", "GET", status, route): 1} == telemetry.counts(REQUESTS)
    assert f"GET {route}" == telemetry.server().name


@ASGI
@pytest.mark.parametrize(
    ("path", "status", "route"),
    [
        ("/items/1", 200, "/items/{item}"),
        ("/fail", 500, "/fail"),
        ("/flask/items/1", 200, "/flask/items/<item>"),
    ],
)
def test_a_request_is_measured_once(
    instrumented: Telemetry, serve: Serve, path: str, status: int, route: str
) -> None:
    with serve(starlette()) as port:
        assert status == get(port, path)[0]
        counted(instrumented, str(status), route)
    assert "127.0.0.1" == instrumented.attributes()["client.address"]
    assert port == instrumented.attributes()["server.port"]


@ASGI
def test_an_upload_in_chunks_is_counted(instrumented: Telemetry, serve: Serve) -> None:
    with serve(starlette()) as port:
        assert (200, b"7") == get(
            port, "/items/1", "POST", iter([b"1234", b"567"]), **{"Transfer-Encoding": "chunked"}
        )
        until(lambda: instrumented.servers())
    assert 7 == instrumented.sums(REQUEST_SIZE)["shop", "request"]


@ASGI
def test_a_client_that_leaves_in_the_middle_is_no_failure(instrumented: Telemetry, serve: Serve) -> None:
    with serve(starlette()) as port:
        leave_in_the_middle(port)
        counted(instrumented, "200", "/endless")
    assert StatusCode.UNSET is instrumented.server().status.status_code
    assert instrumented.sums(REQUEST_SIZE)["shop", "response"] >= 65536


def test_a_client_of_flask_that_leaves_in_the_middle_is_no_failure(instrumented: Telemetry) -> None:
    with by_waitress(flask()) as port:
        leave_in_the_middle(port)
        counted(instrumented, "200", "/endless")
    assert StatusCode.UNSET is instrumented.server().status.status_code


def leave_in_the_middle(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        assert connection.recv(100_000)


@ASGI
def test_requests_of_one_connection_are_traces_of_their_own(instrumented: Telemetry, serve: Serve) -> None:
    """Pipelined: the second one is there before the first one is answered."""
    with serve(starlette()) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            b"GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /items/2 HTTP/1.1\r\nHost: a\r\nConnection: "
            b"close\r\n\r\n"
        )
        while connection.recv(65536):
            pass
        until(lambda: len(instrumented.servers()) == 2)
    assert [None, None] == [span.parent for span in instrumented.servers()]
    assert {("shop", "GET", "200", "/items/{item}"): 2} == instrumented.counts(REQUESTS)


@ASGI
def test_a_websocket_is_one_span_with_its_close_code(instrumented: Telemetry, serve: Serve) -> None:
    with serve(starlette()) as port:
        with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/echo/7") as connection:
            for _ in range(20):
                connection.send("hi")
                assert "hi" == connection.recv()
        counted(instrumented, "101", "/echo/{room}")
    # Hypercorn tells the application 1006 (no close frame came), whatever the client closed with.
    assert (1000 if serve is by_uvicorn else 1006) == instrumented.attributes()["websocket.close_code"]
    assert 1 == len(instrumented.spans())


@ASGI
def test_a_websocket_that_is_denied_is_a_403(instrumented: Telemetry, serve: Serve) -> None:
    with serve(starlette()) as port:
        with (
            pytest.raises(websockets.exceptions.InvalidStatus),
            websockets.sync.client.connect(f"ws://127.0.0.1:{port}/deny"),
        ):
            pass
        counted(instrumented, "403", "/deny")


def test_flask_behind_a_wsgi_server_is_measured_once(instrumented: Telemetry) -> None:
    with by_waitress(flask()) as port:
        assert (200, b"1") == get(port, "/items/1")
        counted(instrumented, "200", "/items/<item>")
        instrumented.clear()
        assert (200, b"1") == get(
            port, "/items/1", "POST", iter([b"1234", b"567"]), **{"Transfer-Encoding": "chunked"}
        )
        until(lambda: instrumented.servers())
    assert 7 == instrumented.sums(REQUEST_SIZE)["shop", "request"]
