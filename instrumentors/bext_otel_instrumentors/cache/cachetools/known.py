"""The caches of cachetools that were seen, and what is known about each."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from bext_otel.catalogue import UNKNOWN
from bext_otel_instrumentors.cache.holdings import Size, holdings
from bext_otel_instrumentors.cache.layers import Layers, names_of

__all__ = ["Known", "KnownCache", "Method", "known"]

Method = Callable[..., Any]


@lru_cache(maxsize=256)  # an application may make a cache for each of its objects
def _names(kind: type, made_by: str, library: str) -> tuple[str, ...]:
    """What the application wrote tells more than where it stands, and that more than a class of the
    library."""
    own = [one for one in kind.__mro__ if one.__module__ != library]
    theirs = [one for one in kind.__mro__ if one.__module__ == library]
    return (*names_of(*own), *([made_by] if made_by else []), *names_of(*theirs))


class KnownCache:
    """What is known about a cache; outside of it, so that its copies and pickles are what they are without
    us."""

    __slots__ = ("app", "explicit", "kind", "layer", "names", "ref")

    def __init__(self, cache: Any, made_by: str) -> None:
        kind: Any = type(cache)
        self.kind = kind.__qualname__
        self.names = _names(kind, made_by, known.module.__name__)
        self.layer = known.layers.named(*self.names)
        self.app = UNKNOWN
        self.explicit = False
        self.ref = weakref.ref(cache, known.dropping(id(cache)))

    def call(self, name: str) -> None:
        """The cache is also called `name`, first of all."""
        if name not in self.names:
            self.names = (name, *self.names)[:50]
            if not self.explicit:
                self.layer = known.layers.named(*self.names)


class Known:
    """The caches that were seen. They have no hash, so they are known by their identity while they live."""

    def __init__(self) -> None:
        self.layers = Layers()
        self.module: Any = None
        self.records: dict[int, KnownCache] = {}

    def of(self, cache: Any, made_by: str = "") -> KnownCache:
        """What is known about `cache`, which is new if it is the first time."""
        record = self.records.get(id(cache))
        if record is None:
            record = self.records.setdefault(id(cache), KnownCache(cache, made_by))
            holdings.add(cache, record, size_of, group="cachetools")
        return record

    def dropping(self, key: int) -> Callable[[object], None]:
        def drop(gone: object) -> None:
            record = self.records.get(key)
            if record is not None and record.ref is gone:
                del self.records[key]

        return drop

    def forget(self) -> None:
        holdings.forget("cachetools")
        self.records.clear()


known = Known()
"""Those of this process."""


def size_of(cache: Any) -> Size:
    """Read past the methods of TTL caches, which drop what is too old first: reading metrics changes
    nothing."""
    base = known.module.Cache
    entries = base.__len__(cache)
    return entries, base.currsize.fget(cache) if cache.getsizeof is not base.getsizeof else None
