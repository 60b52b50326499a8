"""Has levels change while a process runs: when the settings' file does, when somebody asks any worker of the
service, and when what was asked for is over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from threading import RLock
from typing import Any

from bext_otel import threads
from bext_otel.config.watching import ChangedFile
from bext_otel.errors import BextOtelError
from bext_otel.late_patching import on_patching
from bext_otel.logs.level_control import LevelControl, SetLevels, shown
from bext_otel.logs.level_orders import Order, decode, encode, with_order
from bext_otel.process import on_fork
from bext_otel.service.bell import Bell, ring
from bext_otel.service.board import Board
from bext_otel.serving import is_serving

__all__ = ["LOOK_SECONDS", "LevelWatch", "NotSharedError"]

LOOK_SECONDS = 1.5
"""How often the settings' file is looked at, so that a change is in force within two seconds."""

# Longer ones are more than the system takes.
_LONGEST_SECONDS = 3600.0


class NotSharedError(BextOtelError):
    """The other workers cannot be told."""


class LevelWatch:
    """Keeps `control` up to date with `file` (None: there is none to watch) and with what the processes of
    the service share (`board`; None: this one stands alone), by a thread from `start` on. That waits to be
    rung for, and looks at the file from time to time; without a file it sleeps.

    `tell` is given what is wrong with the file, a line each. Where no thread can be started, levels change
    when somebody asks this very process.
    """

    def __init__(
        self,
        control: LevelControl,
        *,
        file: ChangedFile | None = None,
        board: Board | None = None,
        tell: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._file = file
        self._board = board if board is not None and not board.alone else None
        self._tell = tell
        self._clock = clock
        self._mark = b""
        self._closed = False
        self._begin()
        self._undoing = ExitStack()
        self._undoing.callback(on_fork(in_child=self._in_child))
        self._undoing.callback(on_patching(before=self._pause, after=self._go_on))
        self.look()

    def _begin(self) -> None:
        self._lock = RLock()  # the parent's may be held
        self._life: object = None
        self._bell: Bell | None = None

    # --- What changes levels --------------------------------------------------------------------------------

    def look(self) -> None:
        """Put in force what has changed since the last look. Never raises; takes two system calls while
        nothing has."""
        try:
            with self._lock:
                self._look()
        except Exception as error:  # a level is not worth an application
            with suppress(Exception):
                self._tell(f"log levels cannot be brought up to date: {type(error).__name__}: {error}")

    def _look(self) -> None:
        self._look_at_file()
        if self._board is not None and (mark := self._board.orders_mark()) != self._mark:
            self._mark = mark
            self._control.obey(decode(self._board.orders()))
        self._control.refresh()

    def _look_at_file(self) -> None:
        if self._file is not None:
            loaded, lines = self._file.look()
            for line in lines:
                self._tell(line)
            if loaded is not None:
                self._control.use(SetLevels.of(loaded.config.logging, loaded.config.apps))

    def ask(self, order: Order) -> None:
        """Have an order obeyed by all workers. Raises ConfigError where there are too many, NotSharedError
        where the others cannot be told (this one obeys)."""
        self._change(partial(with_order, new=order, now=self._clock()))

    def take_back(self, app: str, logger: str) -> int:
        """Take back what was ordered for this app and logger, or all orders if neither is named; how many
        that were."""
        taken = 0

        def without(orders: tuple[Order, ...]) -> tuple[Order, ...]:
            nonlocal taken
            kept = tuple(each for each in orders if (app or logger) and each.whose != (app, logger))
            taken = len(orders) - len(kept)
            return kept

        self._change(without)
        return taken

    def _change(self, change: Callable[[tuple[Order, ...]], tuple[Order, ...]]) -> None:
        board = self._board
        if board is None:
            self._control.obey(change(self._control.orders))
            self.start()
            return
        if board.change_orders(lambda content: encode(change(decode(content)))) is None:
            self._control.obey(change(self._control.orders))
            raise NotSharedError(board.reason or "another process holds what the workers share")
        self.look()
        self.start()
        ring(board.secret, [pid for pid in board.members() if pid != os.getpid()])
        if self._bell is not None:
            ring(board.secret, [os.getpid()])

    def document(self) -> dict[str, Any]:
        """What is in force, for people."""
        self.look()
        return self._control.document()

    def shown(self, order: Order) -> dict[str, Any]:
        """An order for people."""
        return shown(order, self._clock())

    # --- The thread -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have a thread keep the levels up to date, if there is anything to wait for. Cheap when it runs."""
        if self._life is None and not self._closed:
            with self._lock:
                self._start()

    def _start(self) -> None:
        waits = self._file is not None or self._board is not None or self._control.next_end() is not None
        if self._life is not None or not waits:
            return
        self._life = life = object()
        if self._bell is None and self._board is not None:
            with suppress(OSError, AttributeError):  # a system without what it is made of
                self._bell = Bell(self._board.secret)
        if threads.start(self._run, life, self._bell, name="bext-otel-levels") is None:
            self._life = None

    def _run(self, life: object, bell: Bell | None) -> None:
        rung = True
        while self._life is life:
            if rung or (self._file is not None and self._file.has_changed()):
                self.look()
            seconds = self._seconds(bell)
            if bell is None:
                if seconds is None:  # nothing is left to wait for
                    self._life = None
                    return
                time.sleep(min(seconds, LOOK_SECONDS))
                continue
            try:
                rung = bell.wait(seconds) or seconds != LOOK_SECONDS
            except (OSError, ValueError):  # it was closed, by us or by who closes what he does not know
                bell, rung = None, True

    def _seconds(self, bell: Bell | None) -> float | None:
        """How long nothing needs to be looked at; None: until it is rung."""
        polls = self._file is not None or (bell is None and self._board is not None)
        end = self._control.next_end()
        waits = [LOOK_SECONDS] if polls else []
        if end is not None:
            waits.append(min(max(end - self._clock(), 0.01), _LONGEST_SECONDS))
        return min(waits, default=None)

    def _pause(self) -> None:
        self._was_running = self._life is not None
        self._life = None
        self._close_bell()

    def _go_on(self) -> None:
        self._lock = RLock()  # of the kind that threads are of now
        if self._was_running:
            self.start()

    def _close_bell(self) -> None:
        bell, self._bell = self._bell, None
        if bell is not None:
            if self._board is not None:
                ring(self._board.secret, [os.getpid()])  # a thread that waits hears no close
            bell.close()

    def _in_child(self) -> None:
        """The thread has stayed in the parent, whose bell this is."""
        bell = self._bell
        self._begin()
        if bell is not None:
            bell.close()
        if is_serving():
            self.start()

    def close(self) -> None:
        """Watch no more."""
        self._closed = True
        self._life = None
        self._undoing.close()
        self._close_bell()
