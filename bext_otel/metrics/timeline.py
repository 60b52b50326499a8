"""The time that is told to backends: the wall clock's, but that it never goes back.

A backend takes a point that is older than the last one of its series for a late one, and drops it: a clock
that was set back by an hour would silence a process for an hour. So while the wall clock is behind what was
told, time goes on by the monotonic clock, a tenth slower until the wall clock has caught up, since a process
that was an hour ahead for good would be as wrong. A clock that jumps forwards is followed at once: whoever
started before the network told the time was wrong before, not after.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock

__all__ = ["NANO", "Timeline"]

NANO = 1_000_000_000
"""Nanoseconds in a second."""

# How fast told time runs while the wall clock is behind: rates that a backend computes are then a tenth too
# high at most.
_SLOWLY = 0.9


class Timeline:
    """Moments of a process in nanoseconds since 1970, each later than the one before. `clock` is Unix
    seconds, `monotonic` never jumps."""

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        # Reentrant: a signal handler may flush.
        self._lock = RLock()
        self.started = self._told = int(clock() * NANO)
        self._told_at = monotonic()

    def now(self) -> int:
        """This moment."""
        with self._lock:
            at, wall = self._monotonic(), int(self._clock() * NANO)
            gone_on = int((at - self._told_at) * NANO * _SLOWLY)
            self._told, self._told_at = max(wall, self._told + max(gone_on, 1)), at
            return self._told
