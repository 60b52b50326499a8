"""One collection for many scrapers: who asks while others wait is answered with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Condition

# Bound here: after gevent's monkey-patching these three are all its own or all the system's, never a mixture
# that waits for itself.
from threading import get_ident as this_thread
from time import monotonic, sleep
from typing import Generic, TypeVar, cast

__all__ = ["Sharing"]

T = TypeVar("T")

_GATHER_SECONDS = 0.002
"""How long a collection waits for company: nothing to a scraper that comes every 15 seconds, and all that
many at once need to meet."""

_PATIENCE_SECONDS = 10.0
"""Prometheus' own default for a scrape; past it nobody listens any more."""


class Sharing(Generic[T]):
    """Calls `collect` for everybody who asks at the same time, one call at a time.

    An answer never holds data older than the moment it was asked for: whoever asks while a collection is
    under way waits for the next one, since the running one may have read a counter before the asker's own
    last request was counted, and a scrape that does not show a request which has been answered is wrong. So a
    crowd costs two collections at worst, and one if it comes within the two milliseconds that each round
    waits for company. The price is the wait for the running collection, which a collection of one's own would
    have paid as well, on the same processor.

    No lock is held while `collect` runs, since that calls functions of the application. Such a function may
    scrape in turn, and under gevent another greenlet of the collecting thread may: neither can wait for its
    own thread, so it collects alone.
    """

    def __init__(
        self,
        collect: Callable[[], T],
        *,
        gather_seconds: float = _GATHER_SECONDS,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._collect = collect
        self._gather_seconds = gather_seconds
        self._patience_seconds = patience_seconds
        self._rounds: _Rounds[T] = _Rounds()

    def get(self) -> T:
        """What a collection that begins after this call finds; raises what it raises, and TimeoutError if
        another one never ends."""
        rounds = self._rounds
        if (
            rounds.pid != os.getpid()
        ):  # a forked child: whoever led a round stayed with the parent, and so may a lock
            rounds = self._rounds = _Rounds()
        with rounds.changed:
            if rounds.led_by(this_thread()):
                alone = True
            else:
                alone = False
                leads = rounds.open is None
                mine = rounds.open = rounds.open or _Round(this_thread())
        if alone:
            return self._collect()
        return self._lead(rounds, mine) if leads else self._follow(rounds, mine)

    def _follow(self, rounds: _Rounds[T], mine: _Round[T]) -> T:
        with rounds.changed:
            # Its leader may be waiting for the collection before it, as long as we are, and then collects.
            if not rounds.changed.wait_for(lambda: mine.done, 2 * self._patience_seconds):
                raise TimeoutError(
                    f"a collection has not ended for {2 * self._patience_seconds:g} s: a callback of the "
                    "application hangs"
                )
        if mine.error is not None:
            raise mine.error
        return cast("T", mine.found)

    def _lead(self, rounds: _Rounds[T], mine: _Round[T]) -> T:
        try:
            self._wait_for_turn(rounds)
            with rounds.changed:
                rounds.open, rounds.running = None, mine
            mine.found = self._collect()
            return mine.found
        except BaseException as error:
            mine.error = error
            raise
        finally:
            with rounds.changed:
                mine.done = True
                rounds.open = None if rounds.open is mine else rounds.open
                rounds.running = None if rounds.running is mine else rounds.running
                rounds.changed.notify_all()

    def _wait_for_turn(self, rounds: _Rounds[T]) -> None:
        """Until no other collection runs, and long enough for others to join."""
        company_by = monotonic() + self._gather_seconds
        with rounds.changed:
            if not rounds.changed.wait_for(lambda: rounds.running is None, self._patience_seconds):
                raise TimeoutError(
                    f"a collection has not ended for {self._patience_seconds:g} s: a callback of the "
                    "application hangs"
                )
        if (remaining := company_by - monotonic()) > 0:
            sleep(remaining)


class _Round(Generic[T]):
    """One collection, to begin or under way, and what came of it."""

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self.done = False
        self.found: T | None = None
        self.error: BaseException | None = None


class _Rounds(Generic[T]):
    """Of one process: the round that can be joined, and the one that runs."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.changed = Condition()
        self.open: _Round[T] | None = None
        self.running: _Round[T] | None = None

    def led_by(self, thread: int) -> bool:
        return any(one is not None and one.leader == thread for one in (self.open, self.running))
