"""Flask: every application, made before or after, at the outermost place; route templates from its URL rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors._base import HostingInstrumentor
from bext_otel_instrumentors._choices import Choices, choices
from bext_otel_instrumentors._exchange import KEY, Exchange
from bext_otel_instrumentors._guard import report
from bext_otel_instrumentors._patch import Patches
from bext_otel_instrumentors._peer import around_wsgi
from bext_otel_instrumentors._serving import Hosting
from bext_otel_instrumentors.wsgi import Environ, StartResponse, serve, text_of

__all__ = ["FlaskInstrumentor"]

Call = Callable[[Any, Environ, StartResponse], Iterable[bytes]]

# The application whose answer is watched already: `__call__` and `wsgi_app` both do, in case a middleware or a server skips one.
_WATCHED = f"{KEY}.flask"


class FlaskInstrumentor(HostingInstrumentor):
    """Instruments Flask.

    `instrument(wsgi=..., on_serving=...)`: see `Hosting`. `Flask.__call__` is outside of whatever replaced an application's `wsgi_app`;
    `Flask.wsgi_app` is wrapped too, for whoever calls that directly.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Flask."""
        return ("flask >= 3.0",)

    def _patch(self, patches: Patches) -> None:
        from flask import Flask, got_request_exception

        chosen = choices("flask")
        patches.wrap(Flask, "__call__", partial(_serving, self._hosting, chosen))
        patches.wrap(Flask, "wsgi_app", partial(_serving, self._hosting, chosen))
        if self._upstream:
            patches.wrap(Flask, "__call__", partial(around_wsgi, chosen))
        patches.wrap(Flask, "__init__", self._hosting.after)
        got_request_exception.connect(_failed, weak=False)
        patches.callback(got_request_exception.disconnect, _failed)


def _serving(hosting: Hosting, chosen: Choices, original: Call) -> Call:
    @wraps(original)
    def call(self: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if KEY in environ:
            return _routed(original, self, environ, start_response)
        if hosting.wsgi is not None:
            hosting.expect(hosting.wsgi, text_of(environ.get("PATH_INFO") or ""), partial(_has_route, self))
        upstream = getattr(self, "_is_instrumented_by_opentelemetry", False)
        return serve(partial(_routed, original, self), environ, start_response, hosting, chosen, upstream=upstream)

    return call


def _has_route(app: Any, path: str) -> bool:
    """Whether a rule is this path; our own blueprint's hides nothing."""
    return any(rule.rule == path and not rule.endpoint.startswith("bext_otel.") for rule in app.url_map.iter_rules())


def _routed(original: Call, app: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Call `app`, and learn the route when it starts to answer."""
    exchange = environ.get(KEY)
    if exchange is None or environ.get(_WATCHED) is app:
        return original(app, environ, start_response)
    environ[_WATCHED] = app

    def observing(*answer: Any) -> Any:
        _tell_route(exchange, app, environ)
        return start_response(*answer)

    return original(app, environ, observing)


def _tell_route(exchange: Exchange, app: Any, environ: Environ) -> None:
    try:
        # werkzeug leaves the request here as long as it is worked on, so that nothing has to be hooked into the request itself.
        request = environ.get("werkzeug.request")
        if request is not None:
            exchange.match_below(text_of(environ.get("SCRIPT_NAME") or ""), _rule(app, request))
    except Exception as error:
        report("a Flask route", error)


def _rule(app: Any, request: Any) -> str | None:
    """The rule that matched, or that would have for another method."""
    if (rule := request.url_rule) is not None:
        return str(rule.rule)
    methods = getattr(request.routing_exception, "valid_methods", None)
    if not methods:
        return None
    adapter = app.create_url_adapter(request)
    return str(adapter.match(method=methods[0], return_rule=True)[0].rule)


def _failed(sender: Any, exception: BaseException, **_: Any) -> None:  # blinker's signature
    """Flask turns an unhandled exception into an answer, after it told about it."""
    from flask import request

    exchange: Exchange | None = request.environ.get(KEY)
    if exchange is not None:
        exchange.failed(exception)
        # It may be raised on, and then there is no answer to learn the route from.
        _tell_route(exchange, sender, request.environ)
