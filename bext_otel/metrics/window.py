"""What happened lately: windows that slide in steps, so that old measurements leave and the rest stays."""

from __future__ import annotations

from collections import Counter

from bext_otel.metrics.values import Recent

__all__ = ["Window"]

# A window is a handful of frames: it holds its length and at most one step more.
_FRAMES = 5

_NOTHING = Recent()


class Window:
    """Exponential buckets of the last `seconds`, kept as frames of a fifth of that, each with the step in
    which it was measured."""

    __slots__ = ("_closed", "_frames", "_step_seconds")

    def __init__(self, seconds: float) -> None:
        self._step_seconds = seconds / _FRAMES
        self._frames: list[tuple[int, Recent]] = []
        # The sum of all frames but the newest, which is the only one that still changes.
        self._closed: Recent | None = None

    def plus(
        self, counts: Counter[int], zeros: int, low: float, high: float, now: float
    ) -> tuple[int, Recent]:
        """The newest step as it is with a batch of values, counted, for `put`; changes nothing. `low` and
        `high` are the least and the greatest, `now` is monotonic seconds."""
        step = int(now / self._step_seconds)
        held = self._frames[-1][1] if self._frames and self._frames[-1][0] == step else _NOTHING
        buckets = held.buckets.plus_counted(counts)
        return step, Recent(
            buckets, held.zeros + zeros, min(held.low, low), max(held.high, high), self._over_at(step)
        )

    def put(self, step: int, recent: Recent) -> None:
        """Replace what the newest step holds. To do so again changes nothing."""
        if self._frames and self._frames[-1][0] == step:
            self._frames[-1] = step, recent
            return
        self._closed = None
        self._frames.append((step, recent))
        self._expire(step)

    def recent(self, now: float) -> Recent:
        """Everything in the window."""
        self._expire(int(now / self._step_seconds))
        if not self._frames:
            return _NOTHING
        if len(self._frames) == 1:
            return self._frames[0][1]
        if self._closed is None:
            self._closed = Recent.merged([recent for _, recent in self._frames[:-1]])
        return Recent.merged([self._closed, self._frames[-1][1]])

    def changes_at(self) -> float:
        """Monotonic seconds from when the oldest values will have left; 0 if the window is empty."""
        return self._over_at(self._frames[0][0]) if self._frames else 0.0

    def _over_at(self, step: int) -> float:
        return (step + _FRAMES + 1) * self._step_seconds

    def _expire(self, step: int) -> None:
        while self._frames and self._frames[0][0] < step - _FRAMES:
            del self._frames[0]
            self._closed = None
