"""One request and its answer: what becomes of its span, and the request metrics.

ASGI, WSGI and websockets share it: they make an `Exchange` of what came in, tell it what they see pass by,
and finish it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, Any, ParamSpec

from opentelemetry.context import Context, set_value

from bext_otel._compat import SPAN_KEY, get_current
from bext_otel.apps import with_app
from bext_otel.crashes import note_answered, note_crash
from bext_otel.fields import HOLDER, Holder, Value
from bext_otel.operation import Measure, Settings, settings
from bext_otel.process import on_fork
from bext_otel.redaction import redact_body
from bext_otel.request_facts import REQUEST_KEY, Access, Carried, Facts, well_formed
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.body_sizes import record_body_sizes
from bext_otel_instrumentors.http.completion import emit_completion
from bext_otel_instrumentors.http.disconnect import Outcome, departure, outcome
from bext_otel_instrumentors.http.environment import CapturedHeaders, Choices
from bext_otel_instrumentors.http.request_metrics import count_active, record_request
from bext_otel_instrumentors.http.routed import Asked, Routed
from bext_otel_instrumentors.http.server_span import annotate, is_upstreams, show_error, show_result
from bext_otel_instrumentors.http.upstream_counts import meet_inside

if TYPE_CHECKING:
    from bext_otel_instrumentors.http.body_log import Bodies
    from bext_otel_instrumentors.http.incoming import Interface
    from bext_otel_instrumentors.http.opening import Opening

__all__ = ["Exchange", "current", "declared_length"]

# Answers that have no body, as those to HEAD, whatever an application sends along (RFC 9110, sections 9.3.2,
# 15.3.5 and 15.4.5).
_BODILESS = frozenset({204, 304})

P = ParamSpec("P")

_MAX_LENGTH_DIGITS = 18
_IN_PROGRESS = "the requests in progress"
_CONTENT_LENGTH = frozenset({"content-length", b"content-length"})
_NOTHING = Context()

# Which process this is: a child that is forked in the middle of a request does not end it, for that is still
# its parent's.
_process = object()


def _in_child() -> None:
    global _process
    _process = object()


on_fork(in_child=_in_child)


def current(context: Context | None = None) -> Exchange | None:
    """The exchange that the current code (or `context`) works for; None outside of a request."""
    found = (get_current() if context is None else context).get(REQUEST_KEY)
    return found if isinstance(found, Exchange) else None


class Exchange(Routed):
    """A request and its answer, from the first byte to the last.

    Who it is, from its `Opening`: `app`, `method`, `scheme`, `path`, `version`, `span`, `owned`, `anchor`,
    `started`; the `context` of the work that is done for it. `interface` is what its server speaks, `asgi`
    says that it is ASGI, `upstream` that upstream's instrumentation runs inside, `counting` that no length of
    the request's body was declared, so its bytes are counted as they are read. `chosen` says which headers
    its span is to show, `name` is what it is called instead of its route. `sent_id` is the X-Request-Id that
    came, as it came, and `request_id` what it is known by once somebody has asked (`facts`); `sends_id`
    says that this is sent back. `surroundings` is the scope or environ as whoever is furthest inside got it.

    Its answer: `route` is the whole template, once it is over; `status` is what was sent, 0 before;
    `request_bytes` and `response_bytes` count bodies. `left_at` is the status that was sent when the client
    left (0: none yet; None: it is not known to have left), `parting` what the server raised then. `ended_ns`
    is when the last byte was out. `awaited` are the answered requests that it is one of, while its
    application still runs. `process` is where it is counted as being in progress, and `in_progress` what
    counts it (None: it is not). `withdrawn`: it is not measured after all. `bodies` notes what it and its
    answer hold (None: nobody asks). `fields` are those that the application has bound to its lines.
    """

    __slots__ = (
        "anchor",
        "app",
        "awaited",
        "bodies",
        "chosen",
        "context",
        "counting",
        "ended_ns",
        "error",
        "fields",
        "finished",
        "headers",
        "in_progress",
        "interface",
        "left_at",
        "method",
        "name",
        "owned",
        "parting",
        "process",
        "request_bytes",
        "request_id",
        "response_bytes",
        "route",
        "scheme",
        "seconds",
        "sends_id",
        "sent_id",
        "span",
        "started",
        "status",
        "surroundings",
        "unhandled",
        "upstream",
        "version",
        "withdrawn",
    )

    def __init__(
        self,
        opening: Opening,
        surroundings: Mapping[str, Any],
        *,
        interface: Interface,
        upstream: bool,
        mounted: str,
        chosen: Choices,
        length: int | None,
        counting: bool,
        asked: Asked | None,
        sent_id: str | bytes | None,
        sends_id: bool,
    ) -> None:
        """`length` is the declared one of the request's body; None: none was declared."""
        (
            self.started,
            self.app,
            self.method,
            self.scheme,
            path,
            self.version,
            self.span,
            self.owned,
            self.anchor,
            above,
        ) = opening
        # As `Routed` begins, without another call.
        self.path, self.root, self.mounts, self.mounted = path, mounted, "", mounted
        self.asked, self.matched, self.routed = asked, None, False
        self.context = Context({**above, SPAN_KEY: self.span, REQUEST_KEY: self, HOLDER: self})
        self.surroundings: Mapping[str, Any] | None = surroundings
        self.interface = interface
        self.upstream = upstream
        self.chosen = chosen
        self.request_bytes = length or 0
        self.counting = counting
        # `route` and `request_id` are set once they are known, which most are never asked for.
        self.sent_id, self.sends_id = sent_id, sends_id
        self.name = ""
        self.status = 0
        self.headers: Iterable[tuple[Any, Any]] = ()
        self.response_bytes = 0
        self.seconds = 0.0
        self.ended_ns: int | None = None
        self.error: BaseException | None = None
        self.unhandled: BaseException | None = None
        self.left_at: int | None = None
        self.parting: BaseException | None = None
        self.awaited: dict[Exchange, Any] | None = None
        self.bodies: Bodies | None = None
        self.finished = self.withdrawn = False
        self.fields: Mapping[str, Value] | None = None
        self.process: object = None
        self.in_progress: Measure | None = None

    def facts(self) -> Facts:
        """See `bext_otel.request_facts`: the id is the one that was sent, if it is well formed, else that of
        the trace."""
        route: str | None = getattr(self, "route", None)
        known: str | None = getattr(self, "request_id", None)
        if route is None and self.matched is not None:
            route = redact_body(f"{self.root}{self.mounts}{self.matched}")
        if known is None:
            if self.sent_id:
                known = well_formed(self.sent_id)
            # By place, since the names of a context's fields are properties.
            if known is None and (trace_id := self.span.get_span_context()[0]):
                known = f"{trace_id:032x}"
            self.request_id: str | None = known
        return route, known

    @property
    def asgi(self) -> bool:
        """Whether its server speaks ASGI."""
        return self.interface.asgi

    def access(self) -> Access | None:
        """See `bext_otel.request_facts`."""
        return None if self.surroundings is None else self.interface.access(self, self.surroundings)

    # --- Its bodies -----------------------------------------------------------------------------------------

    def received(self, size: int) -> None:
        """So many bytes of the request's body were read."""
        self.request_bytes += size

    def sent(self, size: int) -> None:
        """So many bytes of the answer's body go out."""
        self.response_bytes += size

    def sent_whole(self) -> bool:
        """The whole body goes out, without passing by here: it is as long as the headers declare. Whether
        they do."""
        length = self.declared()
        if length is not None:
            self.response_bytes = max(length, self.response_bytes)
        return length is not None

    def declared(self) -> int | None:
        """How long the answer's body is, by its headers; None where only reading it would tell."""
        if self.is_bodiless():
            return 0
        return next(
            (declared_length(value) for name, value in self.headers if name.lower() in _CONTENT_LENGTH), None
        )

    def is_bodiless(self) -> bool:
        """Whether its answer has no body, whatever the application sends."""
        return self.method == "HEAD" or self.status in _BODILESS

    # --- Its life -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """It is in progress from now until it is finished. What upstream's instrumentation counts is not
        counted twice."""
        if not self.upstream and (self.owned or not is_upstreams(self.span)):
            try:
                self.in_progress = count_active(self.method, self.scheme, self.app)
                self.process = _process
            except Exception as failure:
                report(_IN_PROGRESS, failure)

    def meet_upstream(self) -> None:
        """Upstream's instrumentation runs inside, and counts what is in progress and how long it took."""
        if not self.upstream:
            self.upstream = True
            self._leave_progress()
            meet_inside()

    def withdraw(self) -> None:
        """It is not measured after all, says the application: nothing is told of it, and its span is
        dropped."""
        if not self.finished:
            self.finished = self.withdrawn = True
            self._leave_progress()
            self._release()

    def _leave_progress(self) -> None:
        count, self.in_progress = self.in_progress, None
        if count is not None and self.process is _process:
            try:
                count(-1)
            except Exception as failure:
                report(_IN_PROGRESS, failure)

    def begin_answer(self, status: int, headers: Iterable[tuple[Any, Any]] = ()) -> bool:
        """The application answers with this status and these headers; whether that has no body, whatever it
        sends."""
        self.status = status
        self.headers = headers
        if self.chosen.response is not None:
            self.show_headers(self.chosen.response, headers)
        return status in _BODILESS or self.method == "HEAD"  # as `is_bodiless` says, without another call

    def leave(self, parting: BaseException | None = None, *, unanswered: bool = False) -> None:
        """The client has left, or cannot be reached (the server raised `parting`, also for the status if
        `unanswered`). One that has its whole answer may."""
        if unanswered:
            self.status = 0
        if not self.ended_ns:
            self.parting = parting or self.parting
            if self.left_at is None:
                self.left_at = self.status

    def failed(self, error: BaseException) -> None:
        """The application failed with `error`, even if somebody turns that into an answer, and tells of it
        next."""
        if self.error is None:
            self.error = error
            if not self.finished:
                note_answered(error)

    def answered(self) -> None:
        """The last byte of the answer is out; what the application does after that takes no time of the
        request's."""
        if not self.ended_ns:
            steady_ns = perf_counter_ns()
            self.seconds = steady_ns / 1e9 - self.started
            self.ended_ns = self.anchor.at(steady_ns)

    def seconds_since_answer(self) -> float:
        """How long ago the last byte of the answer was out."""
        return (self.anchor.now() - (self.ended_ns or 0)) / 1e9

    def finish(self, route: str | None, error: BaseException | None = None) -> None:
        """End the request, once; never raises. `route` is the whole template, `error` what came out of the
        application."""
        self.end("the end of a request", self._conclude, route, error)

    def end(self, what: str, conclude: Callable[P, None], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """`what` has come: `conclude` tells of it, once, with these arguments, and the span ends if it is
        ours. Never raises."""
        if self.finished:
            return
        self.finished = True
        if self.in_progress is not None:
            self._leave_progress()
        try:
            conclude(*args, **kwargs)
        except Exception as failure:
            report(what, failure)
        if self.owned:
            try:
                self.span.end(self.ended_ns or self.anchor.now())
            except Exception as failure:
                report("the end of a span", failure)
        self._release()

    def _release(self) -> None:
        """Let go of what refers back to this exchange, so that no garbage collector is needed to free it."""
        self.context = _NOTHING
        self.headers = ()
        self.surroundings = self.asked = self.bodies = None
        if self.error is not None or self.parting is not None:
            self.error = self.unhandled = self.parting = None
        if self.awaited is not None:
            self.awaited.pop(self, None)
            self.awaited = None

    def _conclude(self, route: str | None, error: BaseException | None) -> None:
        route = None if route is None else redact_body(route)
        self.route: str | None = route
        if not self.ended_ns:
            self.seconds = perf_counter() - self.started
        elif error is not None and self.status < 500 and departure(error) is not None:
            error = None  # a client that has its answer may leave
        if self.method == "HEAD" or self.status in _BODILESS:  # as `is_bodiless` says, without another call
            self.response_bytes = 0
        if error is not None:
            self.error = self.error or error
            self.unhandled = error
        error, status = self.error, self.status
        if error is None and 0 < status < 500:
            counted, error_type, failed = status, None, False
        else:
            counted, status, error_type, failed = self.result(error)
        if error_type is not None:
            self.show_result(route, status, error_type, error, failed=failed)
        elif self.owned:
            show_result(self.span, self.method, route, status, self.name)
        record_request(self, route, status, counted, error_type)
        current_settings = settings()
        if self.bodies is not None or current_settings.body_sizes:
            self._tell_bodies(route, status, error_type, sizes=current_settings.body_sizes)
        if current_settings.log_requests:
            raised = error_type if error is not None or not failed else None
            self._complete(current_settings, status or counted, raised, failed=failed)
        if self.unhandled is not None:  # of which the server tells next
            here = Context({SPAN_KEY: self.span, REQUEST_KEY: Carried(*self.facts())})
            here = with_app(self.app, here)
            if self.fields:
                here = set_value(HOLDER, Holder(self.fields), here)
            note_crash(self.unhandled, here, told=failed and current_settings.log_requests)

    def _tell_bodies(self, route: str | None, status: int, error_type: str | None, *, sizes: bool) -> None:
        if self.bodies is not None:
            self.bodies.tell(self)
        if sizes:
            record_body_sizes(self, route, status, error_type)

    def _complete(self, known: Settings, status: int, raised: str | None, *, failed: bool) -> None:
        slow, quiet = known.slow_request_ms, known.quiet
        limit = slow if type(slow) is float else slow(self.app, self.route)  # type: ignore[operator]
        if (
            failed
            or quiet is None
            or self.error is not None
            or self.seconds * 1e3 > limit
            or not quiet(self.path, status, self.span.get_span_context().trace_id)
        ):
            emit_completion(self, status, raised, failed=failed, slow_request_ms=limit)

    def result(self, error: BaseException | None) -> Outcome:
        """What became of the request, which `error` ended."""
        return outcome(self.status, error, self.left_at, self.parting)

    # --- Its span -------------------------------------------------------------------------------------------

    def show_headers(self, captured: CapturedHeaders, headers: Iterable[tuple[Any, Any]]) -> None:
        """Show headers on the span, if it is ours: whoever made another one has read the same variables."""
        if self.owned and self.span.is_recording():
            self.span.set_attributes(captured.attributes(headers))

    def annotate(self, route: str | None) -> None:
        """Show what only we know on a span that is not ours, while that is still open."""
        if not self.owned:
            annotate(self.span, self.app, self.method, self.path, route)

    def show_result(
        self,
        route: str | None,
        status: int,
        error_type: str | None,
        error: BaseException | None,
        *,
        failed: bool,
    ) -> None:
        """Give the span its final name, and what is known since the answer: see `Outcome`; `error` is what
        the application raised."""
        if self.owned:
            show_result(self.span, self.method, route, status, self.name)
            if error_type is not None and self.span.is_recording():
                show_error(self.span, error_type, error, failed=failed)


def declared_length(value: str | bytes | None) -> int | None:
    """The number of bytes that a Content-Length header declares; None where it is missing or malformed."""
    if value and len(value) <= _MAX_LENGTH_DIGITS and value.isascii() and value.isdigit():
        return int(value)
    return None
