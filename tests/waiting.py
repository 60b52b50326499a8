"""Waiting on conditions, bounded in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    predicate: Callable[[], T],
    *,
    seconds: float = 10.0,
    every: float = 0.05,
    why: str | Callable[[], str] = "",
) -> T:
    """The first truthy answer of `predicate`, asked for at most `seconds`; an AssertionError that names what
    was awaited after that.

    `why` is what was awaited, or tells it then.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() > deadline:
            awaited = why() if callable(why) else why or predicate
            raise AssertionError(f"not within {seconds} s: {awaited}; last answer: {answer!r}")
        time.sleep(every)
