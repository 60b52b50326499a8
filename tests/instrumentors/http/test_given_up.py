"""A request ends when its answer is given up, whatever the server calls, and however late garbage is
collected."""

from __future__ import annotations

import gc
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, Response
from werkzeug.serving import make_server

from bext_otel.catalogue import HTTP_SERVER_ACTIVE_REQUESTS, REQUESTS
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import environ_of
from tests.waiting import until


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[Telemetry]:
    FlaskInstrumentor().instrument()
    gc.collect()
    gc.disable()
    yield telemetry
    gc.enable()
    FlaskInstrumentor().uninstrument()


def shop() -> Flask:
    app = Flask(__name__)
    app.logger.disabled = True

    @app.post("/whole")
    def whole() -> str:
        return "x" * 20_000

    @app.post("/stream")
    def stream() -> Response:
        return Response(b"x" * 1_000 for _ in range(20_000))

    @app.post("/fails")
    def fails() -> str:
        raise LookupError("lost")

    @app.post("/breaks")
    def breaks() -> Response:
        def chunks() -> Iterator[bytes]:
            yield b"x" * 1_000
            raise LookupError("lost")

        return Response(chunks())

    return app


@contextmanager
def by_werkzeug(app: Any, *, threaded: bool) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, threaded=threaded)
    server.log = lambda *_, **__: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hang_up(port: int, path: str) -> None:
    """Reset the connection with the answer unread, and a part of the request on its way: the server then
    fails at throwing that away, and closes nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc" % path.encode())
        assert client.recv(10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("path", ["/whole", "/stream", "/fails", "/breaks"])
def test_a_client_that_hangs_up_under_werkzeugs_server(
    instrumented: Telemetry, path: str, threaded: bool
) -> None:
    with by_werkzeug(shop(), threaded=threaded) as port:
        for _ in range(4):
            hang_up(port, path)
        until(lambda: 4 == len(instrumented.servers()), why=lambda: str(instrumented.counts(REQUESTS)))
    assert {f"POST {path}"} == {span.name for span in instrumented.servers()}
    assert 4 == sum(instrumented.counts(REQUESTS).values()) == len(instrumented.completions())
    assert {0} == set(instrumented.counts(HTTP_SERVER_ACTIVE_REQUESTS).values())


def listed(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    return [b"a", b"b"]


def generated(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    yield b"a"
    yield b"b"


def silent(environ: Any, start_response: Any) -> Any:
    """Forgets to answer."""
    return [b"a"]


def read_on(body: Any) -> None:
    assert [b"a", b"b"] == list(body)


def read_a_part(body: Any) -> None:
    next(iter(body))


def never(body: Any) -> None:
    """A server whose client is gone before it begins."""


@pytest.mark.parametrize("app", [listed, generated])
@pytest.mark.parametrize("serve", [read_on, read_a_part, never])
def test_a_server_that_lets_go_of_an_answer_has_ended_the_request(
    telemetry: Telemetry, app: Any, serve: Callable[[Any], None]
) -> None:
    gc.disable()
    try:
        body = WSGIMiddleware(app)(environ_of("/"), lambda *_: None)
        serve(body)
        del body
        assert 1 == len(telemetry.servers())
    finally:
        gc.enable()
    assert 1 == sum(telemetry.counts(REQUESTS).values())


def test_a_server_that_keeps_an_answer_which_it_has_read(telemetry: Telemetry) -> None:
    body = WSGIMiddleware(listed)(environ_of("/"), lambda *_: None)
    assert [b"a", b"b"] == list(body)
    assert 1 == len(telemetry.servers())
    body.close()  # type: ignore[attr-defined]  # a server that comes late
    assert 1 == len(telemetry.servers())


def test_an_application_that_never_calls_start_response(telemetry: Telemetry) -> None:
    body = WSGIMiddleware(silent)(environ_of("/"), lambda *_: None)
    del body
    assert {("shop", "GET", "500", "unmatched"): 1} == telemetry.counts(REQUESTS)
