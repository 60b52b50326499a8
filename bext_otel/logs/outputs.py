"""Where lines go: a standard stream, or a file (see `files`)."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Output", "Stream", "WholeLines", "say"]


def say(line: str) -> None:
    """One line on standard error, past logging: for trouble with logging itself."""
    try:
        stream: Any = sys.__stderr__ if _logs(sys.stderr) else sys.stderr
        stream.write(f"bext-otel: {line}\n")
    except (AttributeError, OSError, ValueError):  # there is no standard error, it is closed or full: nobody left to tell
        return


class Output(Protocol):
    """Takes whole lines."""

    name: str

    def write(self, line: bytes) -> None:
        """Write a line that ends in a newline. Raises OSError or ValueError if that isn't possible."""


class Stream:
    """`sys.stdout` or `sys.stderr`, looked up at each write because applications and tests replace them.

    A line is one system call past Python's buffers: lines of several processes on one pipe stay whole, and a reader that has gone leaves
    nothing behind that would fail again, with exit code 120, when the interpreter flushes at its end.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lines = WholeLines()
        self._looping: object = None
        self._start_over()
        _streams.add(self)

    def _start_over(self) -> None:
        self._lock = threading.RLock()
        self._inside: object = None

    def isatty(self) -> bool:
        """Does somebody look at it?"""
        try:
            return bool(getattr(sys, self.name).isatty())
        except (AttributeError, ValueError):  # there is none, or it is closed
            return False

    def write(self, line: bytes) -> None:
        """See `Output`."""
        with self._lock:
            stream = self._stream()
            if stream is self._inside:
                # It gives what is written to it back to logging, and does not look like it.
                self._looping = stream
                return
            raw = getattr(getattr(stream, "buffer", None), "raw", None)
            # What the application printed before comes before.
            stream.flush()
            if raw is not None:
                self._lines.write(raw.write, line)
                return
            self._inside = stream
            try:
                _write_text(stream, line.decode())
            finally:
                self._inside = None
            if stream is self._looping:
                self.write(line)

    def _stream(self) -> Any:
        stream = getattr(sys, self.name, None)
        if stream is not None and (stream is self._looping or _logs(stream)):
            stream = getattr(sys, f"__{self.name}__")
        if stream is None:
            raise OSError(f"there is no sys.{self.name}")
        return stream


def _logs(stream: object) -> bool:
    """Whether it looks like one that gives what is written to it to a logger, as Celery's `LoggingProxy` does.

    Celery's drops what its logger writes to it meanwhile, so to notice the loop only by a write that comes back would be a line told twice.
    """
    return isinstance(getattr(stream, "logger", None), (logging.Logger, logging.LoggerAdapter)) and any(
        hasattr(stream, name) for name in ("loglevel", "log_level", "level")
    )


def _write_text(stream: Any, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        # Beyond ASCII, JSON holds characters only inside strings, where an escape means the same.
        stream.write(re.sub(r"[^\x00-\x7f]", lambda match: json.dumps(match[0])[1:-1], text))
    stream.flush()


class WholeLines:
    """Writes lines so that each starts on a line of its own, also after one that got through only in part."""

    def __init__(self) -> None:
        self._torn = False

    def write(self, write: Callable[[bytes], int | None], line: bytes) -> None:
        """Write all of `line`. Raises OSError if that fails; BlockingIOError if the descriptor doesn't block, and its reader is behind."""
        if self._torn:
            line = b"\n" + line
        done = 0
        try:
            while done < len(line):
                written = write(line[done:] if done else line)
                if written is None:
                    raise BlockingIOError("the reader is behind, and the descriptor does not block")
                done += written
        finally:
            if done:
                self._torn = done < len(line)


_streams: weakref.WeakSet[Stream] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """A thread of the parent may have been writing."""
    for stream in list(_streams):
        stream._start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
