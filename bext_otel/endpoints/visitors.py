"""Callers on the application's own port: they share its threads and its processor with everybody who wants
something of the application."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping

from bext_otel.endpoints.endpoints import Endpoints, Reply, finished
from bext_otel.listener.pace import Pace

__all__ = ["BUSY", "Visitors"]

# An application that serves by threads has some dozen; a pair of Prometheus, an agent and a person are few.
_MOST_WAITING = 4

BUSY = Reply(
    503,
    "text/plain; charset=utf-8",
    b"too many ask for metrics at once; the next request tries again\n",
    (("retry-after", "1"),),
)


class Visitors:
    """Answers those who are served in threads of the application, which a scrape must not hold: few may wait
    for one at a time, and once scrapes have taken more than their share of the time the next ones are told to
    come back. Whoever has the token is no stranger, and always served."""

    def __init__(self, endpoints: Endpoints, pace: Pace | None = None) -> None:
        self._endpoints = endpoints
        self._pace = pace or Pace()
        self._begin()

    def reply(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Reply | None:
        """The answer to a visitor; None for a path that is not ours. Never raises."""
        if self._endpoints.lane(path, headers) != "scrapes" or self._endpoints.access.has_token(headers):
            return self._endpoints.reply(method, path, query, headers, trusted=False)
        if self._pid != os.getpid():  # a fork may have come while somebody was waiting
            self._begin()
        with self._lock:
            if self._waiting >= _MOST_WAITING or self._pace.wait_seconds() > 0:
                return finished(BUSY, method, headers)
            if not self._waiting:
                self._unpaid_since = time.monotonic()
            self._waiting += 1
        try:
            return self._endpoints.reply(method, path, query, headers, trusted=False)
        finally:
            with self._lock:
                self._waiting -= 1
                now = time.monotonic()
                self._pace.spend(now - self._unpaid_since)
                self._unpaid_since = now

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiting = 0
        # Scrapes that overlap are one after the other, so the time in which there is any is what they cost.
        self._unpaid_since = 0.0
