"""V8 isolates: bounded in number, time and memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bext_demo.isolates import (
    IsolatePool,
    PoolBusyError,
    RenderOutOfMemoryError,
    RenderScriptError,
    RenderTimeoutError,
)

SOURCE = """
let renders = 0;
const pages = {
  hello: ({ name }) => `Hello ${name}`,
  count: () => String(++renders),
  spin: ({ ms }) => { const end = Date.now() + ms; while (Date.now() < end); return "done"; },
  endless: () => { for (;;); },
  greedy: () => { const all = []; for (;;) all.push(new Array(10000).fill(all.length)); },
  broken: () => undefined.title,
  number: () => 42,
};
function render(page, props) { return pages[page](props); }
"""


@asynccontextmanager
async def pool(
    size: int = 2, wait_seconds: float = 5.0, timeout_seconds: float = 0.3
) -> AsyncIterator[IsolatePool]:
    made = IsolatePool(
        SOURCE,
        size=size,
        timeout_seconds=timeout_seconds,
        memory_limit_bytes=32 * 1024 * 1024,
        wait_seconds=wait_seconds,
    )
    await made.start()
    try:
        yield made
    finally:
        await made.close()


def test_a_page_is_what_the_script_returns_for_the_props() -> None:
    """Half a surrogate pair, which is no text, becomes the replacement character."""

    async def scenario() -> str:
        async with pool() as isolates:
            return await isolates.render("hello", {"name": "</script> \u2028 \ud83d é"})

    assert "Hello </script> \u2028 \ufffd é" == asyncio.run(scenario())


def test_one_isolate_is_up_before_the_first_render_and_none_after_the_end() -> None:
    async def scenario() -> tuple[int, int]:
        async with pool() as isolates:
            before = isolates.active
        return before, isolates.active

    assert (1, 0) == asyncio.run(scenario())


def test_renders_one_after_another_share_an_isolate() -> None:
    async def scenario() -> tuple[list[str], int]:
        async with pool() as isolates:
            return [await isolates.render("count", {}) for _ in range(3)], isolates.active

    assert (["1", "2", "3"], 1) == asyncio.run(scenario())


def test_renders_at_once_take_no_more_isolates_than_the_pool_has() -> None:
    async def scenario() -> tuple[list[str], int]:
        async with pool(size=2, timeout_seconds=20.0) as isolates:
            pages = await asyncio.gather(*(isolates.render("spin", {"ms": 20}) for _ in range(6)))
            return pages, isolates.active

    assert (["done"] * 6, 2) == asyncio.run(scenario())


def test_the_event_loop_goes_on_while_a_page_is_rendered() -> None:
    async def scenario() -> int:
        async with pool(timeout_seconds=5.0) as isolates:
            render = asyncio.ensure_future(isolates.render("spin", {"ms": 200}))
            turns = 0
            while not render.done():
                await asyncio.sleep(0.001)
                turns += 1
            return turns

    assert asyncio.run(scenario()) > 1


@pytest.mark.parametrize(
    ("page", "error"), [("endless", RenderTimeoutError), ("greedy", RenderOutOfMemoryError)]
)
def test_an_isolate_that_was_stopped_is_replaced(page: str, error: type[Exception]) -> None:
    async def scenario() -> tuple[int, str, int]:
        async with pool(timeout_seconds=20.0 if page == "greedy" else 0.2) as isolates:
            assert "1" == await isolates.render("count", {})
            with pytest.raises(error, match=page):
                await isolates.render(page, {})
            return isolates.active, await isolates.render("count", {}), isolates.active

    assert (0, "1", 1) == asyncio.run(scenario())


@pytest.mark.parametrize("page", ["broken", "number", "missing"])
def test_an_isolate_survives_a_mistake_in_a_script(page: str) -> None:
    async def scenario() -> tuple[str, str]:
        async with pool() as isolates:
            first = await isolates.render("count", {})
            with pytest.raises(RenderScriptError, match=page):
                await isolates.render(page, {})
            return first, await isolates.render("count", {})

    assert ("1", "2") == asyncio.run(scenario())


def test_who_waits_too_long_for_an_isolate_is_told_so() -> None:
    async def scenario() -> str:
        async with pool(size=1, wait_seconds=0.05, timeout_seconds=5.0) as isolates:
            slow = asyncio.ensure_future(isolates.render("spin", {"ms": 500}))
            await asyncio.sleep(0)
            with pytest.raises(PoolBusyError):
                await isolates.render("hello", {"name": "you"})
            return await slow

    assert "done" == asyncio.run(scenario())


def test_a_visitor_who_leaves_gives_the_isolate_back() -> None:
    async def scenario() -> tuple[str, int]:
        async with pool(size=1, timeout_seconds=5.0) as isolates:
            leaving = asyncio.ensure_future(isolates.render("spin", {"ms": 100}))
            await asyncio.sleep(0.01)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            return await isolates.render("count", {}), isolates.active

    assert ("1", 1) == asyncio.run(scenario())


def test_closing_waits_for_a_render_that_nobody_waits_for() -> None:
    async def scenario() -> int:
        async with pool(size=1, timeout_seconds=0.2) as isolates:
            leaving = asyncio.ensure_future(isolates.render("endless", {}))
            await asyncio.sleep(0.01)
            leaving.cancel()
        return isolates.active

    assert 0 == asyncio.run(scenario())


def test_a_closed_pool_leaves_no_thread_behind() -> None:
    async def scenario() -> None:
        async with pool(size=2) as isolates:
            await asyncio.gather(*(isolates.render("spin", {"ms": 20}) for _ in range(4)))

    before = set(threading.enumerate())
    asyncio.run(scenario())
    assert set() == {thread for thread in threading.enumerate() if "run_event_loop" in thread.name} - before
