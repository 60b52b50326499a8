"""Servers within a program: uvicorn, hypercorn, waitress, werkzeug, wsgiref, in threads, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
import uvicorn
import websockets.sync.client
from starlette.applications import Starlette

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.servers.hypercorn import HypercornInstrumentor
from bext_otel_instrumentors.http.servers.uvicorn import UvicornInstrumentor
from bext_otel_instrumentors.http.servers.waitress import WaitressInstrumentor
from bext_otel_instrumentors.http.servers.werkzeug import WerkzeugInstrumentor
from bext_otel_instrumentors.http.servers.wsgiref import WsgirefInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from tests.e2e.apps import bare_asgi, bare_wsgi
from tests.instrumentors.conftest import Telemetry, instrumented_by, instrumenting
from tests.instrumentors.http.test_servers import by_hypercorn, by_uvicorn, by_waitress, get
from tests.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # servers lag behind what they stand on

SERVERS = (UvicornInstrumentor, HypercornInstrumentor, WaitressInstrumentor, WerkzeugInstrumentor)
instrumented = instrumented_by(*SERVERS, WsgirefInstrumentor, StarletteInstrumentor)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextlib.contextmanager
def running(server: Any) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def by_wsgiref(app: Any) -> Any:
    return running(make_server("127.0.0.1", 0, app, handler_class=Quiet))


def by_werkzeug(app: Any) -> Any:
    from werkzeug.serving import make_server as make

    return running(make("127.0.0.1", 0, app, threaded=True))


ASGI = (by_uvicorn, by_hypercorn)
WSGI = (by_waitress, by_werkzeug, by_wsgiref, by_hypercorn)


@pytest.mark.parametrize(
    ("serve", "app"),
    [*((serve, bare_asgi.app) for serve in ASGI), *((serve, bare_wsgi.app) for serve in WSGI)],
)
def test_a_request_is_measured_once(instrumented: Telemetry, serve: Any, app: Any) -> None:
    with serve(app) as port:
        assert (200, b"tea 3") == get(port, "/a", "POST", b"abc")
        until(instrumented.servers)
    assert {("shop", "POST", "200", "unmatched"): 1} == instrumented.counts(REQUESTS)
    attributes = instrumented.attributes()
    assert ("127.0.0.1", str(port)) == (attributes["client.address"], str(attributes["server.port"]))


@pytest.mark.parametrize("serve", ASGI)
def test_a_websocket_is_one_span(instrumented: Telemetry, serve: Any) -> None:
    with serve(bare_asgi.app) as port:
        with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/room") as socket:
            assert "tea" == socket.recv()
        until(instrumented.servers)
    assert {("shop", "GET", "101", "unmatched"): 1} == instrumented.counts(REQUESTS)
    assert 1 == len(instrumented.servers())


def test_two_servers_of_one_process_serve_the_same_application(instrumented: Telemetry) -> None:
    with by_waitress(bare_wsgi.app) as first, by_werkzeug(bare_wsgi.app) as second:
        for port in (first, second):
            assert 200 == get(port, "/a")[0]
        until(lambda: len(instrumented.servers()) == 2)
    assert {("shop", "GET", "200", "unmatched"): 2} == instrumented.counts(REQUESTS)


def test_what_is_wrapped_by_hand_is_measured_once(instrumented: Telemetry) -> None:
    by_hand = ASGIMiddleware(bare_asgi.app)

    async def around(scope: Any, receive: Any, send: Any) -> None:
        await by_hand(scope, receive, send)

    for app in (by_hand, around):
        with by_uvicorn(app) as port:
            get(port, "/a")
            until(instrumented.servers)
    assert {("shop", "GET", "200", "unmatched"): 2} == instrumented.counts(REQUESTS)
    assert 2 == len(instrumented.servers())


@pytest.mark.parametrize(
    ("serve", "app"),
    [*((serve, bare_asgi.app) for serve in ASGI), *((serve, bare_wsgi.app) for serve in WSGI)],
)
def test_who_serves_is_told_before_any_request(telemetry: Telemetry, serve: Any, app: Any) -> None:
    told: list[str] = []
    with instrumenting(*SERVERS, WsgirefInstrumentor, on_serving=lambda: told.append("serving")):
        with serve(app) as port:
            until(lambda: told)
            assert {} == telemetry.counts(REQUESTS)
            get(port, "/a")  # waitress does not like to be closed while it begins


def test_uvicorn_finds_the_client_behind_its_proxy(instrumented: Telemetry) -> None:
    with by_uvicorn(bare_asgi.app) as port:
        get(port, "/a", **{"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"})
        until(instrumented.servers)
    attributes = instrumented.attributes()
    assert ("192.0.2.7", "https") == (attributes["client.address"], attributes["url.scheme"])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_a_factory_raises_is_uvicorn_s(instrumented: Telemetry) -> None:
    config = uvicorn.Config(bare_asgi.never, factory=True)
    with pytest.raises(LookupError, match="no application"):
        config.load()


def test_a_framework_alone_is_given_to_uvicorn_as_it_is(instrumented: Telemetry) -> None:
    app = Starlette()
    config = uvicorn.Config(app, proxy_headers=False)
    config.load()
    assert app is config.loaded_app


def test_uvicorn_sees_what_the_application_has(instrumented: Telemetry) -> None:
    config = uvicorn.Config(bare_asgi.app, proxy_headers=False)
    config.load()
    assert bare_asgi.app is not config.loaded_app
    assert bare_asgi.app == config.loaded_app
    assert "asgi3" == config.interface


def test_a_version_that_nobody_knows_is_one_line(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(uvicorn.Config, "load")
    with instrumenting(UvicornInstrumentor):
        pass
    (line,) = (record.getMessage() for record in caplog.records if record.name == "bext_otel")
    assert line.startswith(
        "instrumentation bext_uvicorn: this version of uvicorn has no uvicorn.config.Config.load"
    )


def test_undone_nothing_is_left(telemetry: Telemetry) -> None:
    before = uvicorn.Config.load
    with instrumenting(UvicornInstrumentor):
        assert before is not uvicorn.Config.load
        with by_uvicorn(bare_asgi.app) as port:
            UvicornInstrumentor().uninstrument()
            assert 200 == get(port, "/a")[0]
    assert before is uvicorn.Config.load
    assert [] == telemetry.spans()


def test_http_2_and_trailers_are_one_request_each(instrumented: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        trailers = "http.response.trailers" in scope["extensions"]
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": trailers})
        await send({"type": "http.response.body", "body": b"tea"})
        if trailers:
            await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"3")]})

    headers = [("trailer", "x-sum"), ("te", "trailers")]
    with by_hypercorn(app) as port, httpx.Client(http1=False, http2=True, trust_env=False) as client:
        for number in range(2):
            answer = client.get(f"http://127.0.0.1:{port}/{number}", headers=headers)
            assert ("HTTP/2", "tea") == (answer.http_version, answer.text)
        until(lambda: len(instrumented.servers()) == 2)
    assert {("shop", "GET", "200", "unmatched"): 2} == instrumented.counts(REQUESTS)
    assert {"2"} == {span.attributes["network.protocol.version"] for span in instrumented.servers()}  # type: ignore[index]


@pytest.mark.parametrize("late", [False, True])
def test_a_server_in_a_loop_that_runs_already(instrumented: Telemetry, late: bool) -> None:
    """As in a notebook's kernel, or in a program that has a window; `late`: the application goes on when its
    answer is out."""
    going_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await bare_asgi.app(scope, receive, send)
        if late:
            await going_on.wait()

    async def kernel() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/cell")
        assert "tea 0" == answer.text
        assert ([] if late else [1]) == [1 for _ in instrumented.servers()]
        going_on.set()
        server.should_exit = True
        await serving

    asyncio.run(kernel())
    assert {("shop", "GET", "200", "unmatched"): 1} == instrumented.counts(REQUESTS)
    assert 1 == len(instrumented.servers())
