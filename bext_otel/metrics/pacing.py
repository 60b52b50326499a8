"""Pauses in long work, so that nobody else waits for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# Bound here: if gevent has not patched it by now, a pause must not switch to a greenlet that waits for a lock
# which this thread holds.
from time import sleep
from typing import TypeVar

__all__ = ["AT_ONCE", "slices", "yield_interpreter"]

T = TypeVar("T")

AT_ONCE = 1000
"""Series to handle between two pauses: about half a millisecond's work."""

# A thread that sleeps hands the interpreter over at once; one that only runs keeps it for 5 ms against an
# event loop that waits for it, and longer within one call of C. The kernel adds its own 50 us, so that the
# work takes a tenth longer.
_SECONDS = 0.00005


def yield_interpreter() -> None:
    """Let others work."""
    sleep(_SECONDS)


def slices(items: Sequence[T], size: int = 4 * AT_ONCE) -> Iterator[Sequence[T]]:
    """Parts of a sequence, with a pause between two; the size suits work that is nothing but reading an
    attribute."""
    for start in range(0, len(items), size):
        if start:
            yield_interpreter()
        yield items[start : start + size]
