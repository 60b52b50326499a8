"""WSGI applications: one server span, the request metrics and a completion record for each request."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any, TypeAlias

from bext_otel._compat import get_current
from bext_otel.operation import settings
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.background import log_late_failure
from bext_otel_instrumentors.http.bodies import CountedBody, Finish, ListBody, SizedBody, noting_input
from bext_otel_instrumentors.http.body_log import bodies_of
from bext_otel_instrumentors.http.current_request import (
    enter,
    exchange_of,
    leave,
    left_out,
    measured,
    request_here,
)
from bext_otel_instrumentors.http.disconnect import is_input_error
from bext_otel_instrumentors.http.environment import NO_CHOICES, Choices
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.framework import Framework
from bext_otel_instrumentors.http.hosting import Hosting, WSGIMount
from bext_otel_instrumentors.http.incoming import exchange_for, inside, is_further_inside, leaves_out
from bext_otel_instrumentors.http.middleware import Middleware
from bext_otel_instrumentors.http.operators import or_operators
from bext_otel_instrumentors.http.outermost import opening
from bext_otel_instrumentors.http.response_propagation import propagates, response_headers
from bext_otel_instrumentors.http.routed import Asked
from bext_otel_instrumentors.http.wsgi_request import WSGI, Environ, path_of, text_of

__all__ = ["Call", "Environ", "StartResponse", "WSGIApp", "WSGIMiddleware", "serve", "serving", "text_of"]

_FAILED = 500

StartResponse: TypeAlias = Callable[..., Any]
WSGIApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


class WSGIMiddleware(Middleware):
    """Instruments one WSGI application by hand: `app = WSGIMiddleware(app)`."""

    def __init__(
        self, app: WSGIApp, *, mount: WSGIMount | None = None, on_serving: Callable[[], None] | None = None
    ) -> None:
        super().__init__(app, Hosting(wsgi=mount, on_serving=on_serving), "wsgi")

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if self._hosting.wsgi is not None:
            path = text_of(environ.get("PATH_INFO") or "")
            if self._answers_inside(self._hosting.wsgi, path, environ):
                answer = self._hosting.answer_wsgi(path, environ, start_response)
                if answer is not None:
                    return answer
        return serve(self.app, environ, start_response, self._hosting, self._chosen)


def serve(
    app: WSGIApp,
    environ: Environ,
    start_response: StartResponse,
    hosting: Hosting,
    chosen: Choices = NO_CHOICES,
    *,
    upstream: bool = False,
    asked: Asked | None = None,
) -> Iterable[bytes]:
    """Call `app`, measured; untouched where the request is being measured further outside, or where the
    context says that HTTP, or anything, is not to be instrumented (`opentelemetry.instrumentation.utils`).

    `chosen` says which requests are left out, also by whoever is further inside. `upstream` says that
    upstream's instrumentation is inside of `app`: its span is then a child of ours. `asked` knows the route
    of a request that is answered before anybody told.
    """
    if hosting.waiting:
        hosting.first()
    if (found := measured(environ)) is not None:
        if is_further_inside(found, environ, chosen, upstream=upstream):
            found.may_ask(asked)
            return app(environ, start_response)
        with inside(WSGI, found, environ, chosen, upstream=upstream, asked=asked):
            return app(environ, start_response)
    if hosting.wsgi is not None:
        answer = hosting.answer_wsgi(text_of(environ.get("PATH_INFO") or ""), environ, start_response)
        if answer is not None:
            return answer
    if chosen.excluded is not None and leaves_out(WSGI, chosen, environ):
        with left_out(environ, path_of(environ)[1], asgi=False):
            return app(environ, start_response)
    exchange = exchange_for(WSGI, environ, chosen, upstream=upstream, asked=asked)
    if exchange is None:
        return app(environ, start_response)
    return _serve(app, environ, start_response, exchange)


Call: TypeAlias = Callable[[Any, Environ, StartResponse], Iterable[bytes]]


def serving(framework: Framework, hosting: Hosting, chosen: Choices, original: Call) -> Call:
    """A method by which a framework's applications are called, measured."""

    @wraps(original)
    def call(self: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        found = request_here()
        if found is not None:
            if (
                found.surroundings is environ
                and found.chosen is chosen
                and (known := found.asked) is not None
                and known[1] is self
            ):
                # Called by its own `__call__`, which has told all there is to tell.
                return original(self, environ, start_response)
        elif (
            chosen.excluded is None
            and not hosting.waiting
            and (hosting.wsgi is None or not hosting.wsgi.owns(text_of(environ.get("PATH_INFO") or "")))
            and (not get_current() or measured(environ) is None)
        ):
            # What most requests are, without the way through `serve`.
            upstream, asked = framework.has_upstream(self), (framework.ask, self)
            exchange = exchange_for(WSGI, environ, chosen, upstream=upstream, asked=asked)
            if exchange is None:
                return original(self, environ, start_response)
            return _serve(partial(original, self), environ, start_response, exchange)
        if hosting.wsgi is not None and measured(environ) is None:
            path = text_of(environ.get("PATH_INFO") or "")
            hosting.expect(hosting.wsgi, path, partial(framework.has_route, self))
        asked, upstream = (framework.ask, self), framework.has_upstream(self)
        app = partial(original, self)
        return serve(app, environ, start_response, hosting, chosen, upstream=upstream, asked=asked)

    return opening(call)


def _serve(
    app: WSGIApp, environ: Environ, start_response: StartResponse, exchange: Exchange
) -> Iterable[bytes]:
    finish = _finisher(environ, exchange)
    entered = enter(exchange)
    try:
        exchange.begin()
        if settings().bodies:
            _note_bodies(environ, exchange)
        chunks = app(environ, _observed(start_response, environ, exchange))
    except BaseException as error:
        leave(entered)
        finish(error)
        raise
    leave(entered)
    return _watched(chunks, environ, exchange, finish)


def _note_bodies(environ: Environ, exchange: Exchange) -> None:
    """Have what is read from the request noted, where its app asks for that."""
    bodies = exchange.bodies = bodies_of(
        exchange,
        lambda: (
            ("content-type", environ.get("CONTENT_TYPE") or ""),
            ("content-encoding", environ.get("HTTP_CONTENT_ENCODING") or ""),
        ),
    )
    if bodies is not None and (stream := environ.get("wsgi.input")) is not None:
        environ["wsgi.input"] = noting_input(stream, bodies.read)


def _finisher(environ: Environ, exchange: Exchange) -> Finish:
    """What ends the request, whoever calls it first: `error` is what came out of the application."""

    def finish(error: BaseException | None = None) -> None:
        if exchange.finished:
            if error is not None:
                log_late_failure(exchange, error)
            return
        if error is not None or exchange.error is not None:
            _note_leaving(environ, exchange, error)
        route = _template(environ, exchange)
        if not exchange.owned:
            exchange.annotate(route)
        exchange.finish(route, error)

    return finish


def _template(environ: Environ, exchange: Exchange) -> str | None:
    """The whole template, with what the application is mounted under; None where no route matched."""
    below = exchange.matched if exchange.routed else exchange.ask(environ)
    route = None if below is None else f"{exchange.root}{exchange.mounts}{below}"
    return route if settings().route_of is None else or_operators(route, exchange, environ)


def _note_leaving(environ: Environ, exchange: Exchange, error: BaseException | None) -> None:
    """A client that leaves in the middle of an upload is noticed only where somebody reads it."""
    failure = error or exchange.error
    if (
        failure is not None
        and exchange.left_at is None
        and is_input_error(failure, environ.get("wsgi.input"))
    ):
        exchange.leave(failure)


def _watched(
    chunks: Iterable[bytes], environ: Environ, exchange: Exchange, finish: Finish
) -> Iterable[bytes]:
    bodies = exchange.bodies
    if type(chunks) is list or type(chunks) is tuple:
        if bodies is not None:
            for chunk in chunks:
                bodies.answered(chunk)
        return ListBody(chunks, exchange, finish)
    answer: object = chunks
    if isinstance(answer, bytes):
        # None by PEP 3333, but uWSGI sends it; it is for the server to say what it makes of it.
        exchange.sent(len(answer))
        finish(None)
        return chunks
    wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(wrapper, type) and isinstance(chunks, wrapper):
        # The server hands such a file to the kernel, if it gets to see it: what is left for us is what was
        # declared.
        exchange.sent_whole()
        finish(None)
        return chunks
    kind = SizedBody if hasattr(chunks, "__len__") else CountedBody
    body = kind(chunks, exchange, finish)
    if bodies is not None:
        body.read_by(bodies.each_answered(chunks))
    return body


def _observed(start_response: StartResponse, environ: Environ, exchange: Exchange) -> StartResponse:
    def observing(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        try:
            if not exchange.routed and "flask" in sys.modules:
                _guess_route(exchange)
            if (exchange.sends_id or propagates()) and (added := response_headers(exchange, headers)):
                headers = [*headers, *added]
            exchange.begin_answer(int(status[:3]), headers)
            if exc_info and exc_info[0] is not None and exchange.status >= _FAILED:
                # The answer stands in for an exception (PEP 3333).
                exchange.failed(exc_info[0][1])
            if not exchange.owned:  # whoever has made the span may end it before the answer has gone out
                exchange.annotate(_template(environ, exchange))
        except Exception as error:
            report("an answer", error)
        write = start_response(status, headers, *exc_info)

        def counting_write(chunk: bytes) -> Any:
            exchange.sent(len(chunk))
            if exchange.bodies is not None:
                exchange.bodies.answered(chunk)
            try:
                return write(chunk)
            except OSError as error:  # so a server says that the client is not there any more
                exchange.leave(error)
                raise

        return counting_write

    return observing


def _guess_route(exchange: Exchange) -> None:
    """The route of a Flask application that is not instrumented: its request knows the rule that matched,
    while it is worked on."""
    flask = sys.modules["flask"]
    # It may be in the middle of being imported, by another thread.
    if (
        not getattr(flask, "has_request_context", bool)()
        or exchange_of(flask.request.environ) is not exchange
    ):
        return
    if (rule := flask.request.url_rule) is not None:
        exchange.match_below(text_of(flask.request.environ.get("SCRIPT_NAME") or ""), str(rule.rule))
