"""How long an event loop keeps others waiting."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from bext_otel.health.checks import Check

if TYPE_CHECKING:
    import asyncio

__all__ = ["LoopLag"]


class LoopLag:
    """Asks the event loop that answers requests to do next to nothing, from another thread, and measures how
    long that takes; `longest_seconds` at most."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self, register: Callable[[Callable[[], Check]], object]) -> None:
        """Have the loop that runs here asked, by what is handed to `register`; nothing happens where none
        runs."""
        asyncio = sys.modules.get("asyncio")
        with suppress(RuntimeError, AttributeError):
            self._loop = asyncio.get_running_loop()  # type: ignore[union-attr]
            register(self)

    def __call__(self) -> Check:
        loop = self._loop
        if loop is None or loop.is_closed() or not loop.is_running():
            return Check.healthy(running=False)
        done, began = threading.Event(), time.monotonic()
        with suppress(RuntimeError):  # it was closed this very moment
            loop.call_soon_threadsafe(done.set)
            done.wait(self._longest_seconds)
        return Check.healthy(lag_ms=round((time.monotonic() - began) * 1e3, 1))
