"""Incremental static regeneration: a page is rendered once, served from memory, and rendered again behind the visitors' backs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from cachetools import TTLCache

from bext_demo import facts

__all__ = ["IsrCache", "Outcome", "Rendered"]

log = logging.getLogger(__name__)

Outcome = Literal["hit", "stale", "miss"]
"""How a lookup ended: with a fresh page, with one that is being rendered again, or with none."""

_LAYER = "isr"
_MAX_REGENERATIONS = 16


@dataclass(frozen=True)
class Rendered:
    """A page, and the tags of the data that it shows."""

    html: str
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Entry:
    page: Rendered
    stale_at: float


Render = Callable[[], Awaitable[Rendered]]


class _Store(TTLCache[str, _Entry]):
    """Entries by path. cachetools calls `popitem` for each entry that it drops to make room."""

    app: str

    def popitem(self) -> tuple[str, _Entry]:
        path, entry = super().popitem()
        log.warning("page evicted", extra={"app": self.app, "evicted": path})
        facts.cache_evicted(self.app, _LAYER)
        return path, entry


class IsrCache:
    """Pages by path, bounded by the bytes of their HTML; for one event loop.

    A page is fresh for `fresh_seconds`. Then it is served as it is while one task renders it again, until `stale_seconds` after it was
    stored; after that it is gone. `clock` is in seconds and never goes back.
    """

    def __init__(
        self, *, app: str, max_bytes: int, fresh_seconds: float, stale_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._fresh_seconds = fresh_seconds
        self._clock = clock
        self._store = _Store(maxsize=max_bytes, ttl=stale_seconds, timer=clock, getsizeof=_size)
        self._store.app = app
        self._rendering: dict[str, asyncio.Task[Rendered]] = {}
        self._invalidations = 0

    def __len__(self) -> int:
        return len(self._store)

    @property
    def size_bytes(self) -> int:
        """HTML held."""
        return int(self._store.currsize)

    async def get(self, path: str, render: Render) -> tuple[Rendered, Outcome]:
        """The page at `path`, rendered by `render` if need be, once for everybody who asks meanwhile. What `render` raises passes on."""
        self._expire()
        entry = self._store.get(path)
        facts.cache_lookup(self._app, _LAYER, hit=entry is not None)
        if entry is None:
            # Shielded, because others may wait for the same task when this visitor goes away.
            return await asyncio.shield(self._regenerate(path, render)), "miss"
        if self._clock() < entry.stale_at:
            return entry.page, "hit"
        if path not in self._rendering and len(self._rendering) < _MAX_REGENERATIONS:
            self._regenerate(path, render).add_done_callback(_log_failure)
        return entry.page, "stale"

    def invalidate(self, *, paths: Iterable[str] = (), tags: Iterable[str] = ()) -> int:
        """Drop the pages at these paths, and those that show data with one of these tags; how many there were."""
        self._invalidations += 1
        by_path = sum(self._store.pop(path, None) is not None for path in set(paths))
        wanted = frozenset(tags)
        tagged = [path for path, entry in self._store.items() if entry.page.tags & wanted]
        for path in tagged:
            del self._store[path]
        facts.cache_dropped(self._app, by="path", entries=by_path)
        facts.cache_dropped(self._app, by="tag", entries=len(tagged))
        self._report()
        if dropped := by_path + len(tagged):
            log.info("pages invalidated", extra={"app": self._app, "entries": dropped})
        return dropped

    async def close(self) -> None:
        """Stop rendering and forget every page."""
        tasks = list(self._rendering.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._store.clear()

    def _regenerate(self, path: str, render: Render) -> asyncio.Task[Rendered]:
        """The task that renders `path`; it stores the page, and is forgotten, when it ends."""
        task = self._rendering.get(path)
        if task is None:
            task = self._rendering[path] = asyncio.ensure_future(self._fill(path, render))
        return task

    async def _fill(self, path: str, render: Render) -> Rendered:
        invalidations = self._invalidations
        try:
            page = await render()
            # What was rendered from data older than the last invalidation may be shown once, but not kept.
            if invalidations == self._invalidations:
                self._put(path, page)
            return page
        finally:
            del self._rendering[path]

    def _put(self, path: str, page: Rendered) -> None:
        entry = _Entry(page, stale_at=self._clock() + self._fresh_seconds)
        if _size(entry) <= self._store.maxsize:
            self._store[path] = entry
        self._report()

    def _expire(self) -> None:
        expired = sum(1 for _ in self._store.expire())
        if expired:
            facts.cache_dropped(self._app, by="gc", entries=expired)
            self._report()

    def _report(self) -> None:
        facts.cache_size(self._app, _LAYER, entries=len(self._store), size_bytes=self.size_bytes)


def _size(entry: _Entry) -> int:
    return len(entry.page.html)


def _log_failure(task: asyncio.Task[Rendered]) -> None:
    """Nobody waits for a page that is rendered again, so its failure is told here; the stale page lives on."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("page not rendered again: %s", error)
