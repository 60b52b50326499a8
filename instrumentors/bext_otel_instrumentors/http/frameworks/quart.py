"""Quart: every application, made before or after; route templates from its URL rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.current_request import exchange_of
from bext_otel_instrumentors.http.framework import Framework
from bext_otel_instrumentors.http.frameworks.instrumentor import FrameworkInstrumentor, tell
from bext_otel_instrumentors.http.routed import Routed
from bext_otel_instrumentors.http.werkzeug_rules import rule_of

__all__ = ["QuartInstrumentor"]


class QuartInstrumentor(FrameworkInstrumentor):
    """Instruments Quart. `instrument(asgi=..., on_serving=...)`: see `Hosting`."""

    requires = ("quart >= 0.19",)
    library = "quart"

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("quart.app", self._cover)

    def _cover(self, module: Any) -> None:
        from quart.signals import got_request_exception, got_websocket_exception

        self._cover_asgi(module.Quart, _FRAMEWORK)
        for name in ("full_dispatch_request", "full_dispatch_websocket"):
            self._patches.wrap(module.Quart, name, _dispatching)
        for signal in (got_request_exception, got_websocket_exception):
            signal.connect(_failed, weak=False)
            self._patches.callback(signal.disconnect, _failed)


def _dispatching(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A request, or a websocket, was matched, and nothing of the application has been called."""

    @wraps(original)
    async def dispatch(self: Any, context: Any = None) -> Any:
        try:
            if (request := _current()) is not None:
                tell(request.scope, rule_of(self, request))
        except Exception as error:
            report("a route of Quart", error)
        return await original(self, context)

    return dispatch


def _current() -> Any:
    """Quart's request or websocket that is being worked on; None: neither is."""
    import quart

    if quart.has_request_context():
        return quart.request
    return quart.websocket if quart.has_websocket_context() else None


def _ask(app: Any, request: Routed, scope: Mapping[str, Any]) -> str | None:
    """The rule of a request that a middleware answered before Quart matched it; whatever its host."""
    from werkzeug.exceptions import HTTPException, MethodNotAllowed

    adapter = app.url_map.bind(
        app.config["SERVER_NAME"] or "localhost",
        path_info=request.path.removeprefix(request.mounted),
        default_method=scope.get("method", "GET"),
    )
    try:
        is_websocket = scope["type"] == "websocket"
        try:
            rule = adapter.match(return_rule=True, websocket=is_websocket)[0]
        except MethodNotAllowed as other:
            rule = adapter.match(method=next(iter(other.valid_methods or ())), return_rule=True)[0]
    except HTTPException:
        return None
    return str(rule.rule)


def _has_route(app: Any, path: str) -> bool:
    return any(rule.rule == path for rule in app.url_map.iter_rules())


_FRAMEWORK = Framework(_ask, _has_route)


async def _failed(
    _sender: Any, exception: BaseException, **_: Any
) -> None:  # a function that is none is called in a thread
    """Quart turns an unhandled exception into an answer, after it told about it."""
    request = _current()
    if request is not None and (exchange := exchange_of(request.scope)) is not None:
        exchange.failed(exception)
