"""One at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["BusyError", "Turnstile"]


class BusyError(Exception):
    """Another large body is being taken, for longer than the sender can be kept waiting."""


class Turnstile:
    """Lets one in at a time; who comes meanwhile waits for at most `wait_seconds`."""

    def __init__(self, wait_seconds: float) -> None:
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()

    @contextmanager
    def entrance(self) -> Iterator[Callable[[], None]]:
        """Gives what enters the turnstile, however often it is called; the end of the block leaves it again.

        Entering raises `BusyError`.
        """
        inside = False

        def enter() -> None:
            nonlocal inside
            if not inside and not self._lock.acquire(timeout=self._wait_seconds):
                raise BusyError
            inside = True

        try:
            yield enter
        finally:
            if inside:
                self._lock.release()
