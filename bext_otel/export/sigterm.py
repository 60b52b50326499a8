"""SIGTERM: what is queued goes out before the process terminates, as it would at a normal end.

Python dies of that signal at once, without exit handlers. Servers that handle it (uvicorn) put back what they
found and raise it again when they are done, so that it comes here last; others (gunicorn) end normally and
never come here.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from bext_otel import threads

__all__ = ["end_on_termination"]


def _nothing() -> None:
    pass


def _terminate_after(deadline_seconds: float, number: int) -> None:
    def terminate(*_: object) -> None:
        os.kill(os.getpid(), number)

    with suppress(AttributeError, ValueError):  # no such signal on this system
        signal.signal(signal.SIGALRM, terminate)
        signal.setitimer(signal.ITIMER_REAL, deadline_seconds)


def _is_in_hub() -> bool:
    """Whether this is gevent's loop, which may not wait for anything."""
    hub, gevent = sys.modules.get("gevent.hub"), sys.modules.get("gevent")
    return hub is not None and gevent is not None and isinstance(gevent.getcurrent(), hub.Hub)


def _end_beside(end: Callable[[], object], number: int, deadline_seconds: float) -> bool:
    """End in a greenlet that runs when this loop goes on, and terminates the process; whether it will."""

    def run() -> None:
        with suppress(Exception):  # nobody is left to be told
            end()
        os.kill(os.getpid(), number)

    _terminate_after(deadline_seconds, number)
    return threads.start_bare(run)


def _end_here(end: Callable[[], object], number: int, deadline_seconds: float) -> None:
    """End in this thread, which a lock that it holds itself may keep waiting: an alarm then terminates the
    process."""
    _terminate_after(deadline_seconds, number)
    with suppress(Exception):  # nobody is left to be told
        end()


def end_on_termination(end: Callable[[], object], *, deadline_seconds: float) -> Callable[[], None]:
    """Call `end` when the process is asked to terminate, wait no longer than the deadline, then terminate as
    if nobody had handled it.

    What is returned undoes that. Nothing happens where somebody handles or ignores the signal, or outside of
    the main thread.
    """

    def handle(number: int, _: FrameType | None) -> None:
        if (
            os.getpid() == 1
        ):  # the kernel spares the first process of a container a signal that nobody handles
            return
        signal.signal(number, signal.SIG_DFL)  # who asks again wants it at once
        if _is_in_hub() and _end_beside(end, number, deadline_seconds):
            return
        # In a thread of its own: this one may hold a lock that the end needs, and then waits in vain, but not
        # for ever.
        thread = threads.start(end, name="bext-otel-termination")
        if thread is not None:
            thread.join(deadline_seconds)
        else:
            _end_here(end, number, deadline_seconds)
        os.kill(os.getpid(), number)

    def undo() -> None:
        with suppress(ValueError):  # not in the main thread, which leaves it as it is
            if signal.getsignal(signal.SIGTERM) is handle:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    try:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return _nothing
        signal.signal(signal.SIGTERM, handle)
    except ValueError:  # not in the main thread
        return _nothing
    return undo
