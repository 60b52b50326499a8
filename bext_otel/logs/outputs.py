"""Where lines go: a standard stream, or a file (see `files`)."""

from __future__ import annotations

import atexit
import io
import json
import logging
import re
import sys
import threading
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from bext_otel.logs.backlog import NonBlockingWriter, identity, identity_is, is_full
from bext_otel.process import on_fork

_STRAIGHT_BYTES, _STRAIGHT_SECONDS = 16_384, 0.05

__all__ = ["FINISH_SECONDS", "Output", "StandardStream", "WholeLines", "write_stderr"]


def write_stderr(line: str) -> None:
    """One line on standard error, past logging: for trouble with logging itself."""
    try:
        stream: Any = sys.__stderr__ if _logs(sys.stderr) else sys.stderr
        if _is_full(stream):
            return
        stream.write(f"bext-otel: {line}\n")
    except (
        AttributeError,
        OSError,
        ValueError,
    ):  # there is no standard error, it is closed or full: nobody left to tell
        return


class Output(Protocol):
    """Takes whole lines."""

    name: str

    def write(self, line: bytes) -> None:
        """Write a line that ends in a newline. Raises OSError or ValueError if that isn't possible."""


class StandardStream:
    """`sys.stdout` or `sys.stderr`, looked up at each write because applications and tests replace them.

    `on_lost` hears how many lines that a reader had not taken yet are lost, and why.

    A line is one system call past Python's buffers: lines of several processes on one pipe stay whole, and a
    reader that has gone leaves nothing behind that would fail again, with exit code 120, when the interpreter
    flushes at its end. A reader that is stuck costs lines, and nobody's time (see `backlog`).
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.on_lost: Callable[[OSError, int], None] = _ignore
        self._lines = WholeLines()
        self._looping: object = None
        self._unwaiting: NonBlockingWriter | None = None
        # The stream that was found to lead straight to what nobody reads, a file or the null device, and for
        # how long, and how much, that is taken for granted.
        self._straight: io.TextIOWrapper | None = None
        self._straight_until, self._straight_bytes = 0.0, 0
        self._straight_write: Callable[[bytes], int | None] = len
        # The stream that was found to lead to who reads, and its descriptor, which may be redirected.
        self._read: io.TextIOWrapper | None = None
        self._read_fd = -1
        self._start_over()
        _streams.add(self)

    def _start_over(self) -> None:
        self._lock = threading.RLock()
        self._inside: object = None
        self._let_go()

    def _let_go(self) -> None:
        self._straight = self._read = None
        if self._unwaiting is not None:
            self._unwaiting.close()
            self._unwaiting = None

    def isatty(self) -> bool:
        """Does somebody look at it?"""
        try:
            return bool(getattr(sys, self.name).isatty())
        except (AttributeError, ValueError):  # there is none, or it is closed
            return False

    def write(self, line: bytes) -> None:
        """See `Output`."""
        with self._lock:
            straight, length = self._straight, len(line)
            if (
                straight is getattr(sys, self.name, None)
                and straight is not None
                and self._straight_bytes > length
                and monotonic() < self._straight_until
            ):
                self._straight_bytes -= length
                # What the application printed before comes before.
                straight.flush()
                lines, write = self._lines, self._straight_write
                # Written out, since nearly all lines of a file go by here.
                if lines.is_torn or (written := write(line)) != length:
                    lines.write(write, line, 0 if lines.is_torn else written)
                return
            read, to = self._read, self._unwaiting
            if (
                read is getattr(sys, self.name, None)
                and read is not None
                and to is not None
                and identity_is(self._read_fd, to.identity)
                and to.is_ready()
            ):
                read.flush()
                to.write(line)
                return
            stream = self._stream()
            if stream is self._inside:
                # It gives what is written to it back to logging, and does not look like it.
                self._looping = stream
                return
            raw = _raw(stream)
            unwaiting = self._to(raw)
            if unwaiting is not None and raw is not None:
                if unwaiting.is_ready():
                    stream.flush()
                unwaiting.write(line)
                if type(stream) is io.TextIOWrapper:
                    self._read, self._read_fd = stream, raw.fileno()
                return
            # What the application printed before comes before.
            stream.flush()
            if raw is not None:
                self._lines.write(raw.write, line)
                if type(stream) is io.TextIOWrapper and type(stream.buffer) is io.BufferedWriter:
                    # Somebody may put a pipe behind the descriptor, which has room for as much at least.
                    # It raises with the stream's own, once that is detached or closed.
                    self._straight, self._straight_write = stream, raw.write
                    self._straight_bytes = _STRAIGHT_BYTES
                    self._straight_until = monotonic() + _STRAIGHT_SECONDS
                return
            self._inside = stream
            try:
                _write_text(stream, line.decode())
            finally:
                self._inside = None
            if stream is self._looping:
                self.write(line)

    def finish(self, seconds: float) -> bool:
        """Wait until a reader that is behind has all, as long as it goes on reading and no longer than
        `seconds`; whether it has."""
        unwaiting = self._unwaiting
        return unwaiting is None or not unwaiting.is_behind or unwaiting.finish(seconds)

    def _lost(self, error: OSError, lines: int) -> None:
        self.on_lost(error, lines)

    def _to(self, raw: Any) -> NonBlockingWriter | None:
        """The way to who reads the stream, if it is read by somebody."""
        if type(raw) is not io.FileIO:
            return None
        found = identity(raw.fileno())
        if self._unwaiting is not None and self._unwaiting.identity != found:
            # The descriptor has been redirected, or the stream replaced.
            if not self._unwaiting.drain():
                self._unwaiting.forget(OSError("the stream was redirected before its reader had them"))
            self._let_go()
        if self._unwaiting is None and found is not None:
            self._unwaiting = NonBlockingWriter(raw.fileno(), self._lock, self._lost)
        return self._unwaiting

    def _stream(self) -> Any:
        stream = getattr(sys, self.name, None)
        if stream is not None and (stream is self._looping or _logs(stream)):
            stream = getattr(sys, f"__{self.name}__")
        if stream is None:
            raise OSError(f"there is no sys.{self.name}")
        return stream


def _logs(stream: object) -> bool:
    """Whether it looks like one that gives what is written to it to a logger, as Celery's `LoggingProxy`
    does.

    Celery's drops what its logger writes to it meanwhile, so to notice the loop only by a write that comes
    back would be a line told twice.
    """
    return isinstance(getattr(stream, "logger", None), (logging.Logger, logging.LoggerAdapter)) and any(
        hasattr(stream, name) for name in ("loglevel", "log_level", "level")
    )


def _raw(stream: Any) -> Any:
    """What is below the buffers of a text stream; with PYTHONUNBUFFERED, its buffer is that already."""
    buffer = getattr(stream, "buffer", None)
    return buffer if type(buffer) is io.FileIO else getattr(buffer, "raw", None)


def _ignore(error: OSError, lines: int) -> None:
    """Nobody counts."""


def _is_full(stream: Any) -> bool:
    try:
        return is_full(stream.fileno())
    except (AttributeError, OSError, ValueError):  # it has no descriptor: it makes nobody wait
        return False


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
        self.is_torn = False

    def write(self, write: Callable[[bytes], int | None], line: bytes, done: int | None = 0) -> None:
        """Write all of `line`, of which so many bytes are `done` (None: the reader is behind). Raises OSError
        if that fails; BlockingIOError if the descriptor doesn't block, and its reader is behind."""
        if done is None:
            raise BlockingIOError("the reader is behind, and the descriptor does not block")
        if self.is_torn:
            line = b"\n" + line
        length = len(line)
        try:
            while True:
                written = write(line[done:] if done else line)
                if written is None:
                    raise BlockingIOError("the reader is behind, and the descriptor does not block")
                done += written
                if done >= length:
                    return
        finally:
            if done:
                self.is_torn = done < length


_streams: weakref.WeakSet[StandardStream] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """A thread of the parent may have been writing."""
    for stream in list(_streams):
        stream._start_over()


FINISH_SECONDS = 3.0
"""How long the end of the process waits for a reader that is behind and goes on reading."""


def _at_exit() -> None:
    for stream in list(_streams):
        stream.finish(FINISH_SECONDS)


atexit.register(_at_exit)

on_fork(in_child=_after_fork_in_child)
