"""The endpoints as a Flask blueprint."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, abort, request

from bext_otel.endpoints.endpoints import Endpoints
from bext_otel.endpoints.visitors import Visitors

__all__ = ["blueprint"]

# All that Flask would otherwise answer by itself: the endpoints refuse them in their own words.
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def blueprint(endpoints: Endpoints, *, name: str = "bext_otel") -> Blueprint:
    """A blueprint that answers the paths of the endpoints, below its `url_prefix` if it is registered with
    one.

    Its callers are visitors of the application, so none is trusted.
    """
    made, visitors = Blueprint(name, __name__), Visitors(endpoints)
    for position, path in enumerate(endpoints.paths):
        if "<" not in path:  # Flask would read a variable there
            made.add_url_rule(
                path,
                f"path_{position}",
                _view(visitors, path),
                methods=_METHODS,
                provide_automatic_options=False,
            )
    return made


def _view(visitors: Visitors, path: str) -> Callable[[], Response]:
    def answer() -> Response:
        headers = {name.lower(): value for name, value in request.headers}
        query = request.query_string.decode("latin-1")
        by_turns = not request.environ.get("wsgi.multithread", True)
        reply = visitors.reply(request.method, path, query, headers, by_turns=by_turns)
        if reply is None:
            abort(404)
        # Of an empty body Flask would tell the length, which for HEAD is not the one to tell.
        return Response(
            reply.body or None, reply.status, list(reply.headers), content_type=reply.content_type
        )

    return answer
