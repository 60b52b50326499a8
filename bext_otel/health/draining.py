"""SIGTERM, where `[health] drain_seconds` is set: the process is not ready from then on, and serves for so
long before whoever handles the signal is told of it.

A server's handler is called as it would have been, later: its own end, its exit code and its second signal
stay as they are. A server of several processes is held where its first process is: the workers have nothing
to hold, for a server that recycles one of them does not end. A service manager may send the signal to all
processes at once: a worker waits a moment for the word of the first one, and then as long as that does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Any

from bext_otel import threads
from bext_otel._compat import SIGNAL_LOOPS, signal_loop
from bext_otel.covering import cover
from bext_otel.process import Undo, on_fork, on_import
from bext_otel.service.board import Board
from bext_otel.service.process_tree import is_spawned, line
from bext_otel.service.procfs import Proc
from bext_otel.serving import is_serving

__all__ = ["Draining", "hold_termination"]

# How long a worker waits for its first process to say that the service ends, of which both are told at once.
_WORD_SECONDS = 0.25
# How often one that waits for longer looks whether the first process does not any more.
_LOOK_SECONDS = 0.1


class Draining:
    """Whether this process, or the service that it is a worker of, ends soon. `drain` makes this process say
    so; `board` is what the processes of the service share. `serves` says whether this process has anything to
    go on with: a script that is told to end need not wait."""

    def __init__(
        self,
        seconds: float,
        drain: Callable[[], object],
        board: Board,
        *,
        serves: Callable[[], bool] = is_serving,
    ) -> None:
        self._seconds = seconds
        self._drain = drain
        self._serves = serves
        self._board = board
        self._begun = False
        self._holds = False
        self._first: int | None = None
        self.active = True

    def in_child(self) -> None:
        """A fork is a worker of the process that would hold the signal."""
        if self._holds:
            self._first = os.getppid()
        self._holds = self._begun = False

    def takes_part(self) -> None:
        """Somebody handles the signal here: it is held, unless it is in a process above."""
        if not self._first_above():
            self._holds = True
            self._board.hold(os.getpid())

    def is_over_soon(self) -> bool:
        """Whether the first process of the service has been told to end."""
        first = self._first_above()
        return bool(first) and self._board.drained()[0] == first

    def hold(self, pass_on: Callable[[], None]) -> bool:
        """Whether to hold the signal now; `pass_on` is called when it is over. Whoever asks twice does not
        want to wait."""
        if not self.active:
            return False
        if self._begun:
            if not self._first_above():  # the workers need not wait for longer either
                self._board.drain(os.getpid(), time.monotonic())
            return False
        if not self._first_above() and not self._serves():
            return False
        self._begun = True
        if self.is_over_soon() and self._seconds_left() <= 0:
            return False
        # No `threading.Thread`: the signal may have come within a lock of that module's.
        if not threads.start_bare(lambda: self._wait(pass_on)):
            return False
        if not self._first_above():
            self._drain()
            self._board.drain(os.getpid(), time.monotonic() + self._seconds)
        return True

    def _wait(self, pass_on: Callable[[], None]) -> None:
        if not self._first_above():
            time.sleep(self._seconds)
        else:
            deadline = time.monotonic() + _WORD_SECONDS
            while not self.is_over_soon() and time.monotonic() < deadline:
                time.sleep(0.01)
            while self.is_over_soon() and (left := self._seconds_left()) > 0:
                time.sleep(min(left, _LOOK_SECONDS))
        pass_on()

    def _seconds_left(self) -> float:
        return self._board.drained()[1] - time.monotonic()

    def _first_above(self) -> int:
        """The process that holds the signal for this one; 0 if none does."""
        if self._first is None:
            above = self._board.holder() if is_spawned(sys.orig_argv) else 0
            me = os.getpid()
            self._first = above if above != me and above in line(me, Proc()) else 0
        return self._first


class _Held:
    """Called in the place of somebody's handler."""

    def __init__(self, handler: Callable[..., Any], draining: Draining, still: Callable[[], bool]) -> None:
        self.handler, self._draining, self._still = handler, draining, still

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        if self._draining.hold(lambda: self._again(number)):
            return None
        return self.handler(number, frame)

    def _again(self, number: int) -> None:
        if self._still():  # otherwise the server has ended meanwhile, and the signal would end the process
            os.kill(os.getpid(), number)


def hold_termination(draining: Draining) -> Undo:
    """Have handlers of SIGTERM that are set from now on called when `draining` is over. Nobody sees ours in
    their place. What is returned undoes it: those that are set are called at once."""
    getsignal = signal.getsignal

    def is_held() -> bool:
        return isinstance(getsignal(signal.SIGTERM), _Held)

    def set_handler(original: Callable[..., Any], number: int, handler: Any) -> Any:
        if (
            number == signal.SIGTERM
            and callable(handler)
            and getattr(handler, "__module__", "")
            != SIGNAL_LOOPS  # does nothing: the loop hears by a descriptor
            and not isinstance(handler, _Held)
        ):
            handler = _Held(handler, draining, is_held)
            before = original(number, handler)
            draining.takes_part()
        else:
            before = original(number, handler)
        return before.handler if isinstance(before, _Held) else before

    def get_handler(original: Callable[..., Any], number: int) -> Any:
        found = original(number)
        return found.handler if isinstance(found, _Held) else found

    undoing = ExitStack()
    undoing.callback(cover(signal, "signal", set_handler))
    undoing.callback(cover(signal, "getsignal", get_handler))
    undoing.callback(_hold_loops(draining))
    undoing.callback(on_fork(in_child=draining.in_child))

    def undo() -> None:
        draining.active = False
        undoing.close()

    return undo


def _hold_loops(draining: Draining) -> Undo:
    """The same for handlers that asyncio's event loop calls."""

    def add(original: Callable[..., Any], loop: Any, number: int, callback: Any, *args: Any) -> Any:
        if number != signal.SIGTERM:
            return original(loop, number, callback, *args)

        def held(*given: Any) -> None:
            def pass_on() -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(callback, *given)

            if not draining.hold(pass_on):
                callback(*given)

        added = original(loop, number, held, *args)
        draining.takes_part()
        return added

    undoing = ExitStack()

    def imported(module: Any) -> None:
        if (loop := signal_loop(module)) is not None:
            undoing.callback(cover(loop, "add_signal_handler", add))

    undoing.callback(on_import(SIGNAL_LOOPS, imported))
    return undoing.close
