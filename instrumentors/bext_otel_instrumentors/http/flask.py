"""Flask: every application, made before or after, at the outermost place; route templates from its URL
rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors._kit.base import HostingInstrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.bodies import answering, read_in_process
from bext_otel_instrumentors.http.current_request import exchange_of
from bext_otel_instrumentors.http.environment import choices
from bext_otel_instrumentors.http.framework import Framework
from bext_otel_instrumentors.http.routed import Routed
from bext_otel_instrumentors.http.upstream_middleware import around_wsgi
from bext_otel_instrumentors.http.werkzeug_rules import rule_of
from bext_otel_instrumentors.http.wsgi import serving, text_of

__all__ = ["FlaskInstrumentor"]


_FAILED = 500


class FlaskInstrumentor(HostingInstrumentor):
    """Instruments Flask.

    `instrument(wsgi=..., on_serving=...)`: see `Hosting`. `Flask.__call__` is outside of whatever replaced an
    application's `wsgi_app`; `Flask.wsgi_app` is wrapped too, for whoever calls that directly. The route is
    told when it is known, before anything is called that may put another request, or a copy of this one, in
    its place.
    """

    requires = ("flask >= 3.0",)

    def _patch(self, patches: Patches) -> None:
        from flask import Flask, got_request_exception, request

        chosen = choices("flask")
        patches.wrap(Flask, "__call__", partial(serving, _FRAMEWORK, self._hosting, chosen))
        patches.wrap(Flask, "wsgi_app", partial(serving, _FRAMEWORK, self._hosting, chosen))
        if self._upstream:
            patches.wrap(Flask, "__call__", partial(around_wsgi, chosen))
        patches.wrap(Flask, "full_dispatch_request", partial(_dispatching, request))
        patches.wrap(Flask, "__init__", self._hosting.after)
        # Its client hands an answer to a test, which need not close it.
        patches.when_imported(
            "werkzeug.test", lambda tests: patches.wrap(tests, "run_wsgi_app", _asking_in_process)
        )
        patches.when_imported(
            "werkzeug.serving",
            lambda serving: patches.wrap(serving.WSGIRequestHandler, "run_wsgi", _answering),
        )
        got_request_exception.connect(_failed, weak=False)
        patches.callback(got_request_exception.disconnect, _failed)


def _has_route(app: Any, path: str) -> bool:
    """Whether a rule is this path; our own blueprint's hides nothing."""
    return any(
        rule.rule == path and not rule.endpoint.startswith("bext_otel.") for rule in app.url_map.iter_rules()
    )


def _dispatching(current: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    """A request was matched, and neither the application's functions nor its view have been called; `current`
    is Flask's `request`."""

    @wraps(original)
    def full_dispatch_request(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            request = current._get_current_object()
            environ = request.environ
            if (exchange := exchange_of(environ)) is not None:
                script_name = environ.get("SCRIPT_NAME")
                exchange.match_below(text_of(script_name) if script_name else "", rule_of(self, request))
        except Exception as error:
            report("a Flask route", error)
        return original(self, *args, **kwargs)

    return full_dispatch_request


def _ask(app: Any, _: Routed, environ: Mapping[str, Any]) -> str | None:
    """The rule of a request that was answered before Flask matched it: by a middleware around its `wsgi_app`,
    or for want of a session."""
    from werkzeug.exceptions import HTTPException, MethodNotAllowed
    from werkzeug.wrappers import Request

    request = Request(dict(environ), populate_request=False)
    try:
        adapter = app.create_url_adapter(request)
        try:
            rule = adapter.match(return_rule=True)[0]
        except MethodNotAllowed as other:
            rule = adapter.match(method=next(iter(other.valid_methods or ()), None), return_rule=True)[0]
    except HTTPException:
        return None
    return str(rule.rule)


def _has_upstream(app: Any) -> bool:
    return getattr(app, "_is_instrumented_by_opentelemetry", False)


_FRAMEWORK = Framework(_ask, _has_route, _has_upstream)


def _failed(_sender: Any, exception: BaseException, **_: Any) -> None:  # blinker's signature
    """Flask turns an unhandled exception into an answer, after it told about it."""
    from flask import request

    # Connexion has exceptions pass through Flask that are answers of its own.
    status = getattr(exception, "status_code", None)
    if isinstance(status, int) and status < _FAILED:
        return
    if (exchange := exchange_of(request.environ)) is not None:
        exchange.failed(exception)


def _within(
    around: Callable[[], AbstractContextManager[None]], original: Callable[..., Any]
) -> Callable[..., Any]:
    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        with around():
            return original(*args, **kwargs)

    return call


_asking_in_process = partial(_within, read_in_process)
_answering = partial(_within, answering)
