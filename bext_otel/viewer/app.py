"""The viewer as a WSGI application: OTLP in, pages and their JSON out."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs

import msgspec
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from bext_otel.viewer import documents
from bext_otel.viewer.logs import LEVELS
from bext_otel.viewer.receiver import JSON, BadBodyError, decode, encode, encode_error
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
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
}
_REASONS |= {415: "Unsupported Media Type", 500: "Internal Server Error"}
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


@dataclass(frozen=True)
class _Answer:
    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class ViewerApp:
    """Answers `POST /v1/{traces,metrics,logs}`, `GET /api/...` and the pages, out of and into a `Store`.

    Only to names of the machine itself: a page elsewhere that points its own name at 127.0.0.1 (DNS
    rebinding) is refused by the Host header, one that posts across origins by the Origin header.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._assets = _assets()
        self._signals: dict[str, Callable[[bytes, str, str], _Answer]] = {
            "/v1/traces": self._take_spans,
            "/v1/logs": self._take_logs,
            "/v1/metrics": self._take_metrics,
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI (PEP 3333)."""
        try:
            answer = self._answer(environ)
        except Exception:
            _log.exception("viewer.failed")
            answer = _error(500, "the viewer failed; its log has the reason")
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            *answer.headers,
            *_SECURITY,
        ]
        start_response(f"{answer.status} {_REASONS[answer.status]}", headers)
        return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: WSGIEnvironment) -> _Answer:
        if not is_local(environ.get("HTTP_HOST", "")) or not _same_machine(environ.get("HTTP_ORIGIN", "")):
            return _error(403, "the viewer answers to localhost, 127.0.0.1 and [::1] only")
        path = environ.get("PATH_INFO", "")
        method = environ["REQUEST_METHOD"]
        take = self._signals.get(path)
        if take is not None:
            return self._receive(environ, take) if method == "POST" else _not_allowed("POST")
        if method not in {"GET", "HEAD"}:
            return _not_allowed("GET, HEAD")
        asset = self._assets.get(path)
        return asset or self._document(
            _utf8(path), parse_qs(environ.get("QUERY_STRING", ""), errors="replace", max_num_fields=20)
        )

    def _receive(self, environ: WSGIEnvironment, take: Callable[[bytes, str, str], _Answer]) -> _Answer:
        content_type = environ.get("CONTENT_TYPE", "")
        try:
            limit = self._store.limits.body_bytes
            length = environ.get("CONTENT_LENGTH") or "0"
            if not length.isdecimal():
                raise BadBodyError(400, "Content-Length is no number")
            if int(length) > limit:
                raise BadBodyError(413, f"the body has {length} bytes: at most {limit} are taken")
            return take(
                environ["wsgi.input"].read(int(length)),
                content_type,
                environ.get("HTTP_CONTENT_ENCODING", ""),
            )
        except BadBodyError as exc:
            self._store.refuse_body()
            return _Answer(exc.status, *encode_error(exc.status, exc.reason, content_type))

    def _take_spans(self, body: bytes, content_type: str, encoding: str) -> _Answer:
        request = self._decode(trace_service_pb2.ExportTraceServiceRequest(), body, content_type, encoding)
        reply = trace_service_pb2.ExportTraceServiceResponse()
        if refused := self._store.add_spans(request):
            reply.partial_success.rejected_spans = refused
            reply.partial_success.error_message = "trace ids have 16 bytes, span ids 8"
        return _Answer(200, *encode(reply, content_type))

    def _take_logs(self, body: bytes, content_type: str, encoding: str) -> _Answer:
        self._store.add_logs(
            self._decode(logs_service_pb2.ExportLogsServiceRequest(), body, content_type, encoding)
        )
        return _Answer(200, *encode(logs_service_pb2.ExportLogsServiceResponse(), content_type))

    def _take_metrics(self, body: bytes, content_type: str, encoding: str) -> _Answer:
        request = self._decode(
            metrics_service_pb2.ExportMetricsServiceRequest(), body, content_type, encoding
        )
        reply = metrics_service_pb2.ExportMetricsServiceResponse()
        if refused := self._store.add_metrics(request):
            reply.partial_success.rejected_data_points = refused
            reply.partial_success.error_message = (
                "no recorded value, too many buckets, or buckets that contradict their bounds"
            )
        return _Answer(200, *encode(reply, content_type))

    def _decode(self, message: Message, body: bytes, content_type: str, encoding: str) -> Any:
        return decode(
            message,
            body,
            content_type=content_type,
            encoding=encoding,
            limit=self._store.limits.inflated_bytes,
        )

    def _document(self, path: str, query: Mapping[str, list[str]]) -> _Answer:
        try:
            with self._store.reading():
                found = _documents(self._store, path, {name: values[-1] for name, values in query.items()})
        except ValueError as exc:
            return _error(400, str(exc))
        return (
            _error(404, f"nothing at {path[:200]}")
            if found is None
            else _Answer(200, JSON, msgspec.json.encode(found))
        )


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


def _documents(store: Store, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:  # noqa: PLR0911 - a table of addresses
    limit = _number(query, "limit", 200, 1, 1000)
    if path == "/api/summary":
        return documents.summary(store)
    if path == "/api/traces":
        min_ms = _number(query, "min_ms", 0, 0, 1e9)
        errors = query.get("errors", "") in {"1", "true"}
        return documents.traces(
            store,
            text=query.get("q", ""),
            app=query.get("app", ""),
            errors=errors,
            min_ms=min_ms,
            limit=int(limit),
        )
    if path.startswith("/api/traces/"):
        return documents.trace(store, path.removeprefix("/api/traces/").lower())
    if path == "/api/logs":
        severity = _severity(query.get("level", ""))
        text, trace_id, app = (query.get(name, "") for name in ("q", "trace", "app"))
        return documents.log_lines(
            store, severity=severity, text=text, trace_id=trace_id.lower(), app=app, limit=int(limit)
        )
    if path == "/api/metrics":
        return documents.metrics(store)
    if path.startswith("/api/metrics/"):
        return documents.metric(
            store, path.removeprefix("/api/metrics/"), limit=int(_number(query, "series", 8, 1, 100))
        )
    return None


def _number(query: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    raw = query.get(name, "")
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ValueError(f"{name} = {raw[:50]!r}: expected a number from {low:g} to {high:g}")
    return value


def _severity(level: str) -> int:
    if not level:
        return 0
    if level not in LEVELS:
        raise ValueError(f"level = {level[:50]!r}: expected one of {', '.join(LEVELS)}")
    return LEVELS.index(level) * 4 + 1


def _utf8(path: str) -> str:
    """The path as text; WSGI gives its bytes as Latin-1 (PEP 3333)."""
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def _error(status: int, reason: str) -> _Answer:
    return _Answer(status, JSON, msgspec.json.encode({"error": reason}))


def _not_allowed(allowed: str) -> _Answer:
    answer = _error(405, f"this address takes {allowed}")
    return _Answer(answer.status, answer.content_type, answer.body, (("Allow", allowed),))


def _assets() -> dict[str, _Answer]:
    """The pages' files by address. They are read once: nothing in a request ever becomes a file name."""
    found = {}
    for file in (resources.files("bext_otel.viewer") / "static").iterdir():
        kind = file.name.rpartition(".")[2]
        if kind in _TYPES:
            found[f"/static/{file.name}"] = _Answer(200, _TYPES[kind], file.read_bytes())
    found["/"] = found.pop("/static/index.html")
    return found
