"""What happened lately: windows that slide in steps, so that old measurements leave and the rest stays."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bext_otel.catalogue import QUANTILES
from bext_otel.pipeline.exponential import Buckets, quantile

__all__ = ["RateWindow", "Window"]

# A window is a handful of frames: it holds its length and at most one step more.
_FRAMES = 5


@dataclass
class _Frame:
    step: int
    buckets: Buckets = field(default_factory=Buckets)
    zeros: int = 0
    low: float = math.inf
    high: float = -math.inf


class Window:
    """Exponential buckets of the last `seconds`, kept as frames of a fifth of that."""

    __slots__ = ("_frames", "_step_seconds")

    def __init__(self, seconds: float) -> None:
        self._step_seconds = seconds / _FRAMES
        self._frames: deque[_Frame] = deque()

    def add(self, counted: Mapping[int, int], zeros: int, low: float, high: float, now: float) -> None:
        """Take a batch of values, counted; `low` and `high` are the least and the greatest; `now` is monotonic seconds."""
        step = int(now / self._step_seconds)
        if not self._frames or self._frames[-1].step != step:
            self._frames.append(_Frame(step))
            self._expire(step)
        frame = self._frames[-1]
        frame.buckets.update(counted)
        frame.zeros += zeros
        frame.low, frame.high = min(frame.low, low), max(frame.high, high)

    def quantiles(self, now: float) -> tuple[tuple[float, float], ...]:
        """Pairs of a quantile and its value; NaN where the window is empty."""
        self._expire(int(now / self._step_seconds))
        merged: Buckets = Buckets()
        zeros, low, high = 0, math.inf, -math.inf
        for frame in self._frames:
            merged.update(frame.buckets)
            zeros += frame.zeros
            low, high = min(low, frame.low), max(high, frame.high)
        return tuple((q, quantile(q, merged, zeros, low, high)) for q in QUANTILES)

    def _expire(self, step: int) -> None:
        while self._frames and self._frames[0].step < step - _FRAMES:
            self._frames.popleft()


K = TypeVar("K", bound=Hashable)


class RateWindow(Generic[K]):
    """Increases of counters over the last `seconds`, kept as a dozen frames of what grew."""

    _STEPS = 12

    def __init__(self, seconds: float, started: float) -> None:
        self._seconds = seconds
        self._started = started
        self._frames: deque[tuple[int, dict[K, float]]] = deque()

    def add(self, key: K, increase: float, now: float) -> None:
        """Take an increase; `now` is monotonic seconds."""
        step = int(now / (self._seconds / self._STEPS))
        if not self._frames or self._frames[-1][0] != step:
            self._frames.append((step, {}))
            self._expire(step)
        frame = self._frames[-1][1]
        frame[key] = frame.get(key, 0) + increase

    def rates(self, now: float) -> dict[K, float]:
        """Increase per second of each key that grew, over the window or the time since start, whichever is shorter."""
        width = self._seconds / self._STEPS
        step = int(now / width)
        self._expire(step)
        # The frames hold the current, unfinished step and the whole steps before it.
        held = min((self._STEPS - 1) * width + now % width, now - self._started)
        grown: dict[K, float] = {}
        for _, frame in self._frames:
            for key, increase in frame.items():
                grown[key] = grown.get(key, 0) + increase
        return {key: increase / max(held, 1.0) for key, increase in grown.items()}

    def _expire(self, step: int) -> None:
        while self._frames and self._frames[0][0] <= step - self._STEPS:
            self._frames.popleft()
