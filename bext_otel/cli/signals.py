"""Ctrl-C and its kin."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

__all__ = ["UntilInterrupted", "uninterrupted"]

_Handler = Callable[[int, FrameType | None], object] | int | None
_STOP = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class UntilInterrupted:
    """A `with` whose body ends, as if it were done, at the first signal that asks for an end: Ctrl-C, `kill`,
    or the terminal closed.

    `interrupted` tells whether one did. Further ones are ignored, so that what the body cleans up is cleaned
    up.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._before: dict[int, _Handler] = {}

    def __enter__(self) -> UntilInterrupted:
        self._before = _handle(self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        _restore(self._before)
        return isinstance(exc, KeyboardInterrupt)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.interrupted = True
        _handle(signal.SIG_IGN)
        raise KeyboardInterrupt


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals that ask for an end are ignored: cleaning up must not stop half-way because somebody is
    impatient."""
    before = _handle(signal.SIG_IGN)
    try:
        yield
    finally:
        _restore(before)


def _handle(handler: _Handler) -> dict[int, _Handler]:
    """Set the handler of every signal of ours; returns those before."""
    if threading.current_thread() is not threading.main_thread():
        # Python lets only the main thread set handlers, and delivers signals only there.
        return {}
    return {number: signal.signal(number, handler) for number in _STOP}


def _restore(before: dict[int, _Handler]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)
