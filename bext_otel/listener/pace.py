"""How often work may be done that anybody can ask for."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pace"]


class Pace:
    """Keeps work to a `share` of the time (0 to 1), in the long run: `credit_seconds` of it may be done at
    any time, and what follows waits until as much has been worked off."""

    def __init__(
        self,
        *,
        share: float = 0.2,
        credit_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share = share
        self._credit = credit_seconds / share
        self._clock = clock
        self._worked_off = float("-inf")

    def wait_seconds(self) -> float:
        """How long the next piece has to wait; 0 or less: not at all."""
        return self._worked_off - self._credit - self._clock()

    def spend(self, seconds: float) -> None:
        """A piece has taken so long."""
        self._worked_off = max(self._worked_off, self._clock()) + seconds / self._share
