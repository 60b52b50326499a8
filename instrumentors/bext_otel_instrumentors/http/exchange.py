"""One request and its answer: what becomes of its span, and the request metrics.

ASGI and WSGI share it: both open an `Exchange`, tell it what they see pass by, and finish it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from time import perf_counter
from typing import Any, TypeAlias

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span

from bext_otel.catalogue import (
    HTTP_SERVER_ACTIVE_REQUESTS,
    HTTP_SERVER_REQUEST_DURATION,
    REQUEST_DURATION,
    REQUEST_SIZE,
    REQUESTS,
)
from bext_otel.operation import recorder, settings, show_failure
from bext_otel.process import on_fork
from bext_otel.timing import Anchor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.completion import emit_completion
from bext_otel_instrumentors.http.disconnect import Outcome, departure, outcome
from bext_otel_instrumentors.http.environment import CapturedHeaders
from bext_otel_instrumentors.http.upstream import measures_requests

__all__ = ["BODILESS", "UNMATCHED", "Asked", "Exchange", "count_request", "declared_length"]

UNMATCHED = "unmatched"
"""The `route` of a request that no route template matched. Never the path: clients could make any number of
those."""

BODILESS = frozenset({204, 304})
"""Answers that have no body, as those to HEAD, whatever an application sends along (RFC 9110, sections 9.3.2,
15.3.5 and 15.4.5)."""

Asked: TypeAlias = "tuple[Callable[[Any, Exchange, Mapping[str, Any]], str | None], Any]"
"""Who can say which route template a request has (below what the application is mounted under), if nobody
told: a function, and the application that it is to be called with, before the exchange and its scope or
environ."""

count_request = recorder(REQUESTS, "app", "method", "status", "route")
"""Counts a request, or the handshake of a websocket."""

_record_duration = recorder(REQUEST_DURATION, "app", "route")
_record_size = recorder(REQUEST_SIZE, "app", "direction")
_record_active = recorder(HTTP_SERVER_ACTIVE_REQUESTS, "http.request.method", "url.scheme")
_record_http_duration = recorder(
    HTTP_SERVER_REQUEST_DURATION,
    "http.request.method",
    "url.scheme",
    "http.response.status_code",
    "http.route",
    "network.protocol.version",
    "error.type",
)

_MAX_LENGTH_DIGITS = 18
_NOTHING = Context()
_ANCHOR = Anchor()


# Which process this is: a child that is forked in the middle of a request does not end it, for that is still
# its parent's.
_process = object()


def _in_child() -> None:
    global _process
    _process = object()


on_fork(in_child=_in_child)


def _is_upstreams(exchange: Exchange) -> bool:
    """Whether the span that stands for a request is of upstream's instrumentation."""
    if exchange.owned:
        return False
    scope = getattr(exchange.span, "instrumentation_scope", None)
    return str(getattr(scope, "name", "")).startswith("opentelemetry.instrumentation.")


class Exchange:
    """A request and its answer, from the first byte to the last.

    `anchor` tells the times of its span. `app` and `method` are labels. `status` is what was sent, 0 before.
    `request_bytes` and `response_bytes` count bodies. `mounts` is the template of what the matched route is
    mounted under and `mounted` the path behind it, `matched` the route's own template (None: none matched),
    `routed` says that a framework told, so that nobody needs to guess. `owned` is False where another
    instrumentation's span stands for this request; `upstream` says that upstream's instrumentation runs
    inside. `counting` says that no length of the request's body was declared, so its bytes are counted as
    they are read; `asgi` that its server speaks ASGI. `awaited` are the answered requests that it is one of,
    while its application still runs. `captured` are the headers of the answer that its span is to show.
    `surroundings` is the scope or environ as whoever is furthest inside got it, `asked` who knows its route
    if nobody tells. `left_at` is the status that was sent when the client left (0: none yet; None: it is not
    known to have left), `parting` what the server raised then. `process` is where it is counted as being in
    progress; None: it is not.
    """

    __slots__ = (
        "anchor",
        "app",
        "asgi",
        "asked",
        "awaited",
        "captured",
        "context",
        "counting",
        "ended_ns",
        "error",
        "finished",
        "headers",
        "left_at",
        "matched",
        "method",
        "mounted",
        "mounts",
        "owned",
        "parting",
        "path",
        "process",
        "request_bytes",
        "response_bytes",
        "routed",
        "scheme",
        "seconds",
        "span",
        "started",
        "status",
        "surroundings",
        "unhandled",
        "upstream",
        "version",
    )

    def __init__(self, app: str, method: str, scheme: str, path: str, version: str) -> None:
        self.started = perf_counter()
        self.anchor = _ANCHOR
        self.asgi = False
        self.asked: Asked | None = None
        self.awaited: dict[Exchange, Any] | None = None
        self.captured: CapturedHeaders | None = None
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
        self.left_at: int | None = None
        self.parting: BaseException | None = None
        self.surroundings: Mapping[str, Any] | None = None
        self.unhandled: BaseException | None = None
        self.headers: Iterable[tuple[Any, Any]] = ()
        self.mounts = ""
        self.mounted = ""
        self.matched: str | None = None
        self.routed = False
        self.upstream = False
        self.counting = False
        self.finished = False
        self.process: object = None

    def match(self, route: str | None) -> None:
        """A framework matched this route template (None: it has none that matches)."""
        self.matched = route
        self.routed = True

    def match_below(self, script_name: str, route: str | None) -> None:
        """As `match`, by an application that is reached under `script_name`: further in than mounts have told
        of, perhaps."""
        if script_name.startswith(self.mounted):
            self.mounts += script_name[len(self.mounted) :]
            self.mounted = script_name
        self.match(route)

    def ask(self, surroundings: Mapping[str, Any]) -> str | None:
        """The route of a request that was answered before anybody told, from who was named for that; asks
        once."""
        if self.matched is None and not self.routed and self.asked is not None:
            (question, app), self.asked = self.asked, None
            self.routed = True
            with suppress(Exception):  # the application's own routing; it will fail there, too
                self.matched = question(app, self, surroundings)
        return self.matched

    def leave(self, parting: BaseException | None = None) -> None:
        """The client has left, or cannot be reached (the server raised `parting`). One that has its whole
        answer may."""
        if not self.ended_ns:
            self.parting = parting or self.parting
            if self.left_at is None:
                self.left_at = self.status

    def begin_answer(self, status: int, headers: Iterable[tuple[Any, Any]]) -> None:
        """The application answers with this status and these headers."""
        self.status = status
        self.headers = headers
        if self.captured is not None:
            self.show_headers(self.captured, headers)

    def show_headers(self, captured: CapturedHeaders, headers: Iterable[tuple[Any, Any]]) -> None:
        """Show headers on the span, if it is ours: whoever made another one has read the same variables."""
        if self.owned and self.span.is_recording():
            self.span.set_attributes(captured.attributes(headers))

    def failed(self, error: BaseException) -> None:
        """The application failed with `error`, even if somebody turns that into an answer."""
        if self.error is None:
            self.error = error

    def begin(self) -> None:
        """It is in progress from now until it is finished. What upstream's instrumentation counts is not
        counted twice."""
        if not self.upstream and not _is_upstreams(self):
            self._count_active(1)
            self.process = _process

    def answered(self) -> None:
        """The last byte of the answer is out; what the application does after that takes no time of the
        request's."""
        if not self.ended_ns:
            self.seconds = perf_counter() - self.started
            self.ended_ns = self.anchor.now()

    def annotate(self, route: str | None) -> None:
        """Show what only we know on a span that is not ours, while that is still open."""
        span = self.span
        if span.is_recording():
            span.set_attribute("bext.app", self.app)
            if route:
                span.set_attribute("http.route", route)
                if self._is_path(getattr(span, "name", "")):
                    span.update_name(f"{self.method} {route}")

    def _is_path(self, name: str) -> bool:
        """Whether a span is named by the path, as upstream's middlewares do that know no route. Another name
        is somebody's choice."""
        path = name.removeprefix(f"{self.method} ")
        if not path.startswith("/"):
            return False
        # A WSGI environ has it without what the application is mounted under, and as Latin-1.
        return self.path.endswith((path, path.encode("latin-1", "replace").decode("utf-8", "replace")))

    def finish(self, route: str | None, error: BaseException | None = None) -> None:
        """End the request, once; never raises. `route` is the whole template, `error` what came out of the
        application."""
        if self.finished:
            return
        self.finished = True
        if self.process is _process:
            self._count_active(-1)
        try:
            if not self.ended_ns:
                self.seconds = perf_counter() - self.started
            elif error is not None and self.status < 500 and departure(error) is not None:
                error = None  # a client that has its answer may leave
            if error is not None:
                self.failed(error)
                self.unhandled = error
            self._finish(route)
        except Exception as failure:
            report("the end of a request", failure)
        self.end_span()
        self.release()

    def _count_active(self, change: int) -> None:
        try:
            _record_active(change, self.method, self.scheme)
        except Exception as failure:
            report("the requests in progress", failure)

    def end_span(self) -> None:
        """End the span, if it is ours. Never raises."""
        if self.owned:
            try:
                self.span.end(self.ended_ns or self.anchor.now())
            except Exception as failure:
                report("the end of a span", failure)

    def release(self) -> None:
        """Let go of what refers back to this exchange, so that no garbage collector is needed to free it."""
        self.context = _NOTHING
        self.headers = ()
        self.error = self.unhandled = self.parting = self.surroundings = self.asked = None
        if self.awaited is not None:
            self.awaited.pop(self, None)
            self.awaited = None

    def result(self, error: BaseException | None) -> Outcome:
        """What became of the request, which `error` ended."""
        return outcome(self.status, error, self.left_at, self.parting)

    def _finish(self, route: str | None) -> None:
        error, status = self.error, self.status
        if error is None and 0 < status < 500:
            counted, error_type, failed = status, None, False
        else:
            counted, status, error_type, failed = self.result(error)
        if self.owned and self.span.is_recording():
            self.show_result(route, status)
            if error_type is not None:
                self._show_error(error_type, failed=failed)
        self._measure(route, status, counted, error_type)
        current = settings()
        if current.log_requests:
            raised = error_type if error is not None or not failed else None
            self._complete(status or counted, raised, failed, current.slow_request_ms)

    def show_result(self, route: str | None, status: int) -> None:
        """Give the span its final name, and what is known since the answer."""
        attributes: dict[str, Any] = {}
        if status:
            attributes["http.response.status_code"] = status
        if route:
            attributes["http.route"] = route
            self.span.update_name(f"{'HTTP' if self.method == '_OTHER' else self.method} {route}")
        self.span.set_attributes(attributes)

    def _show_error(self, error_type: str, *, failed: bool) -> None:
        if failed:
            show_failure(self.span, error_type, self.error)
        else:
            self.span.set_attribute("error.type", error_type)

    def _measure(self, route: str | None, status: int, counted: int, error_type: str | None) -> None:
        app, context, seconds = self.app, self.context, self.seconds
        label = route or UNMATCHED
        count_request(1, app, self.method, str(counted), label, context=context)
        _record_duration(seconds * 1e3, app, label, context=context)
        _record_size(self.request_bytes, app, "request", context=context)
        _record_size(self.response_bytes, app, "response", context=context)
        if (self.owned and not self.upstream) or not measures_requests():
            _record_http_duration(
                seconds,
                self.method,
                self.scheme,
                status or None,
                route,
                self.version or None,
                error_type,
                context=context,
            )

    def _complete(self, status: int, raised: str | None, failed: bool, slow_request_ms: float) -> None:
        emit_completion(
            self.context,
            app=self.app,
            method=self.method,
            path=self.path,
            status=status,
            duration_ms=self.seconds * 1e3,
            headers=self.headers,
            raised=raised,
            failed=failed,
            slow_request_ms=slow_request_ms,
            unhandled=self.unhandled if failed else None,
        )


def declared_length(value: str | bytes | None) -> int | None:
    """The number of bytes that a Content-Length header declares; None where it is missing or malformed."""
    if value and len(value) <= _MAX_LENGTH_DIGITS and value.isascii() and value.isdigit():
        return int(value)
    return None
