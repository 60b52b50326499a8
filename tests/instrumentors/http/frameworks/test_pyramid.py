"""Pyramid: route templates by routes and by traversal, alone and mounted, one span."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import StatusCode
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.frameworks.pyramid import PyramidInstrumentor
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask_wsgi

pytest.importorskip("pyramid")
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPForbidden, HTTPNotFound
from pyramid.response import Response

instrumented = instrumented_by(PyramidInstrumentor)


class Entry:
    def __init__(self, name: str) -> None:
        self.name = name


class Blog(dict[str, Entry]):
    pass


def application(files: Path | None = None, *, deny: bool = False, routes: bool = True) -> Any:
    config = Configurator(root_factory=lambda request: Blog(first=Entry("first"), second=Entry("second")))

    def shown(context: Any, request: Any) -> Response:
        return Response("shown")

    def fail(request: Any) -> Response:
        raise LookupError("lost")

    def missing(request: Any) -> Response:
        raise HTTPNotFound

    def stream(request: Any) -> Response:
        return Response(app_iter=iter([b"abc"] * 3))

    if routes:
        for name, pattern, view in (
            ("item", r"/items/{item:\d+}", shown),
            ("fail", "/fail", fail),
            ("missing", "missing/{name}", missing),
            ("stream", "/stream", stream),
            ("rest", "/rest/{first}/*rest", shown),
        ):
            config.add_route(name, pattern, request_method=("GET", "HEAD"))
            config.add_view(view, route_name=name)
        if files is not None:
            (files / "a.css").write_text("body {}")
            config.add_static_view("static", str(files))
    config.add_view(shown, context=Blog)
    config.add_view(shown, context=Blog, name="all")
    config.add_view(shown, context=Entry)
    config.add_view(shown, context=Entry, name="edit", request_method="GET")
    config.add_view(lambda context, request: fail(request), context=Entry, name="fail")
    if deny:
        config.add_tween(f"{__name__}.denying")
    return config.make_wsgi_app()


def denying(handler: Any, registry: Any) -> Any:
    return lambda request: HTTPForbidden()


ROUTES = [
    ("GET", "/items/1", 200, r"/items/{item:\d+}"),
    ("HEAD", "/items/1", 200, r"/items/{item:\d+}"),
    ("GET", "/missing/a", 404, "/missing/{name}"),
    ("GET", "/stream", 200, "/stream"),
    ("GET", "/rest/a/b/c", 200, "/rest/{first}/*rest"),
    ("GET", "/static/a.css", 200, "/static/*subpath"),
    ("GET", "/static/none/b.css", 404, "/static/*subpath"),
    ("GET", "/", 200, "/"),
    ("GET", "/all", 200, "/all"),
    ("GET", "/first", 200, "/{Entry}/"),
    ("GET", "/second/edit", 200, "/{Entry}/edit"),
    ("GET", "/second/edit/1/2", 200, "/{Entry}/edit/*subpath"),
    ("POST", "/second/edit", 404, "unmatched"),
    ("GET", "/second/nowhere", 404, "unmatched"),
    ("POST", "/items/1", 404, "unmatched"),
    ("GET", "/items/none", 404, "unmatched"),
]


@pytest.mark.parametrize("around", [lambda app: app, WSGIMiddleware], ids=["alone", "by-hand"])
@pytest.mark.parametrize(("method", "path", "status", "route"), ROUTES)
def test_the_route_is_a_template_whatever_the_path(
    instrumented: Telemetry, tmp_path: Path, around: Any, method: str, path: str, status: int, route: str
) -> None:
    assert status == ask_wsgi(around(application(tmp_path)), path, method).status
    assert {("shop", method, str(status), route): 1} == instrumented.counts(REQUESTS)
    assert (None if route == "unmatched" else route) == instrumented.attributes().get("http.route")


@pytest.mark.parametrize(("path", "route"), [("/fail", "/fail"), ("/first/fail", "/{Entry}/fail")])
def test_an_exception_that_passes_pyramid_is_a_500_with_its_class(
    instrumented: Telemetry, path: str, route: str
) -> None:
    with pytest.raises(LookupError):
        ask_wsgi(application(), path)
    span = instrumented.server()
    assert (StatusCode.ERROR, "LookupError") == (span.status.status_code, span.attributes["error.type"])  # type: ignore[index]
    assert {("shop", "GET", "500", route): 1} == instrumented.counts(REQUESTS)


def test_an_application_without_routes_has_its_traversal(instrumented: Telemetry) -> None:
    app = application(routes=False)
    assert [200, 404] == [ask_wsgi(app, path).status for path in ("/first/edit", "/items/1")]
    assert {"/{Entry}/edit", "unmatched"} == {labels[3] for labels in instrumented.counts(REQUESTS)}


@pytest.mark.parametrize(("path", "route"), [("/items/3", r"/items/{item:\d+}"), ("/nowhere", None)])
def test_an_answer_before_the_router_has_the_route_that_it_would_have_had(
    instrumented: Telemetry, path: str, route: str | None
) -> None:
    assert 403 == ask_wsgi(application(deny=True), path).status
    assert route == instrumented.attributes().get("http.route")


def test_dispatched_below_a_prefix_the_route_has_it(instrumented: Telemetry) -> None:
    app = DispatcherMiddleware(application(), {"/api": application()})
    assert 200 == ask_wsgi(app, "/api/first/edit").status
    assert "/api/{Entry}/edit" == instrumented.attributes()["http.route"]


def test_a_request_within_a_request_leaves_the_route_of_the_outer_one(instrumented: Telemetry) -> None:
    config = Configurator()
    config.add_route("outer", "/outer/{name}")
    config.add_route("inner", "/inner/{name}")

    def outer(request: Any) -> Response:
        from pyramid.request import Request

        return request.invoke_subrequest(Request.blank("/inner/b"))

    config.add_view(outer, route_name="outer")
    config.add_view(lambda request: Response("inner"), route_name="inner")
    assert b"inner" == ask_wsgi(config.make_wsgi_app(), "/outer/a").body
    assert "/outer/{name}" == instrumented.attributes()["http.route"]


def test_applications_made_before_are_covered_and_everything_is_put_back(telemetry: Telemetry) -> None:
    app = application()
    PyramidInstrumentor().instrument()
    ask_wsgi(app, "/items/1")
    PyramidInstrumentor().uninstrument()
    ask_wsgi(app, "/items/1")
    assert [r"/items/{item:\d+}"] == [span.attributes["http.route"] for span in telemetry.servers()]  # type: ignore[index]
