"""The endpoints as a WSGI application, to mount or to serve alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from bext_otel.endpoints.endpoints import NOT_FOUND, Endpoints, Reply, finished
from bext_otel.endpoints.visitors import Visitors
from bext_otel.listener.answers import TOGETHER

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["WSGIEndpoints", "answer", "finished_for", "respond"]


class WSGIEndpoints:
    """Answers the paths of the endpoints and 404 for any other; what stands in SCRIPT_NAME is the mount's
    prefix.

    Its callers are visitors of the application, so none is trusted.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._visitors = Visitors(endpoints)
        self.owns = endpoints.owns

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method, headers = environ.get("REQUEST_METHOD", "GET"), _headers(environ)
        reply = self._visitors.reply(
            method,
            _path(environ),
            environ.get("QUERY_STRING", ""),
            headers,
            by_turns=not environ.get("wsgi.multithread", True),
        )
        return respond(reply or finished(NOT_FOUND, method, headers), start_response)


def answer(
    endpoints: Endpoints,
    environ: WSGIEnvironment,
    *,
    trusted: bool,
    otherwise: Callable[[str], Reply] = lambda _: NOT_FOUND,
) -> Reply:
    """The reply to a request of our own listener; `otherwise` makes the one for a path that is not one of the
    endpoints'."""
    method, headers, path = environ.get("REQUEST_METHOD", "GET"), _headers(environ), _path(environ)
    reply = endpoints.reply(
        method,
        path,
        environ.get("QUERY_STRING", ""),
        headers,
        trusted=trusted,
        together=environ.get(TOGETHER),
    )
    return finished(otherwise(path), method, headers) if reply is None else reply


def finished_for(reply: Reply, environ: WSGIEnvironment) -> Reply:
    """A reply as it is sent to whoever made this request."""
    return finished(reply, environ.get("REQUEST_METHOD", "GET"), _headers(environ))


def _path(environ: WSGIEnvironment) -> str:
    # WSGI hands bytes over as Latin-1 (PEP 3333).
    return str(environ.get("PATH_INFO", "")).encode("latin-1", "replace").decode("utf-8", "replace")


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    return {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }


def respond(reply: Reply, start_response: StartResponse, *headers: tuple[str, str]) -> Iterable[bytes]:
    """A reply as a WSGI response, with more headers."""
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:  # any three digits are legal
        phrase = "Unknown"
    start_response(
        f"{reply.status} {phrase}", [("content-type", reply.content_type), *reply.headers, *headers]
    )
    return [reply.body]
