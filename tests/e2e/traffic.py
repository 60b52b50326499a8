"""Traffic on a service of several workers, and scrapes of it at the same time: what was answered, what was
shown."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.launching import samples
from tests.waiting import until

ITEM = "/items/1"
# A worker's tick may come half a second late on a busy machine.
_LAST_SECONDS = 1.5


@dataclass(frozen=True)
class Answer:
    """One answer: when it was complete (monotonic seconds), and the worker that gave it."""

    at: float
    pid: int


def fetch(
    port: int, path: str, *, seconds: float = 20, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and body, over a connection of its own. Raises OSError or HTTPException if there is no whole
    answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path, headers={"Connection": "close", **(headers or {})})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def document(port: int) -> dict[str, Any]:
    """The JSON document."""
    status, body = fetch(port, "/metrics?format=json")
    assert 200 == status, body
    whole: dict[str, Any] = json.loads(body)
    return whole


def page(port: int) -> dict[str, float]:
    """The samples of `/metrics`."""
    status, body = fetch(port, "/metrics")
    assert 200 == status, body
    return samples(body.decode())


def items_of(found: dict[str, float]) -> int:
    """Requests for items that a page shows, answered with 200."""
    return int(
        sum(
            value
            for name, value in found.items()
            if name.startswith("bext_requests_total{") and _is_item(name)
        )
    )


def _is_item(name: str) -> bool:
    return 'route="/items/' in name and 'status="200"' in name


@dataclass
class Traffic:
    """Requests for an item, by several threads. `known` were answered before; `unsure` were sent and not
    answered: they may have been counted, or not."""

    port: int
    path: str = ITEM
    known: int = 0
    answers: list[Answer] = field(default_factory=list)
    sent: int = 0
    unsure: int = 0
    refused: int = 0
    pause_seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def answered(self) -> int:
        """How many were answered with 200."""
        return len(self.answers)

    @property
    def bounds(self) -> tuple[int, int]:
        """How many were answered at least, and at most."""
        return self.known + self.answered, self.known + self.sent

    def last_second(self, pid: int, before: float) -> int:
        """How many this worker answered in the last second before."""
        return self._between(pid, before - _LAST_SECONDS, before)

    def before_last_second(self, pid: int, since: float, before: float) -> int:
        """How many it answered since then, without those of the last second."""
        return self._between(pid, since, before - _LAST_SECONDS)

    def _between(self, pid: int, since: float, before: float) -> int:
        return sum(answer.pid == pid and since < answer.at <= before for answer in self.answers)

    def pids(self, since: int = 0) -> set[int]:
        """Who answered, from the answer of that number on."""
        return {answer.pid for answer in self.answers[since:]}

    def ask(self) -> int | None:
        """One request; who answered, or None."""
        with self._lock:
            self.sent += 1
        try:
            status, body = fetch(self.port, self.path)
            assert 200 == status, body
            pid = int(json.loads(body)["pid"])
        except ConnectionRefusedError:
            with self._lock:
                self.sent -= 1
                self.refused += 1
            return None
        except (OSError, http.client.HTTPException, ValueError):
            with self._lock:
                self.unsure += 1
            return None
        with self._lock:
            self.answers.append(Answer(time.monotonic(), pid))
        return pid

    @contextmanager
    def flowing(self, threads: int = 3) -> Iterator[None]:
        """Ask all the time, while the body runs."""
        ending = threading.Event()

        def ask() -> None:
            while not ending.wait(self.pause_seconds):
                self.ask()

        with running(ask, threads, ending):
            yield


@dataclass
class Scrapes:
    """Scrapes one after the other, text and JSON in turns; each total compared with the one before. `failed`
    found nobody to answer."""

    port: int
    traffic: Traffic
    totals: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    failed: int = 0
    slowest_seconds: float = 0.0

    @contextmanager
    def going_on(self, threads: int = 2) -> Iterator[None]:
        """Scrape all the time, while the body runs."""
        ending = threading.Event()

        def scrape() -> None:
            former = 0
            while not ending.is_set():
                former = self._once(former)

        with running(scrape, threads, ending):
            yield

    def _once(self, former: int) -> int:
        began = time.monotonic()
        text = len(self.totals) % 4 != 3
        try:
            total = items_of(page(self.port)) if text else int(items_in(document(self.port)))
        except (OSError, http.client.HTTPException):
            self.failed += 1
            time.sleep(0.01)
            return former
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
        self.totals.append(total)
        if total < former:
            self.wrong.append(f"{former} and then {total}")
        if total > self.traffic.bounds[1]:
            self.wrong.append(f"{total} of {self.traffic.bounds[1]}")
        return total


def agreed(port: int) -> int | None:
    """What eight scrapes show; None if they differ."""
    found = {items_of(page(port)) for _ in range(8)}
    return found.pop() if len(found) == 1 else None


def settled(port: int, at_least: int, at_most: int) -> int:
    """What all scrapes show, once it is within these bounds."""

    def look() -> int | None:
        try:
            found = agreed(port)
        except (OSError, http.client.HTTPException):
            return None
        return found if found is not None and at_least <= found <= at_most else None

    return until(
        look,
        why=lambda: f"every scrape to show {at_least} to {at_most}; one shows {items_of(page(port))}",
    )


def items_in(whole: dict[str, Any]) -> int:
    """Requests that a JSON document shows; where nobody asks for anything but items, these are for items."""
    return int(sum(app["requests"]["total"] - app["errors"]["total"] for app in whole["apps"].values()))


@contextmanager
def running(do: Callable[[], None], number: int, ending: threading.Event) -> Iterator[None]:
    """Threads that do it, until the body ends; what they raise is raised here."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            do()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
