"""Flask-Caching: what a `Cache` is asked for, whichever backend it has, and the functions that `cached` and `memoize` wrap.

A value of None is a miss, as it is for Flask-Caching. What can't be known is not reported: entries and bytes of backends outside of this
process, and evictions that a server decides.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import wraps
from typing import Any

from bext_otel_instrumentors._base import Instrumentor
from bext_otel_instrumentors._cache import invalidating
from bext_otel_instrumentors._flask_caching_methods import LOCAL, METHODS, Method, Record, size_of
from bext_otel_instrumentors._guard import report
from bext_otel_instrumentors._holdings import holdings
from bext_otel_instrumentors._imported import Imports
from bext_otel_instrumentors._layers import Layers
from bext_otel_instrumentors._patch import Patches
from bext_otel_instrumentors._serving import Hosting

__all__ = ["FlaskCachingInstrumentor", "invalidating"]


class FlaskCachingInstrumentor(Instrumentor):
    """Instruments Flask-Caching, as soon as it is imported.

    `instrument(layers={"shop.views.index": "isr", "SimpleCache": "fragment", "page:*": "isr"})`: layers by the function that is cached, by
    the backend's class, or by what keys begin with (without the prefix that a backend adds).
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Flask-Caching."""
        return ("Flask-Caching >= 2.3",)

    def _instrument(self, **kwargs: Any) -> None:
        Record.layers = Layers(kwargs.get("layers"))
        self._imports = Imports()
        super()._instrument(**kwargs)

    def _patch(self, patches: Patches, hosting: Hosting) -> None:
        self._imports.when("flask_caching", self._cover)

    def _uninstrument(self, **kwargs: Any) -> None:
        self._imports.forget()
        super()._uninstrument(**kwargs)
        holdings.forget("flask")

    def _cover(self, module: Any) -> None:
        for name, make in METHODS.items():
            if hasattr(module.Cache, name):
                self._patches.wrap(module.Cache, name, make)
        self._patches.wrap(module.Cache, "_set_cache", _making)
        for name, make in LOCAL.items():
            if hasattr(module.SimpleCache, name):
                self._patches.wrap(module.SimpleCache, name, make)


def _making(original: Method) -> Method:
    """A `Cache` gets its backend."""

    @wraps(original)
    def _set_cache(self: Any, app: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, app, *args, **kwargs)
        try:
            backend = app.extensions["cache"][self]
            if isinstance(getattr(backend, "_cache", None), dict):
                holdings.add(backend, Record.of(backend), size_of, group="flask")
        except Exception as error:  # a backend of any kind
            report("a cache of Flask-Caching", error)
        return result

    return _set_cache
