"""Counting what many threads do at once, and what waits for export."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping

__all__ = ["Queue", "Ticks"]

_log = logging.getLogger("bext_otel.export")

# A queue that stays full is one line in this time, however much is dropped.
_QUIET_SECONDS = 60.0


class Ticks:
    """A count that any thread raises by calling `up()`: no lock, and as cheap as a call can be, since C code
    does it in one step."""

    __slots__ = ("_lock", "_looks", "up")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start over, as a forked child does."""
        self.up: Callable[[], int] = itertools.count().__next__
        self._looks = 0
        self._lock = threading.Lock()

    @property
    def value(self) -> int:
        """How often `up` was called."""
        with self._lock:
            # A count tells where it is only by going on, so what looking added is taken off.
            found = self.up() - self._looks
            self._looks += 1
            return found


class Queue:
    """What a batch processor holds and lets go, told by the processor itself.

    `processed` items were handed to the exporter, `dropped` were not, by cause: `queue_full` or
    `already_shutdown`, as the semantic conventions name them, or `_OTHER`. `capacity` is 0 until the
    processor is built.
    """

    def __init__(self, items: str, variable: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`items` is what they are called, `variable` names the setting of the capacity."""
        self._items = items
        self._variable = variable
        self._clock = clock
        self._causes: dict[str, Ticks] = {
            "queue_full": Ticks(),
            "already_shutdown": Ticks(),
            "_OTHER": Ticks(),
        }
        self._size: Callable[[], int] = int
        self.capacity = 0
        self.reset()

    def reset(self) -> None:
        """Start over, as a forked child does. The queue is emptied there."""
        self.processed = 0
        self.last_drop: float | None = None
        self._said: float | None = None
        for ticks in self._causes.values():
            ticks.reset()

    def attach(self, size: Callable[[], int], capacity: int) -> None:
        """The processor has been built: how many items wait in it now, and how many may."""
        self._size, self.capacity = size, capacity

    @property
    def size(self) -> int:
        """Items that wait."""
        return self._size()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Items that were dropped, by cause."""
        return {cause: ticks.value for cause, ticks in self._causes.items()}

    def finish_items(self, count: int) -> None:
        """`count` items go to the exporter, for the first time. Called by one thread at a time."""
        self.processed += count

    def drop_items(self, count: int, error_type: str = "queue_full") -> None:
        """`count` items are dropped; called by the thread that made them."""
        ticks = self._causes.get(error_type, self._causes["_OTHER"])
        for _ in range(count):
            ticks.up()
        now = self._clock()
        self.last_drop = now
        if error_type == "queue_full" and (self._said is None or now - self._said >= _QUIET_SECONDS):
            # First, because the line itself may be a record for which there is no room.
            self._said = now
            _log.warning(
                "%s are dropped: %d wait for export and there is room for no more (%s); dropped and "
                "counted: %d so far",
                self._items,
                self.capacity,
                self._variable,
                ticks.value,
            )
