"""Pages rendered by JavaScript in V8 isolates, bounded in number, time and memory."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from py_mini_racer import JSEvalException, JSOOMException, JSTimeoutException, MiniRacer, init_mini_racer

from bext_demo import facts

__all__ = [
    "IsolatePool",
    "PoolBusyError",
    "RenderError",
    "RenderOutOfMemoryError",
    "RenderScriptError",
    "RenderTimeoutError",
]

log = logging.getLogger(__name__)

# Where the processor protects V8's memory by keys, only threads that descend from the one that started it may
# enter: any other one is a segmentation fault. The thread that imports an application is everybody's
# ancestor.
init_mini_racer(ignore_duplicate_init=True)

_LOAD_SECONDS = 5.0
# The engine's bridge to Python can't carry half a surrogate pair: it would look like a render that never
# ends.
_WELL_FORMED = "const wellFormed = (page) => typeof page === 'string' ? page.toWellFormed() : page;"


class RenderError(Exception):
    """A page could not be rendered; the message says why, without the page's data."""


class RenderTimeoutError(RenderError):
    """The script ran longer than it may."""


class RenderOutOfMemoryError(RenderError):
    """The script wanted more heap than it may have."""


class RenderScriptError(RenderError):
    """The script threw, or returned something that is no page."""


class PoolBusyError(RenderError):
    """No isolate became free in time."""


class Isolate:
    """One V8 isolate with the templates loaded. Every method blocks, and one thread at a time may be
    inside."""

    def __init__(self, source: str, *, memory_limit_bytes: int) -> None:
        # A worker thread has no event loop, so the engine brings its own and never calls back into the
        # server's.
        self._engine = MiniRacer()
        self._engine.set_hard_memory_limit(memory_limit_bytes)
        with facts.no_render():
            self._engine.eval(source, timeout_sec=_LOAD_SECONDS)
            self._engine.eval(_WELL_FORMED, timeout_sec=_LOAD_SECONDS)

    def render(self, page: str, props: Mapping[str, Any], *, timeout_seconds: float) -> str:
        """The HTML of a page; RenderError if there is none."""
        call = f"wellFormed(render({json.dumps(page)}, {json.dumps(props)}))"
        try:
            html = self._engine.eval(call, timeout_sec=timeout_seconds)
        except JSTimeoutException:
            raise RenderTimeoutError(f"{page}: stopped after {timeout_seconds} s") from None
        except JSOOMException:
            raise RenderOutOfMemoryError(f"{page}: wanted more memory than an isolate may have") from None
        except JSEvalException as error:
            raise RenderScriptError(f"{page}: {_first_line(error)}") from None
        if not isinstance(html, str):
            raise RenderScriptError(f"{page}: returned {type(html).__name__}, not text")
        return html

    def close(self) -> None:
        """End the isolate and its thread."""
        # A script that was stopped still calls back; the engine answers in order, so an answer now means that
        # it has.
        with facts.no_render(), suppress(JSEvalException):
            self._engine.eval("0", timeout_sec=_LOAD_SECONDS)
        self._engine.close()


class IsolatePool:
    """At most `size` isolates, made when wanted and used by one render at a time.

    An isolate whose script ran out of time or memory is closed: what such a script left behind is nobody's to
    inherit.
    """

    def __init__(
        self,
        source: str,
        *,
        size: int,
        timeout_seconds: float,
        memory_limit_bytes: int,
        wait_seconds: float = 5.0,
    ) -> None:
        self._source = source
        self._size = size
        self._timeout_seconds = timeout_seconds
        self._memory_limit_bytes = memory_limit_bytes
        self._wait_seconds = wait_seconds
        self._idle: list[Isolate] = []
        self._all: set[Isolate] = set()
        self._renders: set[asyncio.Task[str]] = set()

    @property
    def active(self) -> int:
        """Isolates that are up."""
        return len(self._all)

    @property
    def size(self) -> int:
        """Isolates that may be up."""
        return self._size

    async def start(self) -> None:
        """Bring the first isolate up, so that the first visitor doesn't wait for the engine."""
        self._free = asyncio.Semaphore(self._size)
        self._threads = CapacityLimiter(self._size)
        self._idle.append(await self._create())

    async def close(self) -> None:
        """End every isolate, after the renders under way."""
        await asyncio.gather(*self._renders, return_exceptions=True)
        self._idle.clear()
        while self._all:
            await anyio.to_thread.run_sync(self._all.pop().close)

    async def render(self, page: str, props: Mapping[str, Any]) -> str:
        """The HTML of a page; RenderError if there is none."""
        try:
            await asyncio.wait_for(self._free.acquire(), self._wait_seconds)
        except asyncio.TimeoutError:
            raise PoolBusyError(f"{page}: no isolate became free within {self._wait_seconds} s") from None
        # Shielded, because a thread can't be cancelled: whoever stops waiting leaves the isolate to a task
        # that puts it back.
        task = asyncio.ensure_future(self._render(page, props))
        self._renders.add(task)
        task.add_done_callback(self._rendered)
        return await asyncio.shield(task)

    def _rendered(self, task: asyncio.Task[str]) -> None:
        self._renders.discard(task)
        self._free.release()
        if not task.cancelled():
            # asyncio complains about an error that nobody took, and the visitor may have left
            task.exception()

    async def _render(self, page: str, props: Mapping[str, Any]) -> str:
        isolate = self._idle.pop() if self._idle else await self._create()

        def work() -> str:
            return isolate.render(page, props, timeout_seconds=self._timeout_seconds)

        try:
            html = await anyio.to_thread.run_sync(work, limiter=self._threads)
        except (RenderTimeoutError, RenderOutOfMemoryError) as error:
            log.warning("isolate replaced: %s", error)
            await self._discard(isolate)
            raise
        except RenderScriptError:
            self._idle.append(isolate)
            raise
        self._idle.append(isolate)
        return html

    async def _create(self) -> Isolate:
        def create() -> Isolate:
            return Isolate(self._source, memory_limit_bytes=self._memory_limit_bytes)

        isolate = await anyio.to_thread.run_sync(create, limiter=self._threads)
        self._all.add(isolate)
        return isolate

    async def _discard(self, isolate: Isolate) -> None:
        self._all.discard(isolate)
        await anyio.to_thread.run_sync(isolate.close, limiter=self._threads)


def _first_line(error: Exception) -> str:
    """The message of a script's error: the engine appends the code and a stack."""
    return str(error).partition("\n")[0]
