"""Datasette: its requests, and route templates from the regular expressions that it routes by."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import unquote

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.exchange import current
from bext_otel_instrumentors.http.framework import UNROUTED
from bext_otel_instrumentors.http.frameworks.instrumentor import FrameworkInstrumentor
from bext_otel_instrumentors.http.patterns import template_of

__all__ = ["DatasetteInstrumentor"]


class DatasetteInstrumentor(FrameworkInstrumentor):
    """Instruments Datasette. `instrument(asgi=..., on_serving=...)`: see `Hosting`. What plugins put around
    its application is outside of the request, unless the server has begun it."""

    requires = ("datasette >= 0.60",)
    library = "datasette"

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("datasette.app", self._cover)

    def _cover(self, module: Any) -> None:
        self._cover_asgi(module.DatasetteRouter, UNROUTED)
        if (outermost := getattr(module, "AsgiRunOnFirstRequest", None)) is not None:
            self._cover_asgi(outermost, UNROUTED)
        self._patches.wrap(module, "resolve_routes", _resolving)


def _resolving(original: Callable[..., Any]) -> Callable[..., Any]:
    """A request is matched to a regular expression, or to none."""

    @wraps(original)
    def resolve_routes(routes: Any, path: str) -> Any:
        found = original(routes, path)
        try:
            if (exchange := current()) is not None:
                match = found[0]
                exchange.match(
                    None
                    if match is None
                    else _before(exchange.path, path).removeprefix(exchange.mounted)
                    + template_of(match.re.pattern)
                )
        except Exception as error:
            report("a route of Datasette", error)
        return found

    return resolve_routes


def _before(whole: str, path: str) -> str:
    """What is in front of the path that Datasette routes by: the setting `base_url`."""
    path = unquote(path)
    return whole.removesuffix(path) if whole.endswith(path) else ""
