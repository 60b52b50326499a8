"""Asking the application's callbacks what is now: one that raises or hangs costs what it alone would say."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from contextvars import copy_context
from threading import Event
from typing import Protocol

from bext_otel import threads

__all__ = ["Asked", "Round", "tell_of_failure", "tell_of_hanging"]

_log = logging.getLogger("bext_otel")

# How long a collection waits for one callback, and for all of them: half of what Prometheus gives a scrape by
# default.
_HANGS_SECONDS = 2.0
_PATIENCE_SECONDS = 5.0


class Asked(Protocol):
    """Who has callbacks. `asked_since` is when they were asked, if they have not answered yet (monotonic
    seconds)."""

    asked_since: float | None

    def ask_alone(self) -> None:
        """Ask them, unless somebody does."""

    def hang(self) -> None:
        """They do not answer, and are left alone until they do."""


def tell_of_failure(name: str, error: Exception, *, again: bool) -> None:
    """One line for a metric whose callback raised."""
    _log.log(
        logging.DEBUG if again else logging.WARNING,
        "a callback of metric %s failed: %s: %s; what it says otherwise is shown",
        name,
        type(error).__name__,
        error,
    )


def tell_of_hanging(name: str) -> None:
    """One line for a metric whose callback does not answer."""
    _log.warning(
        "a callback of metric %s has not answered within %.3g s: what it said last is shown until it does",
        name,
        _HANGS_SECONDS,
    )


class Round:
    """Asks instruments one after another, in a thread of its own, so that one that hangs holds up nobody:
    then another thread goes on with the others. Where no thread can be had, whoever collects asks.
    """

    def __init__(self, instruments: Iterable[Asked]) -> None:
        asked = [each for each in instruments if each.asked_since is None]
        self._any = bool(asked)
        self._left: Iterator[Asked] = iter(asked)
        self._current: Asked | None = None
        self._turn = 0
        self._over = Event()
        self._seconds_elsewhere = 0.0

    def ask_all(self) -> None:
        """Ask everybody, each for a while at most, in the context of who calls this."""
        if not self._any:
            return
        try:
            self._wait(time.monotonic() + _PATIENCE_SECONDS)
        finally:
            # Who limits scrapes by what they take has to know of it.
            threads.worked_for_this_thread(self._seconds_elsewhere)

    def _wait(self, until: float) -> None:
        self._start()
        while not self._over.wait(self._pause(until)):
            current = self._current
            if time.monotonic() >= until:
                return
            if current is not None and self._has_hung(current):
                current.hang()
                self._start()

    def _start(self) -> None:
        self._turn += 1
        turn, context = self._turn, copy_context()

        def work() -> None:
            context.run(self._run, turn, time.thread_time())

        if threads.start(work, name="bext-otel-callbacks") is None:
            context.run(self._run, turn)

    def _pause(self, until: float) -> float:
        now, current = time.monotonic(), self._current
        since = current.asked_since if current is not None else None
        hangs_at = (now if since is None else since) + _HANGS_SECONDS
        return max(min(until, hangs_at) - now, 0.001)

    @staticmethod
    def _has_hung(current: Asked) -> bool:
        since = current.asked_since
        return since is not None and time.monotonic() - since >= _HANGS_SECONDS

    def _run(self, turn: int, began: float | None = None) -> None:
        for instrument in self._left:
            self._current = instrument
            with suppress(Exception):  # who asks counts what failed; the others are asked all the same
                instrument.ask_alone()
            if turn != self._turn:
                return  # it hung, and another thread has gone on
        if turn == self._turn:
            if began is not None:
                self._seconds_elsewhere = time.thread_time() - began
            self._over.set()
