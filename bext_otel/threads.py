"""Starting a thread, where that may be impossible: a limit on processes, a full pids cgroup, a jail, an
interpreter that ends.

Whoever asks is told no, instead of an exception, and goes without: what is due is done on the way of the
application's own work, and at exit.
"""

from __future__ import annotations

import _thread
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from bext_otel.process import on_fork

__all__ = [
    "GRPC_THREADS",
    "RetryGate",
    "begin",
    "has_room_for",
    "processor_seconds",
    "start",
    "start_bare",
    "worked_for_this_thread",
]

_log = logging.getLogger("bext_otel")

RETRY_SECONDS = 10.0
"""How long nobody asks again after the system has refused: each try is a call into the kernel, on the way of
a request."""

GRPC_THREADS = 8
"""What gRPC's core starts when it is first used: a pool of at least two, its lifeguard and its timers."""

_LINE = (
    "no thread can be started (%s): what is due is done on the way of requests, seldom and not for long, "
    "and at exit; "
    "the endpoints have no port of their own, and OTLP over gRPC needs threads. Raise the limit (ulimit -u, "
    "or pids.max of the cgroup)"
)


class RetryGate:
    """Lets somebody try, unless the last try failed less than `seconds` ago."""

    def __init__(
        self, seconds: float = RETRY_SECONDS, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self.open()

    def open(self) -> None:
        """Forget the last failure."""
        self._closed_until = float("-inf")

    def close(self) -> None:
        """A try has failed."""
        self._closed_until = self._clock() + self._seconds

    @property
    def is_open(self) -> bool:
        """Whether it is worth a try."""
        return self._clock() >= self._closed_until


_gate = RetryGate()
_told = False


class _Elsewhere(threading.local):
    seconds = 0.0


_elsewhere = _Elsewhere()


def processor_seconds() -> float:
    """What this thread has taken of the processor, and what others have taken on its behalf."""
    return time.thread_time() + _elsewhere.seconds


def worked_for_this_thread(seconds: float) -> None:
    """Another thread has taken so much of the processor for what this one was asked for, and waited for."""
    _elsewhere.seconds += seconds


def start(target: Callable[..., object], *args: object, name: str) -> threading.Thread | None:
    """A daemon thread that has been started; None where none can be, which is one line in the life of a
    process."""
    if not _gate.is_open:
        return None
    # Looked up now: under gevent it is a greenlet.
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    return thread if begin(thread) else None


def begin(thread: threading.Thread) -> bool:
    """Start a thread that has been made; whether it runs. As with `start`, one that does not is no error."""
    return _gate.is_open and _started(thread.start)


def start_bare(run: Callable[[], object]) -> bool:
    """Start a thread that `threading` does not know, and nobody waits for; whether it runs. Says nothing: who
    writes lines calls it."""
    return _gate.is_open and _started(lambda: _thread.start_new_thread(run, ()), tell=False)


def has_room_for(threads: int) -> bool:
    """Whether so many could be started now, for libraries that abort the process where they can't start
    theirs (gRPC's core does)."""
    if not _gate.is_open:
        return False
    release = threading.Event()
    made: list[threading.Thread] = []
    try:
        for number in range(threads):
            thread = threading.Thread(target=release.wait, name=f"bext-otel-probe-{number}", daemon=True)
            if not _started(thread.start):
                return False
            made.append(thread)
        return True
    finally:
        release.set()
        for thread in made:
            thread.join()


def _started(attempt: Callable[[], Any], *, tell: bool = True) -> bool:
    try:
        attempt()
    except RuntimeError as error:
        # "can't start new thread", or "... at interpreter shutdown", where nobody can do anything about it.
        _gate.close()
        if tell and "shutdown" not in str(error):
            _tell(error)
        return False
    return True


def _tell(error: Exception) -> None:
    global _told
    if not _told:
        _told = True
        _log.warning(_LINE, error)


# A child may have a limit of its own.
on_fork(in_child=_gate.open)
