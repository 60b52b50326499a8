"""The ticker: drains the cells each second while there is something to drain, and sleeps otherwise."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from bext_otel import threads

__all__ = ["Ticker"]

_log = logging.getLogger("bext_otel")

# A tick lasts milliseconds; one that has lasted so long waits for a callback of the application's.
_HANGS_SECONDS = 0.5
# A queue's `get` takes none for for ever, under gevent.
_NO_TIME = 0.001


class Ticker:
    """Calls `tick` every `seconds` as long as it answers that there was work.

    The thread starts at the first `wake`, so that a process which never measures, such as a server's master,
    has none. `wake` may be called from anywhere, a signal handler included: a `SimpleQueue` is reentrant
    where an `Event` is not. `on_start` is called once, in that thread. `failures` counts ticks that raised,
    `failing` says whether the last one did; ticks go on.

    `do` has the thread do something else, such as what is due at the end, when no other thread can be
    started.

    Where no thread can be had, `wake` ticks itself, as often as a thread would, unless `may_tick` forbids it,
    and then calls `on_start` and `instead`: what other threads would do.
    """

    def __init__(
        self,
        tick: Callable[[], bool],
        seconds: float,
        on_start: Callable[[], object] = lambda: None,
        *,
        instead: Callable[[], object] = lambda: None,
        may_tick: Callable[[], bool] = lambda: True,
    ) -> None:
        self._tick = tick
        self._seconds = seconds
        self._on_start = on_start
        self._instead = instead
        self._may_tick = may_tick
        self.reset()

    def reset(self) -> None:
        """Start over without a thread, as a forked child does."""
        self._awake = False
        self._asleep = False
        self._started = False
        self._stopped = False
        self._ticking = False
        self._tick_from = 0.0
        self._busy_since: float | None = None
        self.failures = 0
        self.failing = False
        self._told: set[type[Exception]] = set()
        self._make()

    def _make(self) -> None:
        """What the thread waits for. Looked up in its modules now: gevent's workers patch those after the
        fork, and a thread of gevent's that waited for something of the system's would hold up all others."""
        self._alarm: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def wake(self) -> bool:
        """There is something to drain; False if nobody will look after it unless he is told again."""
        if self._awake or self._stopped:
            return True
        self._awake = True
        if self._started:
            if self._asleep:
                self._alarm.put(None)
            return True
        self._started = True
        self._make()
        self._thread = threads.start(self._run, name="bext-otel-ticker")
        if self._thread is not None:
            return True
        self._started = self._awake = False
        self._tick_here()
        return False

    def _tick_here(self) -> None:
        now = time.monotonic()
        if now < self._tick_from or self._ticking or not self._may_tick():
            return
        self._tick_from = now + self._seconds
        self._ticking = True
        try:
            self._guarded(self._tick)
            self._guarded(self._on_start)
            self._guarded(self._instead)
        finally:
            self._ticking = False

    def stop(self) -> None:
        """End the thread soon; no further tick begins after the one under way."""
        self._stopped = True
        self._alarm.put(None)

    def do(self, work: Callable[[], object]) -> bool:
        """Have the thread do something, soon; False if there is none that runs, or one that hangs in a
        tick."""
        busy = self._busy_since
        if self._thread is None or not self._thread.is_alive() or self._stopped:
            return False
        if busy is not None and time.monotonic() - busy > _HANGS_SECONDS:
            return False
        self._alarm.put(work)
        return True

    def _run(self) -> None:
        self._guarded(self._on_start)
        while self._wait(self._seconds):
            # Sleepy before looking: what is measured from here on wakes us again.
            self._awake = False
            self._busy_since = time.monotonic()
            has_worked = self._guarded(self._tick)
            self._busy_since = None
            if not has_worked:
                self._asleep = True
                if not self._awake:
                    self._wait(None)
                self._asleep = False

    def _wait(self, seconds: float | None) -> bool:
        """For so long, or until it is woken, and do other work meanwhile; False once it was stopped."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self._stopped:
            try:
                left = None if until is None else max(until - time.monotonic(), _NO_TIME)
                work = self._alarm.get(timeout=left)
            except queue.Empty:
                return True
            if work is not None:
                with suppress(Exception):  # who wanted it knows whether it was done
                    work()
            elif until is None:
                return True
        return False

    def _guarded(self, call: Callable[[], object]) -> object:
        """What `call` answers; True, which is to say that there is more to do, if it raises."""
        try:
            answer = call()
        except Exception as error:  # without this thread, what is measured would be kept and never told
            self.failures += 1
            self.failing = True
            known = type(error) in self._told
            self._told.add(type(error))
            _log.log(
                logging.DEBUG if known else logging.WARNING,
                "metrics could not be read: %r; tried again",
                error,
                exc_info=True,
            )
            return True
        self.failing = False
        return answer
