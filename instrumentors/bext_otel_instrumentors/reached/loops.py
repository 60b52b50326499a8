"""Asking in an event loop of the application's, from a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from bext_otel.reached import GONE

__all__ = ["asked_in", "running_loop"]

# Longer than any check may take: past its own limit it has failed, and this frees the thread.
_MOST_SECONDS = 60.0


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs here."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def asked_in(loop: asyncio.AbstractEventLoop, ask: Callable[[], Coroutine[Any, Any, Any]]) -> object:
    """What `ask` answers in this loop; `GONE` where that runs no more."""
    if loop.is_closed() or not loop.is_running():
        return GONE
    future = asyncio.run_coroutine_threadsafe(ask(), loop)
    try:
        return future.result(_MOST_SECONDS)
    finally:
        future.cancel()
