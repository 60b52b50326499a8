"""How much counters have increased lately, series by series, in constant memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TypeAlias

__all__ = ["MOST_SERIES", "Increases", "Key", "Window"]

Key: TypeAlias = tuple[str, ...]
"""The values of a rule's `by`, in its order."""

MOST_SERIES = 1000
"""Series that one rule looks at; more are passed over."""

_PARTS = 60


class Increases:
    """What came since the last look. A total that fell has begun anew; a series that was not there is all
    new, but at the first look, where nobody knows since when it counts."""

    def __init__(self) -> None:
        self._before: dict[object, float] = {}
        self._begun = False

    def since_last(self, totals: Mapping[object, float]) -> dict[object, float]:
        """The increase of each."""
        found = {}
        for key, total in totals.items():
            before = self._before.get(key, 0.0 if self._begun else total)
            found[key] = total - before if total >= before else total
        self._before, self._begun = dict(totals), True
        return found


class Window:
    """The sum of what was added in the last `seconds`, in steps of a sixtieth of it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._parts: deque[tuple[float, dict[Key, float]]] = deque()
        self._began: float | None = None

    def add(self, now: float, increases: Mapping[Key, float]) -> None:
        """What came since the last time."""
        if self._began is None or (self._parts and now < self._parts[-1][0]):  # or the clock was set back
            self._began = now
            self._parts.clear()
        if not self._parts or now - self._parts[-1][0] >= self.seconds / _PARTS:
            self._parts.append((now, {}))
        part = self._parts[-1][1]
        for key, increase in increases.items():
            if increase and (key in part or len(part) < MOST_SERIES):
                part[key] = part.get(key, 0.0) + increase
        while self._parts and self._parts[0][0] <= now - self.seconds:
            self._parts.popleft()

    def sums(self) -> dict[Key, float]:
        """By key; what did not increase is not there."""
        found: dict[Key, float] = {}
        for _, part in self._parts:
            for key, increase in part.items():
                found[key] = found.get(key, 0.0) + increase
        return found

    def covered(self, now: float) -> float:
        """Seconds that it has seen, at most its length."""
        return 0.0 if self._began is None else min(now - self._began, self.seconds)
