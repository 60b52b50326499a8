"""One counter for a whole service: what the programs of these tests count with, straight on the ledger."""

from __future__ import annotations

import os
import threading

from bext_otel.process import on_fork
from bext_otel.service.joining import join_service

ledger = join_service("family")


class Counter:
    def __init__(self) -> None:
        self.renew()
        on_fork(in_child=self.renew)

    def renew(self) -> None:
        self._lock = threading.Lock()
        self._base: int | None = None
        self._count = 0

    def add(self, by: int = 1) -> bool:
        with self._lock:
            if self._base is None:
                self._base = int(ledger.take() or 0)
            self._count += by
            return ledger.publish(str(self._base + self._count).encode())

    def total(self) -> int:
        with self._lock:
            return (self._base or 0) + self._count + sum(int(peer.payload) for peer in ledger.peers())


counter = Counter()


def say(*words: object) -> None:
    """Write a line, in one piece: other processes write to the same place."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())
