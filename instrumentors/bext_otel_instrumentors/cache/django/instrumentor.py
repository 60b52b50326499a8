"""Django's cache framework: every backend that `CACHES` names, by its alias.

Counted and timed are calls of the application; what a backend calls in turn is part of them. Entries and
bytes are those of memory, of files and of a Redis. What can't be known is not reported: entries and bytes of
other backends, evictions that a server decides, and how much `clear` drops there. Of what `delete_many` drops
from memcached, what was asked for counts.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original, Patches
from bext_otel_instrumentors.cache.django.backends import RECORD, answering, forget, record_of
from bext_otel_instrumentors.cache.django.methods import METHODS
from bext_otel_instrumentors.cache.drops import invalidating
from bext_otel_instrumentors.cache.layers import Layers
from bext_otel_instrumentors.cache.redis.holdings import EVERY_SECONDS, RedisHoldings

__all__ = ["DjangoCacheInstrumentor", "invalidating"]


class DjangoCacheInstrumentor(Instrumentor):
    """Instruments Django's cache framework, as soon as it is imported.

    `instrument(layers={"default": "fragment", "page:*": "isr"})`: layers by alias, by the backend's class, or
    by what keys begin with. `redis_seconds`: how often a Redis is asked what it holds, 0 for never.
    """

    requires = ("django >= 4.2",)

    def _instrument(self, **kwargs: Any) -> None:
        self._layers = Layers(kwargs.get("layers"))
        self._redis = RedisHoldings(self._layers, kwargs.get("redis_seconds", EVERY_SECONDS))
        self._covered: set[type] = set()
        super()._instrument(**kwargs)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("django.core.cache", self._cover)

    def _uninstrument(self, **kwargs: Any) -> None:
        super()._uninstrument(**kwargs)
        self._redis.stop()
        forget()

    def _cover(self, module: Any) -> None:
        self._patches.wrap(module.CacheHandler, "create_connection", self._making)

    def _making(self, original: Original) -> Original:
        @wraps(original)
        def create_connection(handler: Any, alias: str) -> Any:
            backend = original(handler, alias)
            try:
                self._adopt(backend, alias)
            except Exception as error:  # a backend of any kind
                report(f"the cache {alias!r}", error)
            return backend

        return create_connection

    def _adopt(self, backend: Any, alias: str) -> None:
        kind = type(backend)
        setattr(backend, RECORD, record_of(backend, alias, self._layers))
        if kind not in self._covered:
            self._covered.add(kind)
            for name, make in METHODS.items():
                if hasattr(kind, name):
                    self._patches.wrap(kind, name, make)
        for client in getattr(getattr(backend, "_class", None), "__mro__", ()):
            if (
                client.__module__ == "django.core.cache.backends.redis"
                and "get_client" in vars(client)
                and client not in self._covered
            ):
                self._covered.add(client)
                self._patches.wrap(client, "get_client", answering(self._redis))
