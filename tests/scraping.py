"""Somebody who asks again and again, while a test does something to whoever answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.waiting import until

__all__ = ["scraping"]


@contextmanager
def scraping(ask: Callable[[], str], *, every: float) -> Iterator[Counter[str]]:
    """`ask` is called each `every` seconds and names the outcome; how often each was met. At the end it is
    called some times more."""
    met: Counter[str] = Counter()
    ending = threading.Event()

    def scrape() -> None:
        while not ending.wait(every):
            met[ask()] += 1

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield met
        before = met.total()
        until(lambda: met.total() > before + 10)
    finally:
        ending.set()
        thread.join()
