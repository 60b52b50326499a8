"""Flask-Caching: what a `Cache` is asked for, whichever backend it has, and the functions that `cached` and
`memoize` wrap.

A value of None is a miss, as it is for Flask-Caching, unless `cache_none` says that it was stored. Entries
and bytes are those of the backend in memory, of files, and of a Redis where keys have a prefix. What can't be
known is not reported: entries and bytes of other backends, and evictions that a server decides.
"""

from __future__ import annotations

from typing import Any

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original, Patches, around
from bext_otel_instrumentors.cache.drops import invalidating
from bext_otel_instrumentors.cache.flask_caching.backends import BackendRecord, adopt, forget
from bext_otel_instrumentors.cache.flask_caching.methods import LOCAL, METHODS
from bext_otel_instrumentors.cache.layers import Layers
from bext_otel_instrumentors.cache.redis.holdings import EVERY_SECONDS, RedisHoldings

__all__ = ["FlaskCachingInstrumentor", "invalidating"]


class FlaskCachingInstrumentor(Instrumentor):
    """Instruments Flask-Caching, as soon as it is imported.

    `instrument(layers={"shop.views.index": "isr", "SimpleCache": "fragment", "page:*": "isr"})`: layers by
    the function that is cached, by the backend's class, or by what keys begin with (without the prefix that a
    backend adds). `redis_seconds`: how often a Redis is asked what it holds, 0 for never.
    """

    # Flask-Caching 2.5: before, a decorated function passed by the cache and asked the backend
    requires = ("Flask-Caching >= 2.5",)

    def _instrument(self, **kwargs: Any) -> None:
        BackendRecord.layers = Layers(kwargs.get("layers"))
        BackendRecord.redis = RedisHoldings(BackendRecord.layers, kwargs.get("redis_seconds", EVERY_SECONDS))
        super()._instrument(**kwargs)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("flask_caching", self._cover)

    def _uninstrument(self, **kwargs: Any) -> None:
        super()._uninstrument(**kwargs)
        forget()

    def _cover(self, module: Any) -> None:
        for name, make in METHODS.items():
            if hasattr(module.Cache, name):
                self._patches.wrap(module.Cache, name, make)
        self._patches.wrap(module.Cache, "_set_cache", around(_making))
        for name, make in LOCAL.items():
            if hasattr(module.SimpleCache, name):
                self._patches.wrap(module.SimpleCache, name, make)


def _making(original: Original, self: Any, /, app: Any, *args: Any, **kwargs: Any) -> Any:
    """A `Cache` gets its backend."""
    result = original(self, app, *args, **kwargs)
    try:
        adopt(app.extensions["cache"][self])
    except Exception as error:  # a backend of any kind
        report("a cache of Flask-Caching", error)
    return result
