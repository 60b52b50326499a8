"""Bottle: every application, made before or after; route templates from its rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.current_request import exchange_of
from bext_otel_instrumentors.http.framework import Framework
from bext_otel_instrumentors.http.frameworks.instrumentor import FrameworkInstrumentor, tell_below
from bext_otel_instrumentors.http.routed import Routed
from bext_otel_instrumentors.http.wsgi import text_of

__all__ = ["BottleInstrumentor"]


class BottleInstrumentor(FrameworkInstrumentor):
    """Instruments Bottle. `instrument(wsgi=..., on_serving=...)`: see `Hosting`."""

    requires = ("bottle >= 0.12",)
    library = "bottle"

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("bottle", self._cover)

    def _cover(self, module: Any) -> None:
        self._cover_wsgi(module.Bottle, _FRAMEWORK)
        self._patches.wrap(module.Router, "match", _matching)


def _matching(original: Callable[..., Any]) -> Callable[..., Any]:
    """A request is matched to a rule, or to none."""

    @wraps(original)
    def match(self: Any, environ: Any) -> Any:
        try:
            found = original(self, environ)
        except Exception as error:
            tell_below(environ, _other_rule(original, self, environ, error))
            raise
        _tell(environ, found[0])
        return found

    return match


def _other_rule(
    find: Callable[..., Any], router: Any, environ: Mapping[str, Any], error: Exception
) -> str | None:
    """The rule of a request that has none for its method, as this error says."""
    allowed = getattr(error, "headers", None) if getattr(error, "status_code", 0) == 405 else None
    if not allowed:
        return None
    try:
        verb = str(allowed["Allow"]).split(",")[0]
        return str(find(router, {**environ, "REQUEST_METHOD": verb})[0].rule)
    except Exception as failure:
        report("a route of Bottle", failure)
        return None


def _tell(environ: Mapping[str, Any], route: Any) -> None:
    try:
        if (exchange := exchange_of(environ)) is None:
            return
        script_name = text_of(environ.get("SCRIPT_NAME") or "")
        if (prefix := _mount(route)) is None:
            exchange.match_below(script_name, route.rule)
        else:
            exchange.match_below(script_name, None)
            exchange.enter_mount(prefix, f"{script_name}{prefix}", routes=False)
    except Exception as error:
        report("a route of Bottle", error)


def _mount(route: Any) -> str | None:
    """What another application is mounted under, if that is what a route is for."""
    prefix = route.config.get("mountpoint.prefix")
    return None if prefix is None else f"/{prefix.strip('/')}"


def _ask(app: Any, _: Routed, environ: Mapping[str, Any]) -> str | None:
    """The rule of a request that was answered before Bottle matched it: by a hook, or by a middleware around
    its `wsgi`."""
    own = dict(environ)
    find = type(app.router).match
    find = getattr(find, "__wrapped__", find)
    try:
        rule = find(app.router, own)[0]
    except Exception as error:
        return _other_rule(find, app.router, own, error)
    prefix = _mount(rule)
    return str(rule.rule) if prefix is None else f"{prefix}/{{path}}"


def _has_route(app: Any, path: str) -> bool:
    return any(route.rule == path for route in app.routes)


_FRAMEWORK = Framework(_ask, _has_route)
