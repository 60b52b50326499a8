"""Incremental static regeneration."""

from __future__ import annotations

import asyncio

import pytest

from bext_demo.cache import IsrCache, Outcome, Rendered


class Site:
    """A cache under a clock that stands still, and pages that count how often they were rendered."""

    def __init__(self, max_bytes: int = 1000) -> None:
        self.now = 0.0
        self.renders = 0
        self.cache = IsrCache(max_bytes=max_bytes, fresh_seconds=10, stale_seconds=60, clock=lambda: self.now)

    async def get(self, path: str = "/", *tags: str, size: int = 3) -> tuple[str, Outcome]:
        async def render() -> Rendered:
            await asyncio.sleep(0)
            self.renders += 1
            return Rendered(str(self.renders).rjust(size, "."), frozenset(tags))

        page, outcome = await self.cache.get(path, render)
        return page.html.strip("."), outcome

    async def settle(self) -> None:
        """Let the renders behind the scenes end."""
        for _ in range(5):
            await asyncio.sleep(0)


def test_a_page_is_rendered_once_while_it_is_fresh() -> None:
    async def scenario() -> list[tuple[str, Outcome]]:
        site = Site()
        return [await site.get(), await site.get(), await site.get("/other")]

    assert [("1", "miss"), ("1", "hit"), ("2", "miss")] == asyncio.run(scenario())


def test_a_stale_page_is_served_while_it_is_rendered_again() -> None:
    async def scenario() -> list[tuple[str, Outcome]]:
        site = Site()
        found = [await site.get()]
        site.now = 10
        found.append(await site.get())
        await site.settle()
        return [*found, await site.get()]

    assert [("1", "miss"), ("1", "stale"), ("2", "hit")] == asyncio.run(scenario())


def test_a_page_that_nobody_wanted_for_long_is_gone() -> None:
    async def scenario() -> tuple[tuple[str, Outcome], int]:
        site = Site()
        await site.get()
        site.now = 60
        return await site.get("/other"), len(site.cache)

    assert (("2", "miss"), 1) == asyncio.run(scenario())


def test_everybody_who_asks_at_once_waits_for_one_render() -> None:
    async def scenario() -> tuple[set[tuple[str, Outcome]], int]:
        site = Site()
        return set(await asyncio.gather(*(site.get() for _ in range(10)))), site.renders

    assert ({("1", "miss")}, 1) == asyncio.run(scenario())


def test_a_visitor_who_leaves_takes_the_page_from_nobody() -> None:
    async def scenario() -> tuple[str, Outcome]:
        site = Site()
        leaving, staying = asyncio.ensure_future(site.get()), asyncio.ensure_future(site.get())
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert ("1", "miss") == asyncio.run(scenario())


def test_the_oldest_pages_make_room_for_new_ones() -> None:
    async def scenario() -> tuple[int, Outcome, Outcome]:
        site = Site(max_bytes=100)
        for number in range(4):
            await site.get(f"/{number}", size=40)
        return site.cache.size_bytes, (await site.get("/3"))[1], (await site.get("/0"))[1]

    assert (80, "hit", "miss") == asyncio.run(scenario())


def test_a_page_larger_than_the_cache_is_served_and_not_kept() -> None:
    async def scenario() -> tuple[tuple[str, Outcome], int]:
        site = Site(max_bytes=100)
        return await site.get(size=101), len(site.cache)

    assert (("1", "miss"), 0) == asyncio.run(scenario())


def test_pages_are_dropped_by_path_and_by_tag() -> None:
    async def scenario() -> tuple[int, list[Outcome]]:
        site = Site()
        for path, tag in (("/", "list"), ("/a", "a"), ("/b", "b")):
            await site.get(path, tag)
        dropped = site.cache.invalidate(paths=["/", "/nowhere"], tags=["a"])
        return dropped, [(await site.get(path))[1] for path in ("/", "/a", "/b")]

    assert (2, ["miss", "miss", "hit"]) == asyncio.run(scenario())


def test_a_page_made_from_data_older_than_an_invalidation_is_not_kept() -> None:
    async def scenario() -> tuple[str, Outcome]:
        site = Site()
        rendering = asyncio.ensure_future(site.get())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        site.cache.invalidate(paths=["/"])
        await rendering
        return await site.get()

    assert ("2", "miss") == asyncio.run(scenario())


def test_a_failed_render_reaches_the_visitor_and_leaves_a_stale_page_alone() -> None:
    async def broken() -> Rendered:
        raise LookupError("no data")

    async def scenario() -> tuple[str, Outcome]:
        site = Site()
        with pytest.raises(LookupError):
            await site.cache.get("/", broken)
        await site.get()
        site.now = 10
        page, outcome = await site.cache.get("/", broken)
        await site.settle()
        assert "stale" == (await site.cache.get("/", broken))[1]
        await site.cache.close()
        return page.html.strip("."), outcome

    assert ("1", "stale") == asyncio.run(scenario())
