"""Bottle: route templates, alone and mounted, one span."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from opentelemetry.trace import StatusCode
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.frameworks.bottle import BottleInstrumentor
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask_wsgi

bottle = pytest.importorskip("bottle")

instrumented = instrumented_by(BottleInstrumentor, FlaskInstrumentor)


def application(files: Path) -> Any:
    app = bottle.Bottle()
    (files / "a.css").write_text("body {}")

    @app.get("/items/<item:int>")
    def item(item: int) -> str:
        return str(item)

    @app.get("/fail")
    def fail() -> str:
        raise LookupError("lost")

    @app.get("/unavailable")
    def unavailable() -> str:
        bottle.abort(503, "unavailable")
        return ""

    @app.get("/stream")
    def stream() -> Iterator[bytes]:
        yield from [b"abc"] * 3

    @app.get("/static/<name:path>")
    def static(name: str) -> Any:
        return bottle.static_file(name, root=str(files))

    inner = bottle.Bottle()

    @inner.get("/users/<name>")
    def user(name: str) -> str:
        return name

    app.mount("/inner/", inner)
    app.mount("/legacy/", legacy)
    app.mount("/flask/", flask())
    return app


def legacy(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode()]


def flask() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/a/<int:number>", view_func=lambda number: str(number))
    return app


ROUTES = [
    ("GET", "/items/1", 200, "/items/<item:int>"),
    ("HEAD", "/items/1", 200, "/items/<item:int>"),
    ("OPTIONS", "/items/1", 405, "/items/<item:int>"),
    ("POST", "/items/1", 405, "/items/<item:int>"),
    ("GET", "/fail", 500, "/fail"),
    ("GET", "/unavailable", 503, "/unavailable"),
    ("GET", "/stream", 200, "/stream"),
    ("GET", "/static/a.css", 200, "/static/<name:path>"),
    ("GET", "/static/none/b.css", 404, "/static/<name:path>"),
    ("GET", "/inner/users/ann", 200, "/inner/users/<name>"),
    ("GET", "/legacy/a/b", 200, "/legacy/{path}"),
    ("GET", "/flask/a/1", 200, "/flask/a/<int:number>"),
    ("GET", "/flask/none", 404, "unmatched"),
    ("GET", "/items/none", 404, "unmatched"),
    ("GET", "/nowhere", 404, "unmatched"),
]


@pytest.mark.parametrize("around", [lambda app: app, WSGIMiddleware], ids=["alone", "by-hand"])
@pytest.mark.parametrize(("method", "path", "status", "route"), ROUTES)
def test_the_route_is_a_template_whatever_the_path(
    instrumented: Telemetry, tmp_path: Path, around: Any, method: str, path: str, status: int, route: str
) -> None:
    assert status == ask_wsgi(around(application(tmp_path)), path, method).status
    assert {("shop", method, str(status), route): 1} == instrumented.counts(REQUESTS)
    assert (None if route == "unmatched" else route) == instrumented.attributes().get("http.route")


@pytest.mark.parametrize(("path", "error_type"), [("/fail", "LookupError"), ("/unavailable", "503")])
def test_only_an_unhandled_exception_is_named_by_its_class(
    instrumented: Telemetry, tmp_path: Path, path: str, error_type: str
) -> None:
    ask_wsgi(application(tmp_path), path)
    span = instrumented.server()
    assert (StatusCode.ERROR, error_type) == (span.status.status_code, span.attributes["error.type"])  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "method", "route"),
    [
        ("/items/3", "GET", "/items/<item:int>"),
        ("/items/3", "POST", "/items/<item:int>"),
        ("/legacy/a", "GET", "/legacy/{path}"),
        ("/nowhere", "GET", None),
    ],
)
def test_an_answer_before_the_router_has_the_route_that_it_would_have_had(
    instrumented: Telemetry, tmp_path: Path, path: str, method: str, route: str | None
) -> None:
    app = application(tmp_path)
    app.add_hook("before_request", lambda: bottle.abort(403, "no"))
    assert 403 == ask_wsgi(app, path, method).status
    assert route == instrumented.attributes().get("http.route")


def test_dispatched_below_a_prefix_the_route_has_it(instrumented: Telemetry, tmp_path: Path) -> None:
    app = DispatcherMiddleware(legacy, {"/api": application(tmp_path)})
    assert 200 == ask_wsgi(app, "/api/items/3").status
    assert "/api/items/<item:int>" == instrumented.attributes()["http.route"]


def test_a_path_that_is_not_ascii_is_matched(instrumented: Telemetry, tmp_path: Path) -> None:
    app = application(tmp_path)
    app.route("/größe/<name>", callback=lambda name: name)
    assert 200 == ask_wsgi(app, "/größe/é").status
    assert "/größe/<name>" == instrumented.attributes()["http.route"]


def test_applications_made_before_are_covered_and_everything_is_put_back(
    telemetry: Telemetry, tmp_path: Path
) -> None:
    app = application(tmp_path)
    BottleInstrumentor().instrument()
    ask_wsgi(app, "/items/1")
    BottleInstrumentor().uninstrument()
    ask_wsgi(app, "/items/1")
    assert 1 == len(telemetry.servers())
    assert not hasattr(bottle.Router.match, "__wrapped__")
