"""BlackSheep: every application, made before or after; route templates from its routers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http import asgi
from bext_otel_instrumentors.http.current_request import exchange_of
from bext_otel_instrumentors.http.environment import choices
from bext_otel_instrumentors.http.exchange import current
from bext_otel_instrumentors.http.framework import UNROUTED
from bext_otel_instrumentors.http.frameworks.instrumentor import FrameworkInstrumentor, tell

__all__ = ["BlacksheepInstrumentor"]

# What answers where nothing matched has this pattern.
_FALLBACK = "*"


class BlacksheepInstrumentor(FrameworkInstrumentor):
    """Instruments BlackSheep. `instrument(asgi=..., on_serving=...)`: see `Hosting`."""

    requires = ("blacksheep >= 2.0",)
    library = "blacksheep"

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("blacksheep.server.application", self._cover)
        patches.when_imported("blacksheep.server.routing", self._cover_routers)

    def _cover(self, module: Any) -> None:
        self._cover_asgi(module.Application, UNROUTED)
        # What applications with others mounted in them become, which is called in their place.
        call = partial(asgi.serving, UNROUTED, self._hosting, choices(self.library))
        self._patches.wrap(module.MountMixin, "__call__", call)
        self._patches.wrap(module.Application, "log_unhandled_exc", _failing)
        self._patches.wrap(module.MountMixin, "handle_mount_path", _entering)

    def _cover_routers(self, module: Any) -> None:
        # Routers with filters, or with others inside, become of these kinds as well.
        for kind in (module.Router, module.RouterFiltersMixin, module.MultiRouterMixin):
            self._patches.wrap(kind, "get_match", _matching)
        self._patches.wrap(module.Router, "get_match_by_method_and_path", _matching_websockets)


def _template(match: Any) -> str | None:
    """The pattern of a route, as it was written; None where none has matched."""
    pattern = "" if match is None else match.pattern.decode("utf-8", "replace")
    return None if pattern in {"", _FALLBACK} else f"/{pattern.lstrip('/')}"


def _matching(original: Callable[..., Any]) -> Callable[..., Any]:
    """A router is asked; of routers within routers the outermost one, which was asked first, says it last."""

    @wraps(original)
    def get_match(self: Any, request: Any) -> Any:
        match = original(self, request)
        try:
            scope = getattr(request, "scope", None)
            if scope is not None:
                tell(scope, _template(match))
        except Exception as error:
            report("a route of BlackSheep", error)
        return match

    return get_match


def _matching_websockets(original: Callable[..., Any]) -> Callable[..., Any]:
    """For a websocket, a router is asked by its path only."""

    @wraps(original)
    def get_match_by_method_and_path(self: Any, method: Any, path: Any) -> Any:
        match = original(self, method, path)
        try:
            if method in {"GET_WS", b"GET_WS"} and (exchange := current()) is not None:
                exchange.match(_template(match))
        except Exception as error:
            report("a route of BlackSheep", error)
        return match

    return get_match_by_method_and_path


def _entering(original: Callable[..., Any]) -> Callable[..., Any]:
    """What is mounted is entered; BlackSheep puts where that is into the scope's `root_path`."""

    @wraps(original)
    def handle_mount_path(self: Any, scope: Any, route_match: Any) -> Any:
        entered = original(self, scope, route_match)
        try:
            if (exchange := exchange_of(scope)) is not None:
                exchange.enter_mount("", scope["root_path"], routes=False)
        except Exception as error:
            report("a route of BlackSheep", error)
        return entered

    return handle_mount_path


def _failing(original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """BlackSheep turns an exception that the application does not handle into an answer."""

    @wraps(original)
    async def log_unhandled_exc(self: Any, request: Any, exc: Exception) -> None:
        if (exchange := current()) is not None:
            exchange.failed(exc)
        await original(self, request, exc)

    return log_unhandled_exc
