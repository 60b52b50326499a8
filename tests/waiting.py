"""Waiting on conditions, bounded in time.

There is one limit, which is no claim about how long something takes: a condition that holds ends the wait. It
grows with the machine's load, measured whenever it is asked for, and with `BEXT_TEST_PATIENCE`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LIMIT_SECONDS = 30.0
"""How long a quiet machine may take for anything that a test waits for."""
_MOST = 10.0


def patience() -> float:
    """How much longer than a quiet machine this one may take now: by how many times its processors are
    wanted, 10 at most, times `BEXT_TEST_PATIENCE` (1 where that is not set)."""
    wanted = os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 1.0
    return min(max(wanted, 1.0), _MOST) * float(os.environ.get("BEXT_TEST_PATIENCE", "1"))


def limit(seconds: float = LIMIT_SECONDS) -> float:
    """For waits that are somebody else's: `thread.join(limit())`."""
    return seconds * patience()


def until(
    predicate: Callable[[], T],
    *,
    seconds: float = LIMIT_SECONDS,
    every: float = 0.05,
    why: str | Callable[[], str] = "",
) -> T:
    """The first truthy answer of `predicate`; an AssertionError that names what was awaited, past the limit.

    `seconds` is for what is known to take longer on a quiet machine. `why` is what was awaited, or tells it
    then.
    """
    began = time.monotonic()
    while True:
        answer = predicate()
        if answer:
            return answer
        waited = time.monotonic() - began
        if waited > seconds and waited > limit(seconds):
            awaited = why() if callable(why) else why or predicate
            raise AssertionError(f"not within {waited:.0f} s: {awaited}; last answer: {answer!r}")
        time.sleep(every)
