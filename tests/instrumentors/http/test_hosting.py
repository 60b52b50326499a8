"""What instrumentors serve beside the application."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Blueprint, Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from bext_otel.catalogue import REQUESTS
from bext_otel.operation import is_request_logged
from bext_otel_instrumentors.http.asgi import ASGIMiddleware, serve
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.hosting import Hosting
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import Answer, ask, ask_wsgi

HEADERS = [("content-type", "text/plain; version=0.0.4"), ("x-more", "1")]


class Endpoint:
    """Answers `/metrics`, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def owns(self, path: str) -> bool:
        return path == "/metrics"


class ASGIEndpoint(Endpoint):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append((scope["method"], scope["query_string"].decode()))
        headers = [(name.encode(), value.encode()) for name, value in HEADERS]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"metrics"})


class WSGIEndpoint(Endpoint):
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        self.asked.append((environ["REQUEST_METHOD"], environ["QUERY_STRING"]))
        start_response("200 OK", HEADERS)
        return [b"metrics"]


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"application"})


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"application"]


def by_asgi(endpoint: Any, path: str, method: str = "GET", **more: Any) -> Answer:
    return ask(ASGIMiddleware(asgi_app, mount=endpoint), path, method, **more)


def by_wsgi(endpoint: Any, path: str, method: str = "GET", **more: Any) -> Answer:
    return ask_wsgi(WSGIMiddleware(wsgi_app, mount=endpoint), path, method, **more)


KINDS = pytest.mark.parametrize(("serve", "kind"), [(by_asgi, ASGIEndpoint), (by_wsgi, WSGIEndpoint)])
Serve = Callable[..., Answer]


@KINDS
def test_an_endpoint_answers_before_the_application_and_is_no_request_of_it(
    telemetry: Telemetry, serve: Serve, kind: type[Endpoint]
) -> None:
    endpoint = kind()
    answer = serve(endpoint, "/metrics", query="format=json")
    assert (200, b"metrics") == (answer.status, answer.body)
    assert ("text/plain; version=0.0.4", "1") == tuple(
        answer.header(name) for name in ("content-type", "x-more")
    )
    assert [("GET", "format=json")] == endpoint.asked
    assert ([], {}, []) == (telemetry.spans(), telemetry.counts(REQUESTS), telemetry.completions())


@KINDS
def test_what_is_no_endpoint_is_the_applications(
    telemetry: Telemetry, serve: Serve, kind: type[Endpoint]
) -> None:
    assert b"application" == serve(kind(), "/metrics/x").body
    assert 1 == len(telemetry.spans())


@pytest.mark.parametrize(
    ("serve", "kind", "where"),
    [
        (by_asgi, ASGIEndpoint, {"path": "/api/metrics", "root_path": "/api"}),
        (by_wsgi, WSGIEndpoint, {"path": "/metrics", "SCRIPT_NAME": "/api"}),
    ],
)
def test_endpoints_are_below_what_the_application_is_mounted_under(
    telemetry: Telemetry, serve: Serve, kind: type[Endpoint], where: dict[str, str]
) -> None:
    assert b"metrics" == serve(kind(), **where).body


@KINDS
def test_an_endpoint_that_fails_leaves_the_request_to_the_application(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture, serve: Serve, kind: type[Endpoint]
) -> None:
    class Broken(kind):  # type: ignore[misc,valid-type]
        def __call__(self, *_: Any) -> Any:
            raise ZeroDivisionError

    assert b"application" == serve(Broken(), "/metrics").body
    assert "telemetry failed" in caplog.text
    assert 1 == len(telemetry.servers())


def test_a_client_that_has_gone_is_the_servers_to_hear_of(telemetry: Telemetry) -> None:
    """The application must not answer once more."""

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise ConnectionResetError

    scope = {"type": "http", "method": "GET", "path": "/metrics", "query_string": b"", "headers": []}
    with pytest.raises(ConnectionResetError):
        asyncio.run(ASGIMiddleware(asgi_app, mount=ASGIEndpoint())(scope, receive_nothing, send))


async def receive_nothing() -> Any:
    return {"type": "http.request"}


@pytest.mark.parametrize("logs", [True, False])
def test_a_server_writes_no_line_of_its_own_about_an_endpoint_where_requests_are_told(
    use_telemetry: Any, logs: bool
) -> None:
    use_telemetry(log_requests=logs)
    told: list[bool | None] = []

    async def send(message: Any) -> None:
        told.append(is_request_logged())

    scope = {"type": "http", "method": "GET", "path": "/metrics", "query_string": b"", "headers": []}
    asyncio.run(ASGIMiddleware(asgi_app, mount=ASGIEndpoint())(scope, receive_nothing, send))
    assert [logs, logs] == told


@pytest.fixture
def serving() -> Iterator[list[str]]:
    told: list[str] = []
    for instrumentor in (StarletteInstrumentor(), FlaskInstrumentor()):
        instrumentor.instrument(
            asgi=ASGIEndpoint(), wsgi=WSGIEndpoint(), on_serving=lambda: told.append("serving")
        )
    yield told
    for instrumentor in (StarletteInstrumentor(), FlaskInstrumentor()):
        instrumentor.uninstrument()


def test_instrumentors_serve_endpoints_and_tell_that_an_application_serves(
    telemetry: Telemetry, serving: list[str]
) -> None:
    starlette, flask = Starlette(), Flask(__name__)
    assert 2 == len(serving)
    assert b"metrics" == ask(starlette, "/metrics").body
    assert b"metrics" == ask_wsgi(flask, "/metrics").body
    assert 4 == len(serving)
    assert (404, 404) == (ask(starlette, "/x").status, ask_wsgi(flask, "/x").status)
    assert 4 == len(serving)


def starlette_with(path: str) -> Callable[..., Answer]:
    return partial(ask, Starlette(routes=[Route(path, lambda _: PlainTextResponse("own"))]))


def fastapi_with(path: str) -> Callable[..., Answer]:
    app = FastAPI()
    app.add_api_route(path, lambda: "own")
    return partial(ask, app)


def flask_with(path: str) -> Callable[..., Answer]:
    app = Flask(__name__)
    app.add_url_rule(path, "own", lambda: "own")
    return partial(ask_wsgi, app)


def flask_with_our_blueprint(path: str) -> Callable[..., Answer]:
    app = Flask(__name__)
    ours = Blueprint("bext_otel", __name__)
    ours.add_url_rule(path, "path_0", lambda: "ours")
    app.register_blueprint(ours)
    return partial(ask_wsgi, app)


@pytest.mark.parametrize(
    ("make", "own", "lines"),
    [
        (starlette_with, "/metrics", 1),
        (fastapi_with, "/metrics", 1),
        (flask_with, "/metrics", 1),
        (starlette_with, "/items", 0),
        (flask_with, "/items", 0),
        (flask_with_our_blueprint, "/metrics", 0),
    ],
)
def test_a_route_that_the_endpoints_hide_is_told_of_once(
    telemetry: Telemetry,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[str], Callable[..., Answer]],
    own: str,
    lines: int,
) -> None:
    both = StarletteInstrumentor(), FlaskInstrumentor()
    for instrumentor in both:
        instrumentor.instrument(asgi=ASGIEndpoint(), wsgi=WSGIEndpoint())
    try:
        asking = make(own)
        assert [200, 200] == [asking("/metrics").status for _ in range(2)]
        asking("/items")
    finally:
        for instrumentor in both:
            instrumentor.uninstrument()
    assert lines == len(caplog.records)
    assert all("[metrics] mount answers at /metrics" in record.getMessage() for record in caplog.records)


def test_a_lifespan_tells_that_an_application_serves(telemetry: Telemetry) -> None:
    told: list[str] = []
    app = ASGIMiddleware(asgi_app, on_serving=lambda: told.append("serving"))
    assert ["serving"] == told

    async def nothing(*_: Any) -> Any:
        return None

    asyncio.run(app({"type": "lifespan"}, nothing, nothing))
    assert ["serving"] * 2 == told


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_after_a_fork_child_and_parent_have_a_first_request_of_their_own() -> None:
    """The parent's too: it has closed its endpoints for the child's sake, and a request shows that it serves
    itself."""
    hosting = Hosting(on_serving=lambda: None)
    hosting.first()
    child = os.fork()
    if child == 0:
        os._exit(0 if hosting.waiting else 1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert hosting.waiting


def test_an_application_that_has_shut_down_is_told_of_before_the_server_knows(telemetry: Telemetry) -> None:
    """Some servers end the process as soon as they know."""
    said: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for state in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{state}.complete"})

    async def receive() -> Any:
        return {}

    async def send(message: Any) -> None:
        said.append(message["type"])

    asyncio.run(
        serve(app, {"type": "lifespan"}, receive, send, Hosting(on_ending=lambda: said.append("told")))
    )
    assert ["lifespan.startup.complete", "told", "lifespan.shutdown.complete"] == said
