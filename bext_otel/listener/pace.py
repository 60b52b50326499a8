"""How often work may be done that anybody can ask for."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pace"]


class Pace:
    """Keeps work to a `share` of the time (0 to 1), in the long run: `burst` pieces may follow each other at
    once, then each waits until the last ones have been worked off."""

    def __init__(
        self, *, share: float = 0.2, burst: int = 4, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._share = share
        self._burst = burst
        self._clock = clock
        self._worked_off = 0.0
        self._patience = 0.0

    def wait_seconds(self) -> float:
        """How long the next piece has to wait; 0 or less: not at all."""
        return self._worked_off - self._patience - self._clock()

    def spend(self, seconds: float) -> None:
        """A piece has taken so long."""
        period = seconds / self._share
        self._worked_off = max(self._worked_off, self._clock()) + period
        self._patience = (self._burst - 1) * period
