"""cachetools: every cache class and what is derived from them, and the functions and methods that `cached`
and `cachedmethod` wrap.

A lookup is a value that is asked for, or `in` where it answers no; going through a view (`cache.items()`) is
none, and a copy (`dict(cache)`) looks up each value. A class that makes missing values itself (`__missing__`)
doesn't say whether it had one, so what it answers is not counted. A lookup takes a few tenths of a
microsecond, less than looking at the clock twice, so it is not timed. Timed are loads (what `cached` calls
for a value that is not there) and `clear`. Bytes are the cache's own size where it was given a `getsizeof`,
which is taken to answer in bytes; without one every value counts 1, and no bytes are reported.
"""

from __future__ import annotations

from typing import Any

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.patch import Patches, around
from bext_otel_instrumentors.cache.cachetools.known import known
from bext_otel_instrumentors.cache.cachetools.loads import OURS, unwrapping, watch_cached, watch_cachedmethod
from bext_otel_instrumentors.cache.cachetools.methods import METHODS
from bext_otel_instrumentors.cache.drops import invalidating
from bext_otel_instrumentors.cache.layers import Layers

__all__ = ["CachetoolsInstrumentor", "assign", "invalidating"]

_CLASSES = ("Cache", "FIFOCache", "LFUCache", "LRUCache", "MRUCache", "RRCache", "TTLCache", "TLRUCache")


# Which every class of the library calls.
_BASE_ONLY = ("__init__",)


class CachetoolsInstrumentor(Instrumentor):
    """Instruments cachetools, as soon as it is imported.

    `instrument(layers={"shop.pages.render": "isr", "TTLCache": "fragment"})`: layers by what a cache is
    called, which is the function that `cached` wraps, its class, or the module that made it; a name that ends
    in `*` is the beginning of names.
    """

    requires = ("cachetools >= 5.5",)

    def _instrument(self, **kwargs: Any) -> None:
        known.layers = Layers(kwargs.get("layers"))
        super()._instrument(**kwargs)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("cachetools", self._cover)
        patches.when_imported("cachetools.func", self._cover_func)
        patches.when_imported("cachetools._cachedmethod", self._cover_methods)

    def _uninstrument(self, **kwargs: Any) -> None:
        super()._uninstrument(**kwargs)
        known.forget()

    def _cover(self, module: Any) -> None:
        known.module = module
        for kind in (getattr(module, name) for name in _CLASSES if hasattr(module, name)):
            for name, make in METHODS.items():
                if name in _BASE_ONLY and kind is not module.Cache:
                    continue
                if name in vars(kind) or (kind is module.Cache and hasattr(kind, name)):
                    self._patches.wrap(kind, name, make)
        self._patches.wrap(module, "cached", watch_cached)
        self._patches.wrap(module, "cachedmethod", watch_cachedmethod)

    def _cover_func(self, module: Any) -> None:
        """`cachetools.func` has taken `cached` by name; if it comes later than us, it has taken ours."""
        if not hasattr(module.cached, OURS):
            self._patches.wrap(module, "cached", watch_cached)

    def _cover_methods(self, module: Any) -> None:
        """Since cachetools 7, `cachedmethod` makes an object of this class for each object that has the
        method."""
        wrapper = getattr(module, "_WrapperBase", None)
        if wrapper is not None:
            self._patches.wrap(wrapper, "__init__", around(unwrapping))


def assign(cache: Any, *, layer: str | None = None, app: str | None = None) -> None:
    """Say which layer a cache belongs to, and for which app it holds entries, where no setting can name it.

    Does nothing while cachetools is not instrumented. Raises ConfigError for a layer that does not exist.
    """
    if layer is not None:
        Layers({"": layer})
    if known.module is None or not isinstance(cache, known.module.Cache):
        return
    record = known.of(cache)
    if layer is not None:
        record.layer, record.explicit = layer, True
    if app is not None:
        record.app = app
