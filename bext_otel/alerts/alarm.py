"""What a detector says, and what a detector is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Alarm", "Detector"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """One value that its series has not led anybody to expect.

    `value` is in the series' unit (a counter's: increase per second), `expected` what was expected there,
    and `low` to `high` what would have raised no alarm. Times are seconds since 1970: of the value, and of
    the first one in a row that was unusual. `score` is how many times the limit was reached, 1.0 or more.
    """

    time_unix: float
    value: float
    expected: float
    low: float
    high: float
    since_unix: float
    score: float

    def __str__(self) -> str:
        return f"{self.value:.6g}, expected {self.expected:.6g} ({self.low:.6g} to {self.high:.6g})"


class Detector(Protocol):
    """What watches one series. Another one than ours is a class with this method."""

    def feed(self, timestamp: float, value: float) -> Alarm | None:
        """Take the series' next value; an alarm if it is one. Times are seconds since 1970, and rise."""
        ...
