"""The viewer as a WSGI application: OTLP in, pages and their JSON out."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from importlib import resources
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs

import msgspec

from bext_otel.viewer.answers import Answer, error, not_allowed
from bext_otel.viewer.intake.ingest import Ingest
from bext_otel.viewer.intake.receiver import JSON
from bext_otel.viewer.login import Login
from bext_otel.viewer.questions import WrongQuestionError, document
from bext_otel.viewer.store import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["ViewerApp", "is_local", "lane"]

_log = logging.getLogger("bext_otel.viewer")

_LOCAL = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
_REASONS = {
    200: "OK",
    303: "See Other",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_MOST_PARAMETERS = 20
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SECURITY = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


class ViewerApp:
    """Answers `POST /v1/{traces,metrics,logs}`, `GET /api/...` and the pages, out of and into a `Store`.

    Only to names of the machine itself: a page elsewhere that points its own name at 127.0.0.1 (DNS
    rebinding) is refused by the Host header, one that posts across origins by the Origin header. With a
    `token`, pages and documents are for who shows it; to send OTLP, nobody needs it.
    """

    def __init__(self, store: Store, *, token: str = "") -> None:
        self._store = store
        self._assets = _assets()
        self._ingest = Ingest(store)
        self._login = Login(token)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI (PEP 3333)."""
        try:
            answer = self._answer(environ)
        except Exception:
            _log.exception("viewer.failed")
            answer = error(500, "the viewer failed; its log has the reason")
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            *answer.headers,
            *_SECURITY,
        ]
        start_response(f"{answer.status} {_REASONS[answer.status]}", headers)
        return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: WSGIEnvironment) -> Answer:
        if not is_local(environ.get("HTTP_HOST", "")) or not _same_machine(environ.get("HTTP_ORIGIN", "")):
            return error(403, "the viewer answers to localhost, 127.0.0.1 and [::1] only")
        path = environ.get("PATH_INFO", "")
        method = environ["REQUEST_METHOD"]
        if path in self._ingest.addresses:
            return self._ingest.receive(environ) if method == "POST" else not_allowed("POST")
        return self._shown(environ, path) if method in {"GET", "HEAD"} else not_allowed("GET, HEAD")

    def _shown(self, environ: WSGIEnvironment, path: str) -> Answer:
        """A page, or a document, for those who may see it."""
        try:
            asked = parse_qs(
                environ.get("QUERY_STRING", ""), errors="replace", max_num_fields=_MOST_PARAMETERS
            )
        except ValueError:
            return error(400, f"the query has too many parameters: expected at most {_MOST_PARAMETERS}")
        query = {name: values[-1] for name, values in asked.items()}
        if path == "/" and (cookie := self._login.cookie(query.get("token", ""))) is not None:
            # Away from the address with the token, which would stand in the history and in what is copied.
            return Answer(303, _TYPES["html"], b"", (("Set-Cookie", cookie), ("Location", "/")))
        if not path.startswith("/static/") and not self._login.admits(environ):
            return error(
                401,
                "open the address that the viewer printed: it has a token",
                ("WWW-Authenticate", "Bearer"),
            )
        return self._assets.get(path) or self._document(_utf8(path), query)

    def _document(self, path: str, query: dict[str, str]) -> Answer:
        try:
            with self._store.reading():
                found = document(self._store, path, query)
        except WrongQuestionError as exc:
            return error(400, str(exc))
        if found is None:
            return error(404, f"nothing at {path[:200]}")
        return Answer(200, JSON, msgspec.json.encode(found))


def lane(path: str) -> Literal["receiving", "documents"] | None:
    """Where the answer for a path is made: what comes in holds up no page, and neither holds up the files of
    the pages, which are there already."""
    if path.startswith("/v1/"):
        return "receiving"
    return "documents" if path.startswith("/api/") else None


def is_local(host: str) -> bool:
    """Whether a Host header names this machine by its loopback names, with or without a port."""
    return _LOCAL.fullmatch(host) is not None


def _same_machine(origin: str) -> bool:
    return not origin or is_local(origin.partition("://")[2])


def _utf8(path: str) -> str:
    """The path as text; WSGI gives its bytes as Latin-1 (PEP 3333)."""
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def _assets() -> dict[str, Answer]:
    """The pages' files by address. They are read once: nothing in a request ever becomes a file name."""
    found = {}
    for file in (resources.files("bext_otel.viewer") / "static").iterdir():
        kind = file.name.rpartition(".")[2]
        if kind in _TYPES:
            found[f"/static/{file.name}"] = Answer(200, _TYPES[kind], file.read_bytes())
    found["/"] = found.pop("/static/index.html")
    return found
