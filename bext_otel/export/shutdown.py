"""The end: every signal flushed at the same time, within one deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from bext_otel import threads
from bext_otel.export.delivery import Delivery

__all__ = ["Ending", "Hand", "ShutdownBudget", "Undelivered", "end_all"]

# What an end gets that comes so soon after one that was not in time.
_LAST_SECONDS, _SOON_SECONDS = 0.2, 10.0
# Where nothing got through lately: enough for a collector that is back, and no wait for one that is not.
_HOPELESS_SECONDS = 1.0


Hand: TypeAlias = Callable[[Callable[[], object]], bool]
"""A thread that runs already, and does what it is given; False if it can't now."""


class Ending(msgspec.Struct, frozen=True):
    """Something that ends: `finish` with the seconds that it has. `begin` is called before, with the same:
    whether a thread is at work on it from then on, so that others can end meanwhile."""

    finish: Callable[[float], object]
    begin: Callable[[float], bool]

    def __call__(self, seconds: float) -> None:
        """Finish."""
        self.finish(seconds)


def end_all(endings: Sequence[Callable[[float], object]], deadline_seconds: float, *hands: Hand) -> bool:
    """Call each of `endings` with the seconds it has, side by side; whether all came back in time.

    One that does not is left behind in a daemon thread: the process exits without it. Where no thread can be
    started (from Python 3.12 on that is so in exit handlers, and anywhere where the system gives no more),
    the first of `hands` that can ends them one after the other, or this thread does, and each gets its share
    of the time.
    """
    until = time.monotonic() + deadline_seconds
    has_thread = [_begun(ending, deadline_seconds) for ending in endings]
    ended = [threading.Event() for _ in endings]

    def end(number: int, seconds: float) -> None:
        try:
            _quietly(endings[number], seconds)
        finally:
            ended[number].set()

    rest = [
        number
        for number in range(len(endings))
        if threads.start(end, number, deadline_seconds, name="bext-otel-ending") is None
    ]

    def end_rest() -> None:
        for done, number in enumerate(rest):
            left = max(until - time.monotonic(), 0.0)
            end(number, left if has_thread[number] else left / (len(rest) - done))

    if rest and not any(hand(end_rest) for hand in hands):
        end_rest()
    return all(event.wait(max(until - time.monotonic(), 0.0)) for event in ended)


def _begun(ending: Callable[[float], object], seconds: float) -> bool:
    try:
        return isinstance(ending, Ending) and ending.begin(seconds)
    except Exception:  # as below
        return False


class ShutdownBudget:
    """How long sending at the end may take: `whole` seconds in all. A server that flushes when its
    application ends, and then ends itself, waits in vain once."""

    def __init__(self, whole: float, deliveries: Sequence[Delivery]) -> None:
        self._whole = whole
        self._deliveries = deliveries
        self._spent_seconds = self._spent_until = 0.0

    def spend(self, seconds: float) -> None:
        """So much of it has just been used up, for nothing."""
        self._spent_seconds = seconds
        self._spent_until = time.monotonic() + _SOON_SECONDS

    def seconds(self) -> float:
        """What is left of it."""
        left = self._whole
        if time.monotonic() < self._spent_until:
            left = max(left - self._spent_seconds, min(left, _LAST_SECONDS))
        return min(left, _HOPELESS_SECONDS) if self._hopeless() else left

    def _hopeless(self) -> bool:
        """Whether all fail, or have waited for longer than they may now, but for those that have not been
        tried yet and go to such a server."""
        hopeless = [d for d in self._deliveries if d.failing or d.unanswered_seconds > self._whole]
        servers = {(delivery.address, delivery.port) for delivery in hopeless}
        return bool(hopeless) and all(
            not delivery.exported and delivery.address and (delivery.address, delivery.port) in servers
            for delivery in self._deliveries
            if delivery not in hopeless
        )


class Undelivered:
    """What is lost of several deliveries from now on, or still waits when it is asked for."""

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self._before = [(delivery, delivery.lost_so_far) for delivery in deliveries]

    def line(self) -> str:
        """How much of what, where it should have gone, and why it did not; empty if nothing is missing."""
        by_reason: dict[str, list[str]] = {}
        for delivery, before in self._before:
            missing = delivery.lost_so_far - before + delivery.waiting
            if missing > 0:
                told = by_reason.setdefault(delivery.reason or "no answer in time", [])
                told.append(f"{missing} {delivery.items} to {delivery.endpoint}")
        return "; ".join(
            f"not delivered at the end: {', '.join(told)} ({reason})" for reason, told in by_reason.items()
        )


def _quietly(ending: Callable[[float], object], seconds: float) -> None:
    try:
        ending(seconds)
    except Exception:  # the process is ending; nobody is left to tell, and the application must not see it
        return
