"""What instrumentors serve beside the application."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Blueprint, Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors._serving import Hosting
from bext_otel_instrumentors.asgi import ASGIMiddleware, serve
from bext_otel_instrumentors.flask import FlaskInstrumentor
from bext_otel_instrumentors.starlette import StarletteInstrumentor
from bext_otel_instrumentors.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import Answer, ask, ask_wsgi


@dataclass(frozen=True)
class Reply:
    status: int = 200
    content_type: str = "text/plain; version=0.0.4"
    body: bytes = b"metrics"
    headers: tuple[tuple[str, str], ...] = (("X-More", "1"),)


class Endpoint:
    """Answers `/metrics`, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, dict[str, str]]] = []
        self.threads: set[int] = set()

    def __call__(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Reply | None:
        self.threads.add(threading.get_ident())
        if path != "/metrics":
            return None
        self.asked.append((method, path, query, dict(headers)))
        return Reply()


class OwningEndpoint(Endpoint):
    def owns(self, path: str) -> bool:
        return path == "/metrics"


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"application"})


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"application"]


def by_asgi(endpoint: Endpoint, path: str, method: str = "GET", **more: Any) -> Answer:
    return ask(ASGIMiddleware(asgi_app, mount=endpoint), path, method, **more)


def by_wsgi(endpoint: Endpoint, path: str, method: str = "GET", **more: Any) -> Answer:
    return ask_wsgi(WSGIMiddleware(wsgi_app, mount=endpoint), path, method, **more)


KINDS = pytest.mark.parametrize("serve", [by_asgi, by_wsgi])
Serve = Callable[..., Answer]


@KINDS
def test_an_endpoint_answers_before_the_application_and_is_no_request_of_it(telemetry: Telemetry, serve: Serve) -> None:
    endpoint = Endpoint()
    answer = serve(endpoint, "/metrics", query="format=json", headers=[("accept", "text/html")])
    assert (200, b"metrics") == (answer.status, answer.body)
    assert ("text/plain; version=0.0.4", "7", "1") == tuple(answer.header(name) for name in ("content-type", "content-length", "x-more"))
    method, path, query, headers = endpoint.asked[0]
    assert ("GET", "/metrics", "format=json", "text/html") == (method, path, query, headers["accept"])
    assert ([], {}, []) == (telemetry.spans(), telemetry.counts(REQUESTS), telemetry.completions())


@KINDS
@pytest.mark.parametrize("endpoint", [Endpoint(), OwningEndpoint()])
def test_what_is_no_endpoint_is_the_applications(telemetry: Telemetry, serve: Serve, endpoint: Endpoint) -> None:
    assert b"application" == serve(endpoint, "/metrics/x").body
    assert 1 == len(telemetry.spans())


@KINDS
def test_a_head_request_to_an_endpoint_has_no_body(telemetry: Telemetry, serve: Serve) -> None:
    answer = serve(Endpoint(), "/metrics", "HEAD")
    assert ("7", b"") == (answer.header("content-length"), answer.body)


@pytest.mark.parametrize(
    ("serve", "where"), [(by_asgi, {"path": "/api/metrics", "root_path": "/api"}), (by_wsgi, {"path": "/metrics", "SCRIPT_NAME": "/api"})]
)
def test_endpoints_are_below_what_the_application_is_mounted_under(telemetry: Telemetry, serve: Serve, where: dict[str, str]) -> None:
    assert b"metrics" == serve(Endpoint(), **where).body


@KINDS
def test_an_endpoint_that_fails_leaves_the_request_to_the_application(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture, serve: Serve
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    assert b"application" == serve(broken, "/metrics").body  # type: ignore[arg-type]
    assert "telemetry failed" in caplog.text


def test_an_endpoint_that_knows_its_paths_answers_beside_the_event_loop(telemetry: Telemetry) -> None:
    endpoint = OwningEndpoint()
    by_asgi(endpoint, "/metrics")
    by_asgi(endpoint, "/other")
    assert endpoint.threads
    assert threading.get_ident() not in endpoint.threads


def test_an_answer_that_is_quick_needs_no_thread(telemetry: Telemetry) -> None:
    """So that a probe meets the event loop, which is what it asks after."""

    class Quick(OwningEndpoint):
        def is_quick(self, path: str) -> bool:
            return True

    endpoint = Quick()
    assert b"metrics" == by_asgi(endpoint, "/metrics").body
    assert {threading.get_ident()} == endpoint.threads


@pytest.fixture
def serving() -> Iterator[list[str]]:
    told: list[str] = []
    for instrumentor in (StarletteInstrumentor(), FlaskInstrumentor()):
        instrumentor.instrument(mount=Endpoint(), on_serving=lambda: told.append("serving"))
    yield told
    for instrumentor in (StarletteInstrumentor(), FlaskInstrumentor()):
        instrumentor.uninstrument()


def test_instrumentors_serve_endpoints_and_tell_that_an_application_serves(telemetry: Telemetry, serving: list[str]) -> None:
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


class DisabledEndpoint(OwningEndpoint):
    """As where telemetry is disabled: what it owns, it leaves to the application."""

    def __call__(self, *_: Any) -> None:
        return None


@pytest.mark.parametrize(
    ("make", "own", "endpoint", "lines"),
    [
        (starlette_with, "/metrics", OwningEndpoint, 1),
        (fastapi_with, "/metrics", OwningEndpoint, 1),
        (flask_with, "/metrics", OwningEndpoint, 1),
        (starlette_with, "/items", OwningEndpoint, 0),
        (flask_with, "/items", OwningEndpoint, 0),
        (flask_with_our_blueprint, "/metrics", OwningEndpoint, 0),
        (starlette_with, "/metrics", DisabledEndpoint, 0),
    ],
)
def test_a_route_that_the_endpoints_hide_is_told_of_once(
    telemetry: Telemetry,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[str], Callable[..., Answer]],
    own: str,
    endpoint: type[OwningEndpoint],
    lines: int,
) -> None:
    both = StarletteInstrumentor(), FlaskInstrumentor()
    for instrumentor in both:
        instrumentor.instrument(mount=endpoint())
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
    """The parent's too: it has closed its endpoints for the child's sake, and a request shows that it serves itself."""
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

    asyncio.run(serve(app, {"type": "lifespan"}, receive, send, Hosting(on_ending=lambda: said.append("told"))))
    assert ["lifespan.startup.complete", "told", "lifespan.shutdown.complete"] == said
