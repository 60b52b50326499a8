"""CherryPy: every application, made before or after; routes by page handler."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import Parameter, signature
from typing import Any

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.current_request import exchange_of
from bext_otel_instrumentors.http.framework import UNROUTED
from bext_otel_instrumentors.http.frameworks.instrumentor import FrameworkInstrumentor, tell_below
from bext_otel_instrumentors.http.servers.instrumentor import before

__all__ = ["CherrypyInstrumentor", "template"]


class CherrypyInstrumentor(FrameworkInstrumentor):
    """Instruments CherryPy. `instrument(wsgi=..., on_serving=...)`: see `Hosting`."""

    requires = ("cherrypy >= 18.0",)
    library = "cherrypy"

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("cherrypy._cptree", self._cover)
        patches.when_imported("cherrypy._cpdispatch", self._cover_dispatchers)
        patches.when_imported(
            "cherrypy._cprequest",
            lambda module: patches.wrap(module.Request, "handle_error", before(_failing)),
        )

    def _cover(self, module: Any) -> None:
        self._cover_wsgi(module.Application, UNROUTED)
        self._cover_wsgi(module.Tree, UNROUTED)

    def _cover_dispatchers(self, module: Any) -> None:
        self._patches.wrap(module.Dispatcher, "find_handler", _dispatching)
        self._patches.wrap(module.RoutesDispatcher, "find_handler", _mapping)


def _dispatching(original: Callable[..., Any]) -> Callable[..., Any]:
    """A path is looked up in the tree of an application's objects."""

    @wraps(original)
    def find_handler(self: Any, path: str) -> Any:
        handler, rest = found = original(self, path)
        try:
            import cherrypy

            request = cherrypy.serving.request
            route = _static(request, path)
            if route is None and handler is not None:
                route = template(
                    request.app.root, path, _called(handler, request.method), rest, self.translate
                )
            _tell(request, route)
        except Exception as error:
            report("a route of CherryPy", error)
        return found

    return find_handler


def _called(handler: Any, method: str) -> Callable[..., Any]:
    """What is called of a page handler: itself, or for a resource what it has for this method, or for
    another one."""
    names = (method.upper(), *(name for name in dir(handler) if name.isupper()))
    others = (getattr(handler, name, None) for name in names)
    called: Callable[..., Any] = next(each for each in (handler, *others) if callable(each))
    return called


def _mapping(original: Callable[..., Any]) -> Callable[..., Any]:
    """A path is looked up among the templates of the package `routes`."""

    @wraps(original)
    def find_handler(self: Any, path_info: str) -> Any:
        found = original(self, path_info)
        try:
            import cherrypy

            request = cherrypy.serving.request
            matched = None if found is None else self.mapper.routematch(path_info)
            route = _static(request, path_info)
            if route is None and matched is not None:
                route = f"/{matched[1].routepath.lstrip('/')}"
            _tell(request, route)
        except Exception as error:
            report("a route of CherryPy", error)
        return found

    return find_handler


def _tell(request: Any, route: str | None) -> None:
    environ = getattr(request, "wsgi_environ", None)  # CherryPy looks its own settings up, too
    if environ is not None:
        tell_below(environ, route)


def _static(request: Any, path: str) -> str | None:
    """Files below a folder are one route, which their section of the settings stands for; a file that has a
    section of its own is one."""
    settings: Mapping[str, Any] = request.config or {}
    if settings.get("tools.staticdir.on"):
        section = str(settings.get("tools.staticdir.section") or "").rstrip("/")
        return f"{section}/{{path}}"
    return path if settings.get("tools.staticfile.on") and path in request.app.config else None


def template(
    root: Any, path: str, handler: Callable[..., Any], rest: Sequence[str], translate: Any = None
) -> str | None:
    """The template of a path that `handler` was found for, with `rest` of it as arguments: the names of the
    tree's objects, and of the handler's arguments; None where it has too few for them.

    What an object's own `_cp_dispatch` has taken off the path is "{segment}": nobody says what it is.
    """
    segments = [segment for segment in path.strip("/").split("/") if segment]
    names = _arguments(handler, len(rest))
    if names is None:
        return None
    shown: list[str] = []
    node: Any = root
    for segment in segments[: len(segments) - len(rest)]:
        name = segment.translate(translate) if translate else segment
        node = getattr(node, name, None)
        known = node is not None or name == getattr(handler, "__name__", None)
        shown.append(name if known else "{segment}")
    return "/" + "/".join((*shown, *names))


def _arguments(handler: Callable[..., Any], count: int) -> list[str] | None:
    """The names of the first `count` arguments; None where there are not as many."""
    if not count:
        return []
    names: list[str] = []
    for parameter in signature(handler).parameters.values():
        if parameter.kind is Parameter.VAR_POSITIONAL:
            return [*names, f"{{{parameter.name}}}"]
        if parameter.kind in {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}:
            names.append(f"{{{parameter.name}}}")
        if len(names) == count:
            return names
    return None


def _failing(request: Any) -> None:
    """CherryPy turns an exception that is none of its own into an answer."""
    error, environ = sys.exc_info()[1], getattr(request, "wsgi_environ", None)
    if error is not None and environ is not None and (exchange := exchange_of(environ)) is not None:
        exchange.failed(error)
