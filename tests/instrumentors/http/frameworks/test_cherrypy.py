"""CherryPy: routes by page handler."""

from __future__ import annotations

from typing import Any

import pytest

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.frameworks.cherrypy import CherrypyInstrumentor, template
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask_wsgi

cherrypy = pytest.importorskip("cherrypy")
from tests.e2e.apps.cherrypy_app import SETTINGS, Root, app  # noqa: E402

instrumented = instrumented_by(CherrypyInstrumentor)

ROUTES = [
    ("GET", "/", 200, "/"),
    ("GET", "/tea/1", 200, "/tea/{number}"),
    ("GET", "/tea", 404, "/tea"),
    ("GET", "/tea/1/2", 404, "unmatched"),
    ("GET", "/files/a/b/c", 200, "/files/{path}"),
    ("GET", "/users/ann", 200, "/users/{segment}"),
    ("GET", "/users/orders/orders", 200, "/users/orders/{name}"),
    ("DELETE", "/resource/7", 405, "/resource/{number}"),
    ("GET", "/static/none.py", 404, "/static/{path}"),
    ("GET", "/forbidden", 403, "/forbidden"),
    ("GET", "/fails", 500, "/fails"),
    ("GET", "/nowhere/a", 404, "unmatched"),
]


@pytest.fixture(autouse=True)
def _silent() -> None:
    cherrypy.log.screen = False


@pytest.mark.parametrize("around", [lambda app: app, WSGIMiddleware], ids=["alone", "by-hand"])
@pytest.mark.parametrize(("method", "path", "status", "route"), ROUTES)
def test_the_route_is_what_finds_the_handler(
    instrumented: Telemetry, around: Any, method: str, path: str, status: int, route: str
) -> None:
    assert status == ask_wsgi(around(app), path, method).status
    assert {("shop", method, str(status), route): 1} == instrumented.counts(REQUESTS)
    assert (None if route == "unmatched" else route) == instrumented.attributes().get("http.route")


def test_an_exception_is_named_and_an_answer_is_none(instrumented: Telemetry) -> None:
    for path, error in (("/fails", "LookupError"), ("/forbidden", None)):
        ask_wsgi(app, path)
        assert error == instrumented.attributes().get("error.type")
        instrumented.clear()


def test_below_a_tree_the_route_has_the_mount(instrumented: Telemetry) -> None:
    tree = type(cherrypy.tree)()
    tree.mount(Root(), "/shop", SETTINGS)
    assert b"tea 7" == ask_wsgi(tree, "/shop/tea/7").body
    assert {("shop", "GET", "200", "/shop/tea/{number}"): 1} == instrumented.counts(REQUESTS)


def handler(first: str, *more: str, key: str = "") -> None:
    """Stands for a page handler."""


def test_arguments_that_nobody_takes_match_nothing() -> None:
    assert template(None, "/a/b", lambda first: None, ["a", "b"]) is None
    assert "/{first}" == template(None, "/a", handler, ["a"])
    assert "/{first}/{more}" == template(None, "/a/b/c/d", handler, ["a", "b", "c", "d"])


def test_what_is_looked_at_before_any_request_has_no_route(instrumented: Telemetry) -> None:
    """CherryPy's checker asks the dispatcher outside of a request."""
    request = cherrypy.serving.request
    request.app = app
    cherrypy.dispatch.Dispatcher().find_handler("/tea/1")
    assert {} == instrumented.counts(REQUESTS)


def test_everything_is_put_back(telemetry: Telemetry) -> None:
    CherrypyInstrumentor().instrument()
    ask_wsgi(app, "/tea/1")
    CherrypyInstrumentor().uninstrument()
    ask_wsgi(app, "/tea/1")
    assert 1 == len(telemetry.servers())
    assert not hasattr(cherrypy.dispatch.Dispatcher.find_handler, "__wrapped__")
