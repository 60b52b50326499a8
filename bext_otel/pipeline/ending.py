"""The end: every signal flushed at the same time, within one deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from bext_otel.pipeline.delivery import Delivery

__all__ = ["Undelivered", "end_all"]


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
