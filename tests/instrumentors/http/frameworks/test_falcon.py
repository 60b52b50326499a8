"""Falcon, WSGI and ASGI: route templates, alone and mounted, one span."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import StatusCode
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.frameworks.falcon import FalconInstrumentor
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import Answer, ask, ask_wsgi

pytest.importorskip("falcon")
import falcon
import falcon.asgi

instrumented = instrumented_by(FalconInstrumentor)


class Item:
    def on_get(self, req: Any, resp: Any, item: int) -> None:
        resp.text = str(item)


class Fail:
    def on_get(self, req: Any, resp: Any) -> None:
        raise LookupError("lost")

    def on_post(self, req: Any, resp: Any) -> None:
        raise ZeroDivisionError

    def on_put(self, req: Any, resp: Any) -> None:
        raise falcon.HTTPServiceUnavailable


class Stream:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.stream = iter([b"abc"] * 3)


class Denying:
    def process_request(self, req: Any, resp: Any) -> None:
        if req.get_header("x-deny"):
            resp.status = falcon.HTTP_403
            resp.complete = True


def turned(req: Any, resp: Any, error: Exception, params: Any) -> None:
    resp.status = falcon.HTTP_503


def sink(req: Any, resp: Any, **params: Any) -> None:
    resp.text = "sunk"


def wsgi(files: Path) -> Any:
    return routed(falcon.App(middleware=[Denying()]), files, lambda kind: kind)


def asgi(files: Path) -> Any:
    return routed(falcon.asgi.App(middleware=[asynchronous(Denying)()]), files, asynchronous)


def asynchronous(given: Any) -> Any:
    """A class, or a function, with coroutine functions in place of its own."""
    if not isinstance(given, type):

        async def function(*args: Any, **kwargs: Any) -> None:
            given(*args, **kwargs)

        return function
    members = {name: asynchronous(value) for name, value in vars(given).items() if callable(value)}
    if given is Stream:

        async def on_get(self: Any, req: Any, resp: Any) -> None:
            async def chunks() -> AsyncIterator[bytes]:
                for _ in range(3):
                    yield b"abc"

            resp.stream = chunks()

        members["on_get"] = on_get
    return type(given.__name__, (), members)


def routed(app: Any, files: Path, kind: Callable[[Any], Any]) -> Any:
    (files / "a.css").write_text("body {}")
    app.add_route("/items/{item:int}", kind(Item)())
    app.add_route("/fail", kind(Fail)())
    app.add_route("/stream", kind(Stream)())
    app.add_sink(kind(sink), "/sunk")
    app.add_sink(kind(sink), r"/proxy/(?P<host>[a-z]+)/(?P<rest>.*)")
    app.add_static_route("/static", str(files))
    app.add_error_handler(ZeroDivisionError, kind(turned))
    return app


@pytest.fixture(params=["wsgi", "asgi"])
def interface(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def requested(interface: str, files: Path, path: str, method: str = "GET", **more: Any) -> Answer:
    return (
        ask_wsgi(wsgi(files), path, method, **more)
        if interface == "wsgi"
        else ask(asgi(files), path, method, **more)
    )


ROUTES = [
    ("GET", "/items/1", 200, "/items/{item:int}"),
    ("HEAD", "/items/1", 405, "/items/{item:int}"),
    ("OPTIONS", "/items/1", 200, "/items/{item:int}"),
    ("POST", "/items/1", 405, "/items/{item:int}"),
    ("GET", "/fail", 500, "/fail"),
    ("POST", "/fail", 503, "/fail"),
    ("GET", "/stream", 200, "/stream"),
    ("GET", "/sunk/a/b", 200, "/sunk/{path}"),
    ("GET", "/proxy/a/b", 200, "/proxy/{host}/{rest}"),
    ("GET", "/static/a.css", 200, "/static/{path}"),
    ("GET", "/static/none.css", 404, "/static/{path}"),
    ("GET", "/items/none", 404, "unmatched"),
    ("GET", "/nowhere", 404, "unmatched"),
]


@pytest.mark.parametrize(("method", "path", "status", "route"), ROUTES)
def test_the_route_is_a_template_whatever_the_path(
    instrumented: Telemetry, interface: str, tmp_path: Path, method: str, path: str, status: int, route: str
) -> None:
    assert status == requested(interface, tmp_path, path, method).status
    assert {("shop", method, str(status), route): 1} == instrumented.counts(REQUESTS)
    assert (None if route == "unmatched" else route) == instrumented.attributes().get("http.route")


def test_wrapped_by_hand_it_adds_its_route_and_no_span(
    instrumented: Telemetry, interface: str, tmp_path: Path
) -> None:
    if interface == "wsgi":
        ask_wsgi(WSGIMiddleware(wsgi(tmp_path)), "/items/3")
    else:
        ask(ASGIMiddleware(asgi(tmp_path)), "/items/3")
    assert "/items/{item:int}" == instrumented.attributes()["http.route"]


@pytest.mark.parametrize(("method", "error_type"), [("GET", "LookupError"), ("POST", "503"), ("PUT", "503")])
def test_only_an_unhandled_exception_is_named_by_its_class(
    instrumented: Telemetry, interface: str, tmp_path: Path, method: str, error_type: str
) -> None:
    requested(interface, tmp_path, "/fail", method)
    span = instrumented.server()
    assert (StatusCode.ERROR, error_type) == (span.status.status_code, span.attributes["error.type"])  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "route"),
    [("/items/3", "/items/{item:int}"), ("/sunk/x", "/sunk/{path}"), ("/nowhere", None), ("/", None)],
)
def test_an_answer_before_the_router_has_the_route_that_it_would_have_had(
    instrumented: Telemetry, interface: str, tmp_path: Path, path: str, route: str | None
) -> None:
    assert 403 == requested(interface, tmp_path, path, headers=[("x-deny", "1")]).status
    assert route == instrumented.attributes().get("http.route")


def test_dispatched_below_a_prefix_the_route_has_it(instrumented: Telemetry, tmp_path: Path) -> None:
    app = DispatcherMiddleware(wsgi(tmp_path), {"/api": wsgi(tmp_path)})
    assert 200 == ask_wsgi(app, "/api/items/3").status
    assert "/api/items/{item:int}" == instrumented.attributes()["http.route"]


@pytest.mark.parametrize("denied", [True, False])
def test_below_a_root_path_the_route_has_it_once(
    instrumented: Telemetry, tmp_path: Path, denied: bool
) -> None:
    app = falcon.asgi.App(middleware=[asynchronous(Denying)()])
    app.add_route("/shop/items/{item:int}", asynchronous(Item)())
    headers = [("x-deny", "1")] if denied else []
    ask(app, "/shop/items/3", root_path="/shop", headers=headers)
    assert "/shop/items/{item:int}" == instrumented.attributes()["http.route"]


def test_applications_made_before_are_covered_and_everything_is_put_back(
    telemetry: Telemetry, tmp_path: Path
) -> None:
    apps = wsgi(tmp_path), asgi(tmp_path)
    FalconInstrumentor().instrument()
    ask_wsgi(apps[0], "/items/1")
    ask(apps[1], "/items/1")
    FalconInstrumentor().uninstrument()
    ask_wsgi(apps[0], "/items/1")
    ask(apps[1], "/items/1")
    assert ["/items/{item:int}"] * 2 == [span.attributes["http.route"] for span in telemetry.servers()]  # type: ignore[index]
