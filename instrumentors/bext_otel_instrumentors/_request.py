"""One request, measured: its span by the HTTP semantic conventions (stable), the request metrics, its completion record.

ASGI and WSGI share it: both open an `Exchange`, tell it what they see pass by, and finish it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import perf_counter, time_ns
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context, create_key, get_current
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode

from bext_otel.apps import with_app
from bext_otel.catalogue import HTTP_SERVER_REQUEST_DURATION, METHODS, REQUEST_DURATION, REQUEST_SIZE, REQUESTS, UNKNOWN
from bext_otel.operation import measure, request_logger, settings, tracer
from bext_otel.redaction import redact_query
from bext_otel_instrumentors._guard import report
from bext_otel_instrumentors._upstream import measures_requests

__all__ = [
    "BODILESS",
    "CLIENT_CLOSED_REQUEST",
    "CLIENT_GONE",
    "KEY",
    "UNMATCHED",
    "Exchange",
    "current",
    "declared_length",
    "open_exchange",
]

KEY = "bext_otel.exchange"
"""Where an ASGI scope or a WSGI environ holds the exchange of the request, so that whoever is further inside adds to it."""

UNMATCHED = "unmatched"
"""The `route` of a request that no route template matched. Never the path: clients could make any number of those."""

_KNOWN_METHODS = frozenset(METHODS)
_DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_MAX_PATH = 4096
_MAX_LOGGED_PATH = 1024
_MAX_QUERY = 4096
_MAX_HEADER = 512
_MAX_LENGTH_DIGITS = 18
_MAX_CACHE = 32

# A client that went away is no failure of the application: asyncio cancels, Starlette raises these. Told by name, since neither
# framework is a requirement.
CLIENT_GONE = frozenset({"CancelledError", "ClientDisconnect", "WebSocketDisconnect", "GeneratorExit"})
CLIENT_CLOSED_REQUEST = 499
"""Status that counts a request whose client went away before any answer; nginx's, since HTTP has none."""

BODILESS = frozenset({204, 304})
"""Answers that have no body, as those to HEAD, whatever an application sends along (RFC 9110, sections 9.3.2, 15.3.5 and 15.4.5)."""

_EXCHANGE = create_key("bext-otel-exchange")
_NOTHING = Context()
# The key under which a context holds its span, found by putting one there.
_SPAN = next(iter(trace.set_span_in_context(INVALID_SPAN, Context())))

# Contexts that hold nothing but an app; apps are configured, and a resolver that makes them up only loses the shortcut.
_app_contexts: dict[str, Context] = {}
_MAX_APP_CONTEXTS = 1000


class Exchange:
    """A request and its answer, from the first byte to the last.

    `app` and `method` are labels. `status` is what was sent, 0 before. `request_bytes` and `response_bytes` count bodies. `mounts` is the
    template of what the matched route is mounted under and `mounted` the path behind it, `matched` the route's own template (None: none
    matched), `routed` says that a framework told, so that nobody needs to guess. `owned` is False where another instrumentation's span
    stands for this request; `upstream` says that upstream's instrumentation runs inside. `counting` says that no length of the request's
    body was declared, so its bytes are counted as they are read; `asgi` that its server speaks ASGI.
    """

    __slots__ = (
        "app",
        "asgi",
        "context",
        "counting",
        "ended_ns",
        "error",
        "finished",
        "headers",
        "matched",
        "method",
        "mounted",
        "mounts",
        "owned",
        "path",
        "request_bytes",
        "response_bytes",
        "routed",
        "scheme",
        "seconds",
        "span",
        "started",
        "status",
        "upstream",
        "version",
    )

    def __init__(self, app: str, method: str, scheme: str, path: str, version: str) -> None:
        self.started = perf_counter()
        self.asgi = False
        self.app = app
        self.method = method
        self.scheme = scheme
        self.path = path
        self.version = version
        self.context = _NOTHING
        self.span: Span = INVALID_SPAN
        self.owned = True
        self.status = 0
        self.request_bytes = 0
        self.response_bytes = 0
        self.seconds = 0.0
        self.ended_ns: int | None = None
        self.error: BaseException | None = None
        self.headers: Iterable[tuple[Any, Any]] = ()
        self.mounts = ""
        self.mounted = ""
        self.matched: str | None = None
        self.routed = False
        self.upstream = False
        self.counting = False
        self.finished = False

    def match(self, route: str | None) -> None:
        """A framework matched this route template (None: it has none that matches)."""
        self.matched = route
        self.routed = True

    def match_below(self, script_name: str, route: str | None) -> None:
        """As `match`, by an application that is reached under `script_name`: further in than mounts have told of, perhaps."""
        if script_name.startswith(self.mounted):
            self.mounts += script_name[len(self.mounted) :]
            self.mounted = script_name
        self.match(route)

    def begin_answer(self, status: int, headers: Iterable[tuple[Any, Any]]) -> None:
        """The application answers with this status and these headers."""
        self.status = status
        self.headers = headers

    def failed(self, error: BaseException) -> None:
        """The application failed with `error`, even if somebody turns that into an answer."""
        if self.error is None:
            self.error = error

    def answered(self) -> None:
        """The last byte of the answer is out; what the application does after that is not part of the request."""
        if not self.ended_ns:
            self.seconds = perf_counter() - self.started
            self.ended_ns = time_ns()

    def annotate(self, route: str | None) -> None:
        """Show what only we know on a span that is not ours, while that is still open."""
        if self.span.is_recording():
            self.span.set_attribute("bext.app", self.app)
            if route:
                self.span.set_attribute("http.route", route)

    def finish(self, route: str | None, error: BaseException | None = None) -> None:
        """End the request, once; never raises. `route` is the whole template, `error` what came out of the application."""
        if self.finished:
            return
        self.finished = True
        try:
            if not self.ended_ns:
                self.seconds = perf_counter() - self.started
            if error is not None:
                self.failed(error)
            self._finish(route)
        except Exception as failure:
            report("the end of a request", failure)
        self.release()

    def release(self) -> None:
        """Let go of what refers back to this exchange, so that no garbage collector is needed to free it."""
        self.context = _NOTHING
        self.headers = ()

    def _finish(self, route: str | None) -> None:
        error = self.error
        counted = status = self.status
        error_type: str | None = None
        if error is not None:
            error_type = type(error).__qualname__
            if error_type in CLIENT_GONE:
                # With nobody left to read it, a 5xx is what a framework makes of the exception that says so.
                counted = status if 0 < status < 500 else CLIENT_CLOSED_REQUEST
                status = status if status < 500 else 0
            else:
                counted = status if status >= 500 else 500
                status = status or 500
        elif status == 0:
            # A server answers 500 for an application that does not.
            counted = status = 500
        if error_type is None and status >= 500:
            error_type = str(status)
        if self.owned and self.span.is_recording():
            self.show_result(route, status)
            if error_type is not None:
                self._show_error(error_type)
        self._measure(route, status, counted, error_type)
        current_settings = settings()
        if current_settings.log_requests:
            self._log(status or counted, error_type, current_settings.slow_request_ms)
        if self.owned:
            self.span.end(self.ended_ns)

    def show_result(self, route: str | None, status: int) -> None:
        """Give the span its final name, and what is known since the answer."""
        attributes: dict[str, Any] = {}
        if status:
            attributes["http.response.status_code"] = status
        if route:
            attributes["http.route"] = route
            self.span.update_name(f"{'HTTP' if self.method == '_OTHER' else self.method} {route}")
        self.span.set_attributes(attributes)

    def _show_error(self, error_type: str) -> None:
        span = self.span
        span.set_attribute("error.type", error_type)
        if error_type not in CLIENT_GONE:
            span.set_status(StatusCode.ERROR)
            if self.error is not None:
                span.record_exception(self.error)

    def _measure(self, route: str | None, status: int, counted: int, error_type: str | None) -> None:
        app, context, seconds = self.app, self.context, self.seconds
        label = route or UNMATCHED
        measure(REQUESTS, 1, app, self.method, str(counted), label, context=context)
        measure(REQUEST_DURATION, seconds * 1e3, app, label, context=context)
        measure(REQUEST_SIZE, self.request_bytes, app, "request", context=context)
        measure(REQUEST_SIZE, self.response_bytes, app, "response", context=context)
        if (self.owned and not self.upstream) or not measures_requests():
            measure(
                HTTP_SERVER_REQUEST_DURATION,
                seconds,
                self.method,
                self.scheme,
                status or None,
                route,
                self.version or None,
                error_type,
                context=context,
            )

    def _log(self, status: int, error_type: str | None, slow_request_ms: float) -> None:
        logger = request_logger()
        duration_ms = self.seconds * 1e3
        if error_type is not None and error_type not in CLIENT_GONE:
            severity, text = SeverityNumber.ERROR, "ERROR"
        elif duration_ms > slow_request_ms:
            severity, text = SeverityNumber.WARN, "WARN"
        else:
            severity, text = SeverityNumber.INFO, "INFO"
        if not logger.enabled(context=self.context, severity_number=severity):
            return
        attributes: dict[str, Any] = {
            "app": self.app,
            "method": self.method,
            "path": self.path[:_MAX_LOGGED_PATH],
            "status": status,
            "duration_ms": round(duration_ms, 3),
        }
        if (cache := _cache_of(self.headers)) is not None:
            attributes["cache"] = cache
        if self.error is not None:
            attributes["error_type"] = error_type
        now = time_ns()
        logger.emit(
            LogRecord(
                timestamp=now,
                observed_timestamp=now,
                context=self.context,
                severity_number=severity,
                severity_text=text,
                body="request completed",
                attributes=attributes,
            )
        )


def current(context: Context | None = None) -> Exchange | None:
    """The exchange that the current code (or `context`) works for; None outside of a request."""
    found = (get_current() if context is None else context).get(_EXCHANGE)
    return found if isinstance(found, Exchange) else None


def open_exchange(
    method: str,
    scheme: str,
    path: str,
    query: str,
    version: str,
    host: str,
    server: tuple[str, int | None] | None,
    client: tuple[str, int] | None,
    user_agent: str,
    context: Context,
) -> Exchange:
    """Begin a request, in `context` (what propagation found, or empty), as a span of kind SERVER unless one stands for it already.

    `host` is the Host header, or empty; `server` and `client` are socket addresses. The new context is not attached.
    """
    known = method if method in _KNOWN_METHODS else "_OTHER"
    current_settings = settings()
    app = UNKNOWN if current_settings.resolver is None else current_settings.resolver(host, path)
    exchange = Exchange(app, known, scheme, path, version)
    span = _span_for_this_request(context) if context else None
    if span is not None:
        exchange.owned = False
    else:
        attributes: dict[str, Any] = {
            "http.request.method": known,
            "url.path": path if len(path) <= _MAX_PATH else path[:_MAX_PATH],
            "url.scheme": scheme,
            "bext.app": app,
        }
        if known != method:
            attributes["http.request.method_original"] = method[:_MAX_HEADER]
        if query:
            attributes["url.query"] = redact_query(query[:_MAX_QUERY])
        if version:
            attributes["network.protocol.version"] = version
        _add_addresses(attributes, scheme, host, server, client)
        if user_agent:
            attributes["user_agent.original"] = user_agent[:_MAX_HEADER]
        name = known if known is method else "HTTP"
        span = tracer().start_span(name, context, SpanKind.SERVER, attributes)
    exchange.span = span
    exchange.context = _context_of(app, span, exchange, context)
    return exchange


def _add_addresses(
    attributes: dict[str, Any], scheme: str, host: str, server: tuple[str, int | None] | None, client: tuple[str, int] | None
) -> None:
    if host:
        name, port = _authority(host, scheme)
        attributes["server.address"] = name
        attributes["server.port"] = port
    elif server is not None:
        attributes["server.address"] = server[0]
        if server[1] is not None:
            attributes["server.port"] = server[1]
    if client is not None and client[0]:
        attributes["client.address"] = attributes["network.peer.address"] = client[0]
        if client[1]:
            attributes["client.port"] = attributes["network.peer.port"] = client[1]


def _authority(host: str, scheme: str) -> tuple[str, int]:
    """Name and port of a Host header; the scheme's default port where it names none."""
    if host[0] == "[":
        name, _, rest = host[1:_MAX_HEADER].partition("]")
        port = rest[1:]
    else:
        name, _, port = host[:_MAX_HEADER].partition(":")
    if port and len(port) < 6 and port.isascii() and port.isdigit():
        return name, int(port)
    return name, _DEFAULT_PORTS.get(scheme, 80)


def _span_for_this_request(context: Context) -> Span | None:
    """The SERVER span that another instrumentation, outside of ours, has started for the request that is just coming in.

    Such a span is local, recording, of kind SERVER, and not the one of an exchange of ours: below that, it is a new request that the
    application sends to itself.
    """
    span = trace.get_current_span(context)
    if getattr(span, "kind", None) is not SpanKind.SERVER or not span.is_recording():
        return None
    around = current(context)
    return None if around is not None and around.span is span else span


def _context_of(app: str, span: Span, exchange: Exchange, context: Context) -> Context:
    if context:
        base = with_app(app, context)
    else:
        found = _app_contexts.get(app)
        if found is None:
            found = with_app(app, Context())
            if len(_app_contexts) < _MAX_APP_CONTEXTS:
                _app_contexts[app] = found
        base = found
    return Context({**base, _SPAN: span, _EXCHANGE: exchange})


def _cache_of(headers: Iterable[tuple[Any, Any]]) -> str | None:
    """What the answer says about the cache that it came from: the header `x-bext-cache` (hit, stale, miss) of the bext platform."""
    for name, value in headers:
        if len(name) == 12 and name.lower() in {"x-bext-cache", b"x-bext-cache"}:
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            return text[:_MAX_CACHE]
    return None


def declared_length(value: str | bytes | None) -> int | None:
    """The number of bytes that a Content-Length header declares; None where it is missing or malformed."""
    if value and len(value) <= _MAX_LENGTH_DIGITS and value.isascii() and value.isdigit():
        return int(value)
    return None
