"""Calls of what others have given us, which may hang: side by side, and for no longer than there is time."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from bext_otel import threads

__all__ = ["Answer", "within"]


class Answer(msgspec.Struct, frozen=True):
    """What a call came back with: a value, or the exception that it raised, for which `value` is False."""

    value: object
    error: Exception | None = None


def within(seconds: float, calls: Sequence[Callable[[], object]]) -> list[Answer | None]:
    """The answer of each of `calls`, in their order; None for one that did not come back within `seconds`,
    which is left behind in a daemon thread.

    Where no thread can be started, they are called here, one after the other, for as long as that takes.
    """
    until = time.monotonic() + seconds
    answers: list[Answer | None] = [None] * len(calls)
    done = [threading.Event() for _ in calls]

    def answer(number: int) -> None:
        try:
            answers[number] = Answer(calls[number]())
        except Exception as error:  # others' calls; whoever asked decides what it means
            answers[number] = Answer(False, error)
        finally:
            done[number].set()

    for number in range(len(calls)):
        here = contextvars.copy_context()
        if threads.start(here.run, answer, number, name="bext-otel-bounded") is None:
            answer(number)
    for event in done:
        event.wait(max(until - time.monotonic(), 0.0))
    return list(answers)
