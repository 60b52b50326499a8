"""Channels: websockets, which do not pass by Django's own handlers, and whatever else its routers serve."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors._kit.base import HostingInstrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.asgi import Call, Receive, Scope, Send, serving
from bext_otel_instrumentors.http.current_request import exchange_of
from bext_otel_instrumentors.http.environment import Choices, choices
from bext_otel_instrumentors.http.framework import Framework
from bext_otel_instrumentors.http.hosting import Hosting
from bext_otel_instrumentors.http.routed import Routed

__all__ = ["ChannelsInstrumentor"]

_MAX_WRAPPERS = 32
_MAX_ROUTERS = 8


class ChannelsInstrumentor(HostingInstrumentor):
    """Instruments Channels as soon as its routing is imported. `instrument(asgi=..., on_serving=...)`: see
    `Hosting`.

    A websocket begins at `ProtocolTypeRouter`, outside of its middlewares; what a `URLRouter` serves, at the
    first of these. Requests for Django itself begin at its handler, unless a `URLRouter` is around it.
    """

    requires = ("channels >= 4.0",)

    def _patch(self, patches: Patches) -> None:
        chosen = choices("django")
        patches.when_imported("channels.routing", partial(self._cover, chosen))

    def _cover(self, chosen: Choices, routing: Any) -> None:
        patches = self._patches
        patches.wrap(routing.ProtocolTypeRouter, "__call__", partial(_by_protocol, self._hosting, chosen))
        patches.wrap(routing.URLRouter, "__call__", _telling)
        patches.wrap(routing.URLRouter, "__call__", partial(serving, _ROUTERS, self._hosting, chosen))


def _by_protocol(hosting: Hosting, chosen: Choices, original: Call) -> Call:
    measuring = serving(_PROTOCOLS, hosting, chosen, original)

    @wraps(original)
    async def __call__(self: Any, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: N807  # it becomes that method
        await (measuring if scope["type"] == "websocket" else original)(self, scope, receive, send)

    return __call__


def _telling(original: Call) -> Call:
    @wraps(original)
    async def __call__(self: Any, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: N807  # likewise
        _tell(self, scope)
        await original(self, scope, receive, send)

    return __call__


def _tell(router: Any, scope: Mapping[str, Any]) -> None:
    """A router is about to match a request, or what another one has left of its path."""
    try:
        if (exchange := exchange_of(scope)) is not None:
            remaining = scope.get("path_remaining")
            above = "/" if remaining is None else exchange.matched or "/"
            path = exchange.path.removeprefix(exchange.mounted) if remaining is None else remaining
            found = _match(router, path)
            exchange.match(None if found is None else above + _part(found[0]))
    except Exception as error:
        report("a route of Channels", error)


def _ask(application: Any, request: Routed, __: Mapping[str, Any]) -> str | None:
    """The template of a request that a middleware answered before it was routed."""
    template, path = "/", request.path.removeprefix(request.mounted)
    for _ in range(_MAX_ROUTERS):
        router = _router_of(application)
        if router is None:
            break
        found = _match(router, path)
        if found is None:
            return None
        route, path = found
        template += _part(route)
        application = route.callback
    return None if template == "/" else template


def _ask_protocols(application: Any, request: Routed, scope: Mapping[str, Any]) -> str | None:
    return _ask(application.application_mapping.get(scope["type"]), request, scope)


_ROUTERS = Framework(_ask)
_PROTOCOLS = Framework(_ask_protocols)


def _router_of(application: Any) -> Any:
    """The router that middlewares are around; None where there is none."""
    for _ in range(_MAX_WRAPPERS):
        if application is None or hasattr(application, "routes"):
            return application
        # Channels' own, and what Starlette's and others call it.
        application = next(
            (
                found
                for name in ("inner", "application", "app")
                if (found := getattr(application, name, None))
            ),
            None,
        )
    return None


def _match(router: Any, path: str) -> tuple[Any, str] | None:
    """The route of a router that takes this path, and what it leaves of that, as Channels finds it."""
    from django.urls.exceptions import Resolver404

    path = path.lstrip("/")
    for route in router.routes:
        try:
            match = route.pattern.match(path)
        except Resolver404:
            continue
        if match:
            return route, match[0]
    return None


def _part(route: Any) -> str:
    return str(route.pattern).removeprefix("^").removesuffix("$")
