"""What one piece of code writes to `sys.stdout` and `sys.stderr` left out, and what everybody else writes
there not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from bext_otel.process import on_fork

__all__ = ["hushed"]

_NAMES = ("stdout", "stderr")
_is_hushed: ContextVar[bool] = ContextVar("bext_otel_logs_hushed", default=False)


class _Filtering:
    """Stands for a stream while somebody is hushed; it is that stream for everybody else."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> Any:
        """Write, unless who asks is hushed."""
        return len(text) if _is_hushed.get() else self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        """Likewise."""
        if not _is_hushed.get():
            self._stream.writelines(lines)


class _Standing:
    """The streams that are stood for, and how many want them to be."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.filters: dict[str, _Filtering] = {}

    def enter(self) -> None:
        with self.lock:
            self.count += 1
            for name in _NAMES:
                stream = getattr(sys, name, None)
                if stream is not None and stream is not self.filters.get(name):
                    self.filters[name] = _Filtering(stream)
                    setattr(sys, name, self.filters[name])

    def leave(self) -> None:
        with self.lock:
            self.count -= 1
            if self.count:
                return
            for name, standing in self.filters.items():
                # Somebody may have put another stream there, which stays.
                if getattr(sys, name, None) is standing:
                    setattr(sys, name, standing._stream)
            self.filters.clear()


_standing = _Standing()


@contextmanager
def hushed() -> Iterator[None]:
    """What the body writes to the standard streams by their names in `sys` (as `print` does) goes nowhere.

    Other threads and tasks write there as ever.
    """
    standing = _standing
    standing.enter()
    token = _is_hushed.set(True)
    try:
        yield
    finally:
        _is_hushed.reset(token)
        standing.leave()


def _in_child() -> None:
    """Only the thread that forked is here, which may be within a body; nobody else will put the streams
    back."""
    if not _is_hushed.get():
        _standing.count, _standing.lock = 1, threading.Lock()
        _standing.leave()
    else:
        _standing.lock, _standing.count = threading.Lock(), 1


on_fork(in_child=_in_child)
