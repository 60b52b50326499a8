"""Pyramid: every application, made before or after; route templates from its routes, and for what is found by
traversal from the kind of resource and the view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.framework import Framework
from bext_otel_instrumentors.http.frameworks.instrumentor import FrameworkInstrumentor, tell_below
from bext_otel_instrumentors.http.routed import Routed

__all__ = ["PyramidInstrumentor"]


class PyramidInstrumentor(FrameworkInstrumentor):
    """Instruments Pyramid. `instrument(wsgi=..., on_serving=...)`: see `Hosting`.

    A resource that is found by traversal has no route. Its template is its class, in braces, and the name of
    the view: `/{Entry}/edit`; that of the root resource is left out.
    """

    requires = ("pyramid >= 1.10",)
    library = "pyramid"

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("pyramid.router", self._cover)
        patches.when_imported(
            "pyramid.urldispatch", lambda module: patches.wrap(module.RoutesMapper, "__call__", _mapping)
        )

    def _cover(self, module: Any) -> None:
        self._cover_wsgi(module.Router, _FRAMEWORK)
        self._patches.wrap(module, "_call_view", _viewing)


# What upstream's tween leaves in an environ that it instruments.
_UPSTREAM = "opentelemetry-pyramid.tracing_enabled_key"


def _mapping(original: Callable[..., Any]) -> Callable[..., Any]:
    """A request is matched to a route, or to none."""

    @wraps(original)
    def __call__(self: Any, request: Any) -> Any:  # noqa: N807  # it becomes that method
        found = original(self, request)
        try:
            exchange = tell_below(request.environ, _pattern(found["route"]))
            if exchange is not None and request.environ.get(_UPSTREAM):
                exchange.meet_upstream()
        except Exception as error:
            report("a route of Pyramid", error)
        return found

    return __call__


def _pattern(route: Any) -> str | None:
    return None if route is None else f"/{route.pattern.lstrip('/')}"


def _viewing(original: Callable[..., Any]) -> Callable[..., Any]:
    """A view is looked up for a resource, and called."""

    @wraps(original)
    def _call_view(registry: Any, request: Any, context: Any, *args: Any, **kwargs: Any) -> Any:
        from pyramid.exceptions import PredicateMismatch

        try:
            response = original(registry, request, context, *args, **kwargs)
        except PredicateMismatch:  # none of the views is for such a request
            raise
        except BaseException:
            _tell_traversed(request, context)
            raise
        if response is not None:
            _tell_traversed(request, context)
        return response

    return _call_view


def _tell_traversed(request: Any, context: Any) -> None:
    """A view was found by traversal alone."""
    try:
        if getattr(request, "matched_route", None) is None:
            kind = "" if context is getattr(request, "root", None) else f"/{{{type(context).__name__}}}"
            rest = "/*subpath" if request.subpath else ""
            tell_below(request.environ, f"{kind}/{request.view_name}{rest}".replace("//", "/"))
    except Exception as error:
        report("a view of Pyramid", error)


def _ask(app: Any, _: Routed, environ: Mapping[str, Any]) -> str | None:
    """The route of a request that a tween answered before it was matched."""
    if app.routes_mapper is None:
        return None
    request = app.request_factory(dict(environ))
    request.registry = app.registry
    return _pattern(app.routes_mapper(request)["route"])


def _has_route(app: Any, path: str) -> bool:
    mapper = app.routes_mapper
    return mapper is not None and any(_pattern(route) == path for route in mapper.get_routes())


_FRAMEWORK = Framework(_ask, _has_route)
