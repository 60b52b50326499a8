"""How fast counters grow: what each of them was at the beginning of a few steps, so that nothing has to be
kept for each increase."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterable

__all__ = ["RateWindow", "floats"]

_STEPS = 12


class RateWindow:
    """The totals of counters at the beginning of each of the last `seconds`' twelve steps in which anything
    grew.

    Counters are known by their position, and new ones come last. Times are monotonic seconds.
    """

    __slots__ = ("_frames", "_started", "_width")

    def __init__(self, seconds: float, started: float) -> None:
        self._width = seconds / _STEPS
        self._started = started
        self._frames: deque[tuple[int, array[float]]] = deque()

    def mark(self, now: float, totals: Callable[[], array[float]]) -> None:
        """To be called before counters grow: keeps the totals if these are the first of a step."""
        step = int(now / self._width)
        if not self._frames or self._frames[-1][0] != step:
            self._frames.append((step, totals()))
            self._expire(step)

    def base(self, now: float) -> tuple[array[float] | None, float]:
        """The totals at the beginning of the window, and the seconds since; None if nothing has grown within
        it.

        The window is the current, unfinished step and the whole steps before it, or the time since start,
        whichever is shorter.
        """
        self._expire(int(now / self._width))
        held = min((_STEPS - 1) * self._width + now % self._width, now - self._started)
        return (self._frames[0][1] if self._frames else None), max(held, 1.0)

    def _expire(self, step: int) -> None:
        while self._frames and self._frames[0][0] <= step - _STEPS:
            self._frames.popleft()


def floats(values: Iterable[float]) -> array[float]:
    """Eight bytes for each number; what no float can hold becomes infinite."""
    held = list(values)
    try:
        return array("d", held)
    except OverflowError:
        return array("d", [_float(value) for value in held])


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
