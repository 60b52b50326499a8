"""Incremental static regeneration: a page is rendered once, served from memory, and rendered again behind the
visitors' backs."""

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


class IsrCache:
    """Pages by path, bounded by the bytes of their HTML; for one event loop.

    A page is fresh for `fresh_seconds`. Then it is served as it is while one task renders it again, until
    `stale_seconds` after it was stored; after that it is gone. `clock` is in seconds and never goes back.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        fresh_seconds: float,
        stale_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fresh_seconds = fresh_seconds
        self._clock = clock
        self._store = TTLCache[str, _Entry](
            maxsize=max_bytes, ttl=stale_seconds, timer=clock, getsizeof=_size
        )
        self._tags: dict[str, frozenset[str]] = {}
        self._rendering: dict[str, asyncio.Task[Rendered]] = {}
        self._invalidations = 0

    def __len__(self) -> int:
        return len(self._store)

    @property
    def size_bytes(self) -> int:
        """HTML held."""
        return int(self._store.currsize)

    async def get(self, path: str, render: Render) -> tuple[Rendered, Outcome]:
        """The page at `path`, rendered by `render` if need be, once for everybody who asks meanwhile. What
        `render` raises passes on."""
        self._store.expire()
        entry = self._store.get(path)
        if entry is None:
            # Shielded, because others may wait for the same task when this visitor goes away.
            return await asyncio.shield(self._regenerate(path, render)), "miss"
        if self._clock() < entry.stale_at:
            return entry.page, "hit"
        if path not in self._rendering and len(self._rendering) < _MAX_REGENERATIONS:
            self._regenerate(path, render).add_done_callback(_log_failure)
        return entry.page, "stale"

    def invalidate(self, *, paths: Iterable[str] = (), tags: Iterable[str] = ()) -> int:
        """Drop the pages at these paths, and those that show data with one of these tags; how many there
        were."""
        self._invalidations += 1
        by_path = sum(self._store.pop(path, None) is not None for path in set(paths))
        wanted = frozenset(tags)
        tagged = [path for path in self._store if self._tags[path] & wanted]
        if tagged:
            with facts.tags_dropped():
                for path in tagged:
                    self._store.pop(path, None)
        return by_path + len(tagged)

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
            # Of what was evicted or expired meanwhile, nothing is kept. To ask the cache for each would be to
            # miss it.
            held = set(self._store)
            self._tags = {
                kept: tags for kept, tags in [*self._tags.items(), (path, page.tags)] if kept in held
            }


def _size(entry: _Entry) -> int:
    return len(entry.page.html)


def _log_failure(task: asyncio.Task[Rendered]) -> None:
    """Nobody waits for a page that is rendered again, so its failure is told here; the stale page lives
    on."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("page not rendered again: %s", error)
