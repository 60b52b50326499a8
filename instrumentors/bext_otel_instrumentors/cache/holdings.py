"""How much the caches of this process hold: entries and bytes, asked for when metrics are read, never when
caches are used."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple, Protocol

from bext_otel.catalogue import CACHE_BYTES, CACHE_ENTRIES
from bext_otel.operation import observe
from bext_otel_instrumentors._kit.guard import report

__all__ = ["Holdings", "Owner", "Size", "holdings", "size_of_store"]

Size = tuple[float | None, float | None]
"""Entries and bytes; None for what a cache cannot tell."""

# Adding up all values of a bigger store would be felt by whoever reads the metrics: as many of them, evenly
# spread, stand for all.
_MOST_MEASURED = 10_000


def size_of_store(store: Mapping[Any, Any], value_of: Callable[[Any], Any] = lambda kept: kept) -> Size:
    """Entries and bytes of a dictionary whose items are, or hold, serialised values; no bytes where a value
    is something else."""
    entries = len(store)
    step = -(-entries // _MOST_MEASURED) | 1  # odd, as big and small values may take turns
    try:
        values = [value_of(kept) for kept in list(islice(store.values(), 0, None, step))]
    except (RuntimeError, TypeError, LookupError):
        # Changed in the middle by another thread; or of another shape.
        return entries, None
    if not all(type(value) is bytes for value in values):
        return entries, None
    measured = sum(map(len, values))
    return entries, measured if step == 1 else round(measured * entries / len(values))


class Owner(Protocol):
    """Whose a cache is, at this moment."""

    app: str
    layer: str


class _Held(NamedTuple):
    cache: weakref.ref[Any]
    owner: Owner
    size: Callable[[Any], Size]
    group: str


class Holdings:
    """Caches, held weakly, and how to ask each for its size.

    The question is asked from the thread that reads metrics, at any moment: it may only read, and must not
    take the cache's lock.
    """

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}

    def add(self, cache: object, owner: Owner, size: Callable[[Any], Size], *, group: str) -> None:
        """Report what `cache` holds, for as long as it lives, or until its `group` is forgotten."""
        name = id(cache)
        self._held[name] = _Held(weakref.ref(cache, lambda gone: self._drop(name, gone)), owner, size, group)
        observe(CACHE_ENTRIES, self._entries, "app", "layer")
        observe(CACHE_BYTES, self._bytes, "app", "layer")

    def owner(self, cache: object) -> Owner | None:
        """Whose a cache is; None if it is not reported."""
        held = self._held.get(id(cache))
        return held.owner if held is not None and held.cache() is cache else None

    def forget(self, group: str) -> None:
        """Report the caches of a group no longer."""
        for name, held in list(self._held.items()):
            if held.group == group:
                self._held.pop(name, None)

    def _drop(self, name: int, gone: object) -> None:
        found = self._held.get(name)
        if found is not None and found.cache is gone:
            del self._held[name]

    def _entries(self) -> Iterator[tuple[float, tuple[str, ...]]]:
        return self._sums(0)

    def _bytes(self) -> Iterator[tuple[float, tuple[str, ...]]]:
        return self._sums(1)

    def _sums(self, which: int) -> Iterator[tuple[float, tuple[str, ...]]]:
        sums: dict[tuple[str, ...], float] = {}
        for held in list(self._held.values()):
            cache = held.cache()
            if cache is None:
                continue
            try:
                value = held.size(cache)[which]
                if value is not None and math.isfinite(value) and value >= 0:
                    labels = (held.owner.app, held.owner.layer)
                    sums[labels] = sums.get(labels, 0) + value
            except Exception as error:  # a class of the application's own may answer anything
                report("the size of a cache", error)
        return ((value, labels) for labels, value in sums.items())


holdings = Holdings()
"""Those of this process."""
