"""The route of a request whose framework nobody knows: templates that an operator lists, and functions that a
package offers.

Templates have parameters, so what clients send never becomes a label value. A path is matched segment by
segment, in a time that grows with its length and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, TypeAlias

from bext_otel.apps import clean
from bext_otel.config import AppSettings

__all__ = ["GROUP", "RouteFunction", "RouteOf", "RouteTemplate", "load_functions", "router"]

RouteFunction: TypeAlias = Callable[[str, Mapping[str, Any]], "str | None"]
"""What a package offers: the template of a request, by its whole path and its ASGI scope or WSGI environ;
None where it knows none."""

RouteOf: TypeAlias = Callable[[str, str, Mapping[str, Any]], "str | None"]
"""The template of a request of this app, by its path and its scope or environ; None: nobody knows one."""

GROUP = "bext_otel_routes"
"""The group of entry points under which a package offers a `RouteFunction`."""

_PARAMETER = re.compile(r"\{\w+\}")
_REST = re.compile(r"\{\w+:path\}$")
_MAX_FUNCTIONS = 32


class RouteTemplate:
    """A template such as `/{database}/{table}.json`.

    `{name}` stands for at least one character within a segment; `{name:path}`, at the end, for what is left
    of the path, be it nothing.
    """

    def __init__(self, template: str) -> None:
        self.template = template
        fixed = _REST.sub("", template)
        segments = [tuple(_PARAMETER.split(segment)) for segment in fixed.split("/")]
        # The rest counts as one more segment, whatever is in it.
        self._follow = 1 if fixed != template else 0
        self._segments = segments[: len(segments) - self._follow]

    def matches(self, path: str) -> bool:
        """Whether it is the template of this path, which is decoded and without a query."""
        count = len(self._segments)
        parts = path.split("/", count)
        return len(parts) == count + self._follow and all(map(_matches, self._segments, parts))


def _matches(literals: tuple[str, ...], segment: str) -> bool:
    """Whether a segment has these literals in this order, with something between any two."""
    if len(literals) == 1:
        return segment == literals[0]
    first, *middle, last = literals
    if not segment.startswith(first) or not segment.endswith(last):
        return False
    at, end = len(first), len(segment) - len(last)
    for literal in middle:
        found = segment.find(literal, at + 1, end)
        if found < 0:
            return False
        at = found + len(literal)
    return at < end


def router(
    apps: Mapping[str, AppSettings],
    functions: Mapping[str, RouteFunction],
    *,
    failed: Callable[[str], None],
) -> RouteOf | None:
    """What knows routes that frameworks do not tell: `[apps.NAME] routes`, of which the first that matches is
    the route, then `functions` by their names. None where there are neither.

    `failed` is told of the first failure of each function, with one line; the next one is asked then. What it
    returns never raises.
    """
    tables = {clean(name): tuple(map(RouteTemplate, app.routes)) for name, app in apps.items() if app.routes}
    asked = [_guarded(name, function, failed) for name, function in functions.items()]
    if not tables and not asked:
        return None

    def route_of(app: str, path: str, surroundings: Mapping[str, Any]) -> str | None:
        for template in tables.get(app, ()):
            if template.matches(path):
                return template.template
        return next((found for ask in asked if (found := ask(path, surroundings))), None)

    return route_of


def _guarded(name: str, function: RouteFunction, failed: Callable[[str], None]) -> RouteFunction:
    told = False

    def ask(path: str, surroundings: Mapping[str, Any]) -> str | None:
        nonlocal told
        try:
            found: object = function(path, surroundings)
            if found is None or isinstance(found, str):
                return clean(found) if found else None
            reason = f"returned {type(found).__name__}"
        except Exception as error:  # the package's code; its failure must not be the request's
            reason = f"raised {type(error).__name__}"
        if not told:
            told = True
            failed(f"{GROUP} {name!r}: {reason}; it is to return the template of a route, or None")
        return None

    return ask


def load_functions(*, failed: Callable[[str], None]) -> dict[str, RouteFunction]:
    """The functions that packages offer, by the names of their entry points; `failed` is told, with one line,
    of each that cannot be imported."""
    from bext_otel._compat import offered  # it knows the SDK, which instrumentors import nothing of

    found: dict[str, RouteFunction] = {}
    for entry_point in islice(offered(GROUP), _MAX_FUNCTIONS):
        try:
            function = entry_point.load()
            if not callable(function):
                raise TypeError(f"{entry_point.value} is no function")
        except Exception as error:  # a package's code, which may raise anything while it is imported
            failed(f"{GROUP} {entry_point.name!r} is left out: {type(error).__name__}: {error}")
        else:
            found.setdefault(entry_point.name, function)
    return found
