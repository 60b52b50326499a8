"""Work that may take a while, one piece after the other in a thread that exists only while there is some, and
shortly after."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias, TypeVar, cast

from bext_otel.listener.pace import Pace
from bext_otel.threads import processor_seconds, start

__all__ = ["Job", "Lane", "Together"]

T = TypeVar("T")

# Whoever asks again and again should not have a thread started each time.
_REST_SECONDS = 5.0


class Together:
    """What those who waited together are answered from: made once, for the first who needs it."""

    def __init__(self) -> None:
        self._made: dict[object, Callable[[], object]] = {}

    def share(self, make: Callable[[], T]) -> T:
        """What `make` returns or raises, called for the first one only."""
        found = self._made.get(make)
        if found is None:
            found = self._made[make] = _outcome(make)
        return cast("T", found())


def _outcome(make: Callable[[], object]) -> Callable[[], object]:
    try:
        value = make()
    except Exception as error:
        failed = error

        def fail() -> object:
            raise failed

        return fail
    return lambda: value


Job: TypeAlias = Callable[[Together], None]
"""A piece of work. It never raises."""


class Lane:
    """Does jobs one at a time, in their order. Those that have come while one was done are done together.

    `pace` says how long they wait for company before they are done. Where no thread can be started, a job is
    done at once by whoever has it.
    """

    def __init__(self, name: str, pace: Pace | None = None) -> None:
        self._name = name
        self._pace = pace
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._has_thread = False
        self._rest_seconds = _REST_SECONDS

    def add(self, job: Job) -> None:
        """Do `job` as soon as those before it are done."""
        with self._changed:
            self._waiting.append(job)
            if self._has_thread:
                self._changed.notify()
                return
            self._has_thread = True
        if start(self._run, self._rest_seconds, name=self._name) is None:
            self._run(0.0)

    def discard(self, job: Job) -> None:
        """Nobody waits for `job` any more; nothing happens if it is under way."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)

    def close(self) -> None:
        """Nothing more will come: the thread ends as soon as it has nothing to do."""
        with self._changed:
            self._rest_seconds = 0.0
            self._changed.notify()

    def _run(self, rest_seconds: float) -> None:
        while batch := self._next(rest_seconds):
            began = processor_seconds()
            together = Together()
            for job in batch:
                job(together)
            if self._pace is not None:
                self._pace.spend(processor_seconds() - began)

    def _next(self, rest_seconds: float) -> list[Job]:
        with self._changed:
            if not self._waiting and rest_seconds and self._rest_seconds:
                self._changed.wait(rest_seconds)
            while rest_seconds and self._waiting and self._pace is not None:
                if (pause := self._pace.wait_seconds()) <= 0:
                    break
                self._changed.wait(pause)
            batch, self._waiting = self._waiting, []
            self._has_thread = bool(batch)
            return batch
