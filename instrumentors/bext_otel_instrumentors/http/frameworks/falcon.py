"""Falcon: every application, WSGI and ASGI, made before or after; route templates from its router."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.current_request import exchange_of
from bext_otel_instrumentors.http.framework import Framework
from bext_otel_instrumentors.http.frameworks.instrumentor import FrameworkInstrumentor, tell, tell_below
from bext_otel_instrumentors.http.patterns import template_of
from bext_otel_instrumentors.http.routed import Routed

__all__ = ["FalconInstrumentor"]


class FalconInstrumentor(FrameworkInstrumentor):
    """Instruments Falcon. `instrument(asgi=..., wsgi=..., on_serving=...)`: see `Hosting`."""

    requires = ("falcon >= 3.0",)
    library = "falcon"

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("falcon.app", self._cover)
        patches.when_imported("falcon.asgi.app", self._cover_async)

    def _cover(self, module: Any) -> None:
        self._cover_wsgi(module.App, _FRAMEWORK)
        self._patches.wrap(module.App, "_get_responder", _responding)
        self._patches.wrap(module.App, "_handle_exception", _failing)

    def _cover_async(self, module: Any) -> None:
        self._cover_asgi(module.App, _FRAMEWORK)
        self._patches.wrap(module.App, "_handle_exception", _failing_async)


def _surroundings(request: Any) -> Mapping[str, Any]:
    """The scope or environ of one of Falcon's requests."""
    found: Mapping[str, Any] = getattr(request, "scope", None) or request.env
    return found


def _responding(original: Callable[..., Any]) -> Callable[..., Any]:
    """A request is routed: to a resource, to a sink or to static files, or to none."""

    @wraps(original)
    def _get_responder(self: Any, req: Any) -> Any:
        found = original(self, req)
        try:
            _tell(_surroundings(req), _template(self, req.path, found))
        except Exception as error:
            report("a route of Falcon", error)
        return found

    return _get_responder


def _tell(surroundings: Mapping[str, Any], template: str | None) -> None:
    if "wsgi.input" in surroundings:
        tell_below(surroundings, template)
    else:
        # Falcon routes by the whole path.
        root = surroundings.get("root_path") or ""
        tell(surroundings, None if template is None else template.removeprefix(root))


def _template(app: Any, path: str, found: tuple[Any, ...]) -> str | None:
    """The template that matched; that of a sink or of static files is what they are below."""
    _, _, resource, template = found
    if resource is not None or template is not None:
        return template if isinstance(template, str) else None
    for matcher, _, is_sink in app._sink_and_static_routes:
        if matcher.match(path):
            return _below(matcher.pattern if is_sink else matcher._prefix)
    return None


def _below(prefix: str) -> str:
    """The template for what is below a prefix, or for what a regular expression with names matches."""
    template = template_of(prefix)
    return template if "{" in template else f"{template.rstrip('/')}/{{path}}"


def _ask(app: Any, request: Routed, surroundings: Mapping[str, Any]) -> str | None:
    """The template of a request that a middleware answered before it was routed."""
    asgi = "wsgi.input" not in surroundings
    path = request.path if asgi else request.path.removeprefix(request.mounted)
    if path != "/" and app.req_options.strip_url_path_trailing_slash:
        path = path.removesuffix("/")
    route = app._router.find(path or "/")
    if route is None or route[0] is None:
        return _template(app, path, (None, None, None, None))
    template = route[3] if len(route) > 3 else None
    return template.removeprefix(request.mounted) if asgi and template else template


def _has_upstream(app: Any) -> bool:
    return getattr(app, "_is_instrumented_by_opentelemetry", False)


_FRAMEWORK = Framework(_ask, has_upstream=_has_upstream)


def _note(app: Any, request: Any, error: Exception) -> None:
    """Falcon turns an exception that the application does not handle into an answer."""
    try:
        handler = app._find_error_handler(error)
        if getattr(handler, "__name__", "") != "_python_error_handler":
            return
        if (exchange := exchange_of(_surroundings(request))) is not None:
            exchange.failed(error)
    except Exception as failure:
        report("an exception of Falcon's", failure)


def _failing(original: Callable[..., bool]) -> Callable[..., bool]:
    @wraps(original)
    def _handle_exception(self: Any, req: Any, resp: Any, ex: Exception, params: Any) -> bool:
        _note(self, req, ex)
        return original(self, req, resp, ex, params)

    return _handle_exception


def _failing_async(original: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
    @wraps(original)
    async def _handle_exception(
        self: Any, req: Any, resp: Any, ex: Exception, *args: Any, **kwargs: Any
    ) -> bool:
        _note(self, req, ex)
        return await original(self, req, resp, ex, *args, **kwargs)

    return _handle_exception
