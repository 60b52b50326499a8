"""The end: every signal flushed at the same time, within one deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from bext_otel.pipeline.delivery import Delivery

__all__ = ["Patience", "Undelivered", "end_all"]

# What an end gets that comes so soon after one that was not in time.
_LAST_SECONDS, _SOON_SECONDS = 0.2, 10.0
# Where nothing got through lately: enough for a collector that is back, and no wait for one that is not.
_HOPELESS_SECONDS = 1.0


def end_all(endings: Sequence[Callable[[float], None]], deadline_seconds: float) -> bool:
    """Call each of `endings` with the seconds it has, side by side; whether all came back in time.

    One that does not is left behind in a daemon thread: the process exits without it.
    """
    until = time.monotonic() + deadline_seconds
    threads = [threading.Thread(target=_quietly, args=(ending, deadline_seconds), daemon=True) for ending in endings]
    try:
        for thread in threads:
            thread.start()
    except RuntimeError:  # the interpreter ends and starts no thread any more: one after the other, in what time is left
        for ending in endings:
            _quietly(ending, max(until - time.monotonic(), 0.0))
        return time.monotonic() <= until
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.0))
    return not any(thread.is_alive() for thread in threads)


class Patience:
    """How long sending at the end may take: `whole` seconds in all. A server that flushes when its application ends, and then ends itself,
    waits in vain once."""

    def __init__(self, whole: float, deliveries: Sequence[Delivery]) -> None:
        self._whole = whole
        self._deliveries = deliveries
        self._spent_until = 0.0

    def spend(self) -> None:
        """All of it has just been used up."""
        self._spent_until = time.monotonic() + _SOON_SECONDS

    def seconds(self) -> float:
        """What is left of it."""
        if time.monotonic() < self._spent_until:
            return min(self._whole, _LAST_SECONDS)
        hopeless = self._deliveries and all(delivery.failing for delivery in self._deliveries)
        return min(self._whole, _HOPELESS_SECONDS) if hopeless else self._whole


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
        return "; ".join(f"not delivered at the end: {', '.join(told)} ({reason})" for reason, told in by_reason.items())


def _quietly(ending: Callable[[float], None], seconds: float) -> None:
    try:
        ending(seconds)
    except Exception:  # the process is ending; nobody is left to tell, and the application must not see it
        return
