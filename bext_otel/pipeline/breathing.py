"""Pauses in long work, so that nobody else waits for it."""

from __future__ import annotations

# Bound here: if gevent has not patched it by now, a pause must not switch to a greenlet that waits for a lock which this thread holds.
from time import sleep

__all__ = ["AT_ONCE", "breathe"]

AT_ONCE = 1000
"""Series to handle between two pauses: about half a millisecond's work."""

# A thread that sleeps hands the interpreter over at once; one that only runs keeps it for 5 ms against an event loop that waits for it,
# and longer within one call of C. The kernel adds its own 50 us, so that the work takes a tenth longer.
_SECONDS = 0.00005


def breathe() -> None:
    """Let others work."""
    sleep(_SECONDS)
