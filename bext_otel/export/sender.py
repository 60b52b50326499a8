"""The thread that exports: one for all signals of a process, and another for as long as one of them hangs."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Protocol

from bext_otel import threads
from bext_otel.process import on_fork

__all__ = ["NO_TIME", "Member", "Sender", "sender"]

_log = logging.getLogger("bext_otel.export")

NO_TIME = 0.001
"""The shortest pause, in seconds: a queue's `get` takes none for for ever, under gevent."""

# An export of somebody else's that lasts longer holds nobody up: who has something to send gets a thread.
_PATIENCE_SECONDS = 1.0
# How often such a thread looks whether it is still needed.
_HELP_SECONDS = 0.1


class Member(Protocol):
    """Something that is exported now and then. Both are called by one thread at a time, and not by that of
    the application."""

    def pause(self) -> float:
        """The seconds for which there is nothing to do; `inf` for who will ring."""

    def work(self) -> None:
        """Do what is due."""


class Sender:
    """Looks after its members in one thread, which starts with the first.

    A member that hangs keeps no other from being served: that one gets a thread of its own when it rings,
    until the other is through.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start over without a thread, as a forked child does."""
        self._members: tuple[Member, ...] = ()
        self._thread: threading.Thread | None = None
        self._make()

    def _make(self) -> None:
        # Anew when the thread starts: gevent's workers patch these modules after the fork.
        self._bell: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        # Whom the thread serves, or has promised to serve next, and since when.
        self._busy: tuple[Member, float] | None = None
        self._helped: set[int] = set()

    def join(self, member: Member) -> bool:
        """Look after a member from now on; False where no thread can be had."""
        if self._thread is None:
            self._make()
            self._thread = threads.start(self._run, name="bext-otel-export")
            if self._thread is None:
                return False
        if member not in self._members:
            self._members = (*self._members, member)
            self._bell.put(None)
        return True

    def leave(self, member: Member) -> None:
        """Look after it no more."""
        self._members = tuple(each for each in self._members if each is not member)

    def is_mine(self) -> bool:
        """Whether it is the thread itself that asks."""
        return threading.current_thread() is self._thread

    def ring(self, member: Member) -> None:
        """A member has something to do."""
        self._bell.put(None)
        busy = self._busy
        if busy is not None and busy[0] is not member and time.monotonic() - busy[1] > _PATIENCE_SECONDS:
            self._help(member)

    def take(self, member: Member) -> bool:
        """Have a member served at once, side by side with others; whether a thread is at it."""
        if self._thread is None or not self._thread.is_alive():
            return False
        with self._lock:
            is_free = self._busy is None or self._busy[0] is member
            if is_free:
                self._busy = (member, time.monotonic())
        self._bell.put(None)
        return is_free or self._help(member)

    def do(self, work: Callable[[], object]) -> bool:
        """Have the thread do something, now; False if it is busy, or there is none."""
        if self._thread is None or not self._thread.is_alive() or self._busy is not None:
            return False
        self._bell.put(work)
        return True

    def _help(self, member: Member) -> bool:
        with self._lock:
            if id(member) in self._helped:
                return True
            self._helped.add(id(member))
        if threads.start(self._run_for, member, name="bext-otel-export-more") is not None:
            return True
        self._helped.discard(id(member))
        return False

    def _run_for(self, member: Member) -> None:
        try:
            while True:
                _quietly(member.work)
                pause, busy = _pause(member), self._busy
                if pause == inf or ((busy is None or busy[0] is member) and pause > NO_TIME):
                    return
                time.sleep(min(pause, _HELP_SECONDS))
        finally:
            self._helped.discard(id(member))
            self._bell.put(None)

    def _run(self) -> None:
        while True:
            with self._lock:
                self._busy = None
            pause = min((_pause(each) for each in self._served()), default=inf)
            with suppress(queue.Empty):
                work = self._bell.get() if pause == inf else self._bell.get(timeout=max(pause, NO_TIME))
                if work is not None:
                    _quietly(work)
            for member in self._served():
                with self._lock:
                    self._busy = (member, time.monotonic())
                _quietly(member.work)

    def _served(self) -> list[Member]:
        return [member for member in self._members if id(member) not in self._helped]


def _pause(member: Member) -> float:
    try:
        return member.pause()
    except Exception as error:
        _tell(error)
        return _PATIENCE_SECONDS


def _quietly(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception as error:  # this thread must go on for the others
        _tell(error)


def _tell(error: Exception) -> None:
    _log.debug("an export failed: %r", error, exc_info=error)


sender = Sender()
"""This process's."""

on_fork(in_child=sender.reset)
