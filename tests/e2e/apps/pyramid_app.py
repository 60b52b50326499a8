"""A Pyramid application: routes, traversal, a stream, an upload, static files and an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyramid.config import Configurator
from pyramid.response import Response


class Entry:
    """A resource."""


def item(request: Any) -> Response:
    return Response(request.matchdict["item"])


def upload(request: Any) -> Response:
    return Response(str(len(request.body)))


def fail(request: Any) -> Response:
    raise LookupError("lost")


def stream(request: Any) -> Response:
    return Response(app_iter=iter([b"abc"] * 3))


def edit(context: Any, request: Any) -> Response:
    return Response("edited")


def application() -> Any:
    with Configurator(root_factory=lambda request: {"first": Entry(), "second": Entry()}) as config:
        for name, pattern, view in (
            ("item", "/items/{item}", item),
            ("upload", "/uploads/{name}", upload),
            ("fail", "/fail", fail),
            ("stream", "/stream", stream),
        ):
            config.add_route(name, pattern)
            config.add_view(view, route_name=name)
        config.add_static_view("static", str(Path(__file__).parent))
        config.add_view(edit, context=Entry, name="edit")
        return config.make_wsgi_app()


app = application()
