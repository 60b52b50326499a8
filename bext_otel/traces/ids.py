"""Ids of spans and traces from the system's randomness.

Upstream's come from `random`, whose state is the application's: one that seeds it (a simulation, a test, a
page that is the same for the same seed) has the same ids again and again, and finds its own numbers moved on
by every span.
"""

from __future__ import annotations

from collections import deque
from os import getpid, urandom
from random import Random
from struct import unpack

from opentelemetry.sdk.trace.id_generator import IdGenerator

from bext_otel.process import on_fork

__all__ = ["SystemIdGenerator"]

# How many numbers of 64 bits are fetched at once: asking the system takes longer than a span.
_BATCH = 384


class SystemIdGenerator(IdGenerator):
    """Ids that no seed, no fork and no other thread repeats; all their bits are random."""

    def __init__(self) -> None:
        # Taking from it and adding to it are one step each, so threads need no lock.
        self._numbers: deque[int] = deque()
        self._pid = getpid()
        on_fork(in_child=self._numbers.clear)

    def generate_span_id(self) -> int:
        """A number of 64 bits, never 0."""
        if getpid() != self._pid:
            self._start_over()
        while True:
            try:
                number = self._numbers.pop()
            except IndexError:
                self._fetch()
                continue
            if number:  # 0 is no id
                return number

    def generate_trace_id(self) -> int:
        """A number of 128 bits, never 0."""
        if getpid() != self._pid:
            self._start_over()
        while True:
            try:
                number = self._numbers.pop() << 64 | self._numbers.pop()
            except IndexError:
                self._fetch()
                continue
            if number:
                return number

    def generate_ids(self) -> tuple[int, int]:
        """The ids of a trace and of its first span, with one look at which process this is: that is a call
        into the system."""
        if getpid() != self._pid:
            self._start_over()
        numbers = self._numbers
        while True:
            try:
                trace_id, span_id = numbers.pop() << 64 | numbers.pop(), numbers.pop()
            except IndexError:
                self._fetch()
                continue
            if trace_id and span_id:
                return trace_id, span_id

    def _fetch(self) -> None:
        self._numbers.extend(unpack(f"{_BATCH}Q", _random_bytes(8 * _BATCH)))

    def _start_over(self) -> None:
        """A child that was forked behind Python's back has its parent's numbers."""
        self._numbers.clear()
        self._pid = getpid()

    def is_trace_id_random(self) -> bool:
        """They are: the flag `random` of W3C Trace Context (level 2) is set."""
        return True


def _random_bytes(count: int) -> bytes:
    try:
        return urandom(count)
    except (NotImplementedError, OSError):  # a jail without a source of randomness
        return Random().randbytes(count)  # noqa: S311  # nosec B311  # ids are no secrets, and this one is nobody else's to seed
