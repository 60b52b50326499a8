"""When something was: the time of day for people and backends, moved on by the clock that nobody sets.

The wall clock jumps, when it is set right or a machine wakes up. A span of 1.5 s must not take an hour for
that, nor end before it began: it reads the wall clock once, and the rest of its times are that reading and
what has passed since.

Needs the standard library only.
"""

from __future__ import annotations

from time import perf_counter_ns, time_ns
from typing import Any

__all__ = ["Anchor", "anchor_of", "child_anchor"]

# A span may be open for days, and is not what the clock of its newest children should be right by.
_OLD_NS = 3_600 * 1_000_000_000


class Anchor:
    """A moment, read on both clocks: nanoseconds since 1970 and of `time.perf_counter_ns`."""

    __slots__ = ("steady_ns", "wall_ns")

    def __init__(self) -> None:
        self.wall_ns = time_ns()
        self.steady_ns = perf_counter_ns()

    def now(self) -> int:
        """Nanoseconds since 1970, as if nobody had set the wall clock since."""
        return self.wall_ns + perf_counter_ns() - self.steady_ns

    def at(self, steady_ns: int) -> int:
        """The same for another reading of `time.perf_counter_ns`, before or after."""
        return self.wall_ns + steady_ns - self.steady_ns


_ANY = Anchor()


def anchor_of(span: Any) -> Anchor:
    """The anchor of a span that has just begun: its own where our provider made it, else the present
    moment."""
    found = getattr(span, "anchor", None)
    if found is not None:
        return found  # type: ignore[no-any-return]  # only we give spans one
    return Anchor() if span.is_recording() else _ANY


def child_anchor(parent: Any) -> Anchor:
    """The anchor for a span below `parent`: the parent's, so that a trace is in order although the clock was
    set in the middle of it."""
    found = getattr(parent, "anchor", None)
    if found is None or perf_counter_ns() - found.steady_ns > _OLD_NS:
        return Anchor()
    return found  # type: ignore[no-any-return]  # as above
