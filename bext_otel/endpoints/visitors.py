"""Callers on the application's own port: they share its threads and its processor with everybody who wants
something of the application."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping

from bext_otel.endpoints.endpoints import Endpoints, Reply, finished
from bext_otel.listener.pace import Pace
from bext_otel.threads import processor_seconds

__all__ = ["BUSY", "Visitors"]

# An application that serves by threads has some dozen; a pair of Prometheus, an agent and a person are few.
_MOST_WAITING = 4
# Worth a few threads; for a longer one there is one.
_SHORT_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 2.0

BUSY = Reply(
    503,
    "text/plain; charset=utf-8",
    b"too many ask for metrics at once; the next request tries again\n",
    (("retry-after", "1"),),
)


class Visitors:
    """Answers those who are served in threads of the application, which a scrape must not hold: few may wait
    for one at a time, and once scrapes have taken more than their share of the processor only one waits for
    long, and the next ones are told to come back. Whoever has the token is no stranger, and always served.

    With `by_turns` there is one such thread, which would serve nobody else while it waits: it does not.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        pace: Pace | None = None,
        *,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._sleep = sleep
        self._pace = pace or Pace()
        self._begin()

    def reply(
        self, method: str, path: str, query: str, headers: Mapping[str, str], *, by_turns: bool = False
    ) -> Reply | None:
        """The answer to a visitor; None for a path that is not ours. Never raises."""
        if self._endpoints.lane(path, headers) != "scrapes" or self._endpoints.access.has_token(headers):
            return self._endpoints.reply(method, path, query, headers, trusted=False)
        if self._pid != os.getpid():  # a fork may have come while somebody was waiting
            self._begin()
        pause = self._enter(by_turns=by_turns)
        if pause is None:
            return finished(BUSY, method, headers)
        began = processor_seconds()
        try:
            if pause > 0:
                # Looked up now: gevent may have replaced it.
                (self._sleep or time.sleep)(min(pause, _LONGEST_PAUSE_SECONDS))
            return self._endpoints.reply(method, path, query, headers, trusted=False)
        finally:
            with self._lock:
                self._waiting -= 1
                # Of the processor: whoever waited for another one's collection has spent next to nothing.
                self._pace.spend(processor_seconds() - began)

    def _enter(self, *, by_turns: bool) -> float | None:
        """How long to wait, in seconds, 0 or less: not at all; None if there is no room to."""
        with self._lock:
            pause = 0.0 if by_turns else self._pace.wait_seconds()
            if self._waiting >= _MOST_WAITING or (pause > _SHORT_PAUSE_SECONDS and self._waiting):
                return None
            self._waiting += 1
            return pause

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiting = 0
