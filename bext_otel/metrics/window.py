"""What happened lately: windows that slide in steps, so that old measurements leave and the rest stays."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from bext_otel.catalogue import QUANTILES
from bext_otel.metrics.exponential import Buckets, quantiles

__all__ = ["Recent", "Window"]

# A window is a handful of frames: it holds its length and at most one step more.
_FRAMES = 5


class Recent(NamedTuple):
    """The values of a window: counts by bucket, how many were zero, the least and the greatest."""

    buckets: Buckets
    zeros: int
    low: float
    high: float

    @classmethod
    def merged(cls, parts: list[Recent]) -> Recent:
        """Of several windows together: those of frames, or those of workers."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            Buckets.merged(part.buckets for part in parts),
            sum(part.zeros for part in parts),
            min((part.low for part in parts), default=math.inf),
            max((part.high for part in parts), default=-math.inf),
        )

    def quantiles(self) -> tuple[tuple[float, float], ...]:
        """Pairs of a quantile and its value; NaN where the window is empty."""
        return quantiles(QUANTILES, self.buckets, self.zeros, self.low, self.high)


class _Frame:
    __slots__ = ("recent", "step")

    def __init__(self, step: int, recent: Recent) -> None:
        self.step = step
        self.recent = recent


class Window:
    """Exponential buckets of the last `seconds`, kept as frames of a fifth of that."""

    __slots__ = ("_closed", "_frames", "_step_seconds")

    def __init__(self, seconds: float) -> None:
        self._step_seconds = seconds / _FRAMES
        self._frames: list[_Frame] = []
        # The sum of all frames but the newest, which is the only one that still changes.
        self._closed: Recent | None = None

    def add(self, counts: Counter[int], zeros: int, low: float, high: float, now: float) -> None:
        """Take a batch of values, counted; `low` and `high` are the least and the greatest; `now` is
        monotonic seconds."""
        self.put(*self.plus(counts, zeros, low, high, now))

    def plus(
        self, counts: Counter[int], zeros: int, low: float, high: float, now: float
    ) -> tuple[int, Recent]:
        """The newest step as it is with a batch, for `put`; changes nothing."""
        step = int(now / self._step_seconds)
        held = (
            self._frames[-1].recent
            if self._frames and self._frames[-1].step == step
            else Recent(Buckets(), 0, math.inf, -math.inf)
        )
        buckets = held.buckets.copy()
        buckets.add(counts)
        return step, Recent(buckets, held.zeros + zeros, min(held.low, low), max(held.high, high))

    def put(self, step: int, recent: Recent) -> None:
        """Replace what the newest step holds. To do so again changes nothing."""
        if self._frames and self._frames[-1].step == step:
            held = self._frames[-1].recent.buckets
            held.become(recent.buckets)
            self._frames[-1].recent = Recent(held, recent.zeros, recent.low, recent.high)
            return
        self._closed = None
        self._frames.append(_Frame(step, recent))
        self._expire(step)

    def recent(self, now: float) -> Recent:
        """Everything in the window."""
        self._expire(int(now / self._step_seconds))
        if not self._frames:
            return Recent(Buckets(), 0, math.inf, -math.inf)
        if len(self._frames) == 1:
            return self._frames[0].recent
        if self._closed is None:
            self._closed = Recent.merged([frame.recent for frame in self._frames[:-1]])
        return Recent.merged([self._closed, self._frames[-1].recent])

    def empty_at(self) -> float:
        """Monotonic seconds from when nothing is left of what is in the window now; 0 if nothing is."""
        return (self._frames[-1].step + _FRAMES + 1) * self._step_seconds if self._frames else 0.0

    def changes_at(self) -> float:
        """Monotonic seconds from when the oldest values will have left; 0 if the window is empty."""
        return (self._frames[0].step + _FRAMES + 1) * self._step_seconds if self._frames else 0.0

    def _expire(self, step: int) -> None:
        while self._frames and self._frames[0].step < step - _FRAMES:
            del self._frames[0]
            self._closed = None
