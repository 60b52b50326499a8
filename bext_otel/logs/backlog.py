"""Writing to a pipe, a terminal or a socket without waiting for who does not read it."""

from __future__ import annotations

import os
import select
import socket
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from bext_otel.threads import start_bare

__all__ = ["NonBlockingWriter", "identity", "identity_is", "is_full"]

MAX_BYTES = 262_144
"""How much is kept for a reader that is behind; what comes on top is refused."""

PATIENCE_SECONDS = 0.05
"""How long a program that may wait does so once for a reader that reads, but not as fast as it writes."""

STUCK_SECONDS = 1.0
"""A reader that has taken nothing for so long is not waited for at the end; other processes may fill the pipe
before us."""

_FIRST_PAUSE_SECONDS = 0.005
_LONGEST_PAUSE_SECONDS = 0.25

# What is written at once to a pipe that has room for anything has room (POSIX promises 512, Linux has 4096).
_CHUNK = getattr(select, "PIPE_BUF", 512)

# Between the answer that there is room and the write, another process may have taken it.
_MAX_TRIES = 100

_Attempt: TypeAlias = Callable[[bytes], int]


def is_full(fd: int, *, patience_seconds: float = 0.0) -> bool:
    """Would a write wait, still after that time? False where that cannot be known."""
    try:
        return not _room_of(fd)(patience_seconds * 1e3)
    except (AttributeError, OSError, ValueError):
        return False


def _room_of(fd: int) -> Callable[[float], list[Any]]:
    """What waits so many milliseconds for room in a descriptor, and answers with nothing where there is none.
    Raises AttributeError where there is no such call."""
    # gevent's own gives other greenlets a turn, and that in the middle of a line.
    monkey = sys.modules.get("gevent.monkey")
    poll = monkey.get_original("select", "poll")() if monkey is not None else select.poll()
    poll.register(fd, select.POLLOUT)
    found: Callable[[float], list[Any]] = poll.poll
    return found


class NonBlockingWriter:
    """A descriptor that somebody reads. What he has not taken yet is kept, in order, and written by a thread
    that ends when he has.

    `write`, `drain` and `close` are called under the owner's `lock`; `on_lost` hears how many lines that were
    kept are lost, and why. To others who have the descriptor it stays as it is: it is not made non-blocking,
    which they would share; we open what is behind it once more, or ask each time.

    A reader that reads, but slower than a script writes, slows it down once enough is kept, as ever; not on
    an event loop. One that takes nothing meanwhile is stuck: nobody waits for it again until it reads.
    """

    def __init__(self, fd: int, lock: threading.RLock, on_lost: Callable[[OSError, int], None]) -> None:
        self.identity = identity(fd)
        self._lock = lock
        self._on_lost = on_lost
        self._own: int | None = None
        self._socket: socket.socket | None = None
        self._polled = fd
        self._attempt = self._open(fd)
        self._room: Callable[[float], list[Any]] | None = None
        with suppress(AttributeError, OSError, ValueError):
            self._room = _room_of(self._polled)
        self._kept: deque[bytes] = deque()
        self._bytes = 0
        self.has_thread = False
        self._is_stuck = False
        self._closed = False

    def _open(self, fd: int) -> _Attempt:
        mode = os.fstat(fd).st_mode
        if stat.S_ISSOCK(mode):
            self._socket = connection = socket.socket(fileno=os.dup(fd))
            self._polled = connection.fileno()
            # Not `setblocking`, which is everybody's.
            return lambda data: _attempted(lambda: connection.send(data, socket.MSG_DONTWAIT))
        if sys.platform == "linux":
            with suppress(
                OSError
            ):  # it belongs to somebody else, since we are no longer root; or there is no /proc
                self._own = own = os.open(
                    f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                )
                self._polled = own
                return lambda data: _attempted(lambda: os.write(own, data))
        if stat.S_ISCHR(mode):
            # A terminal says that it is ready when it has room for less than a line: who stops it (Ctrl-S)
            # stops the program, as ever.
            return lambda data: _attempted(lambda: os.write(fd, data))
        return lambda data: 0 if is_full(fd) else _attempted(lambda: os.write(fd, data[:_CHUNK]))

    def is_ready(self) -> bool:
        """Nothing is kept, and there is room, as far as that can be known."""
        try:
            return not self._kept and (self._room is None or bool(self._room(0)))
        except (OSError, ValueError):
            return True
        except RuntimeError:  # a signal's handler logs, in the middle of this call
            return False

    @property
    def is_behind(self) -> bool:
        """Is something kept?"""
        return bool(self._kept)

    def write(self, line: bytes) -> None:
        """Write a line, or keep it. Raises OSError if neither is possible."""
        if self._kept:
            self.drain()
        done = 0
        while not self._kept and done < len(line):
            written = self._attempt(line[done:] if done else line)
            if not written:
                break
            done += written
        if done == len(line):
            return
        # What has begun is kept in any case, or the next line would not start on a line of its own.
        tries = 0
        while not done and self._bytes + len(line) > MAX_BYTES:
            if self._is_stuck or not _may_wait():
                raise BlockingIOError("the reader is behind")
            tries += 1
            self._is_stuck = tries > _MAX_TRIES or is_full(self._polled, patience_seconds=PATIENCE_SECONDS)
            self.drain()
        self._kept.append(line[done:])
        self._bytes += len(line) - done
        self._start()

    def drain(self) -> bool:
        """Write what can be written now; whether nothing is kept any more. If the reader has gone, all of it
        is lost."""
        try:
            while self._kept:
                written = self._attempt(self._kept[0])
                if not written:
                    return False
                self._bytes -= written
                self._is_stuck = False
                if written == len(self._kept[0]):
                    self._kept.popleft()
                else:
                    self._kept[0] = self._kept[0][written:]
        except OSError as error:
            self.forget(error)
        return True

    def forget(self, error: OSError) -> None:
        """What is kept is lost because of `error`."""
        lost = len(self._kept)
        self._kept.clear()
        self._bytes = 0
        if lost:
            self._on_lost(error, lost)

    def finish(self, seconds: float) -> bool:
        """Wait until all is written, for as long as the reader goes on reading, and at most `seconds`;
        whether it is."""
        now = time.monotonic()
        latest, moved = now + seconds, now
        while True:
            with self._lock:
                before = self._bytes
                if self.drain():
                    return True
                now = time.monotonic()
                if self._bytes < before:
                    moved = now
            if now >= min(latest, moved + STUCK_SECONDS):
                return False
            time.sleep(_FIRST_PAUSE_SECONDS)

    def close(self) -> None:
        """Let go of what was opened, and of what is kept: in a forked child the parent writes it."""
        self._closed = True
        self._kept.clear()
        if self._socket is not None:
            self._socket.close()
        elif self._own is not None:
            with suppress(OSError):
                os.close(self._own)

    def _start(self) -> None:
        if not self.has_thread:
            # Not `threading.Thread`, whose start waits for it, and under gevent lets other greenlets in
            # between. Without one, the next line and the end write what they can.
            self.has_thread = start_bare(self._run)

    def _run(self) -> None:
        pause = _Pause()
        while True:
            pause.take()
            with self._lock:
                if self._closed:
                    return
                before = self._bytes
                if self.drain():
                    self.has_thread = False
                    return
                pause.note(progress=self._bytes < before)


def _may_wait() -> bool:
    """Is nobody else held up: no event loop runs in this thread, and no hub of gevent?"""
    asyncio: Any = sys.modules.get("asyncio")
    return "gevent.monkey" not in sys.modules and (asyncio is None or asyncio._get_running_loop() is None)


class _Pause:
    """Short while there is progress, ever longer while there is none."""

    def __init__(self) -> None:
        self._seconds = _FIRST_PAUSE_SECONDS

    def note(self, *, progress: bool) -> None:
        self._seconds = _FIRST_PAUSE_SECONDS if progress else min(self._seconds * 2, _LONGEST_PAUSE_SECONDS)

    def take(self) -> None:
        time.sleep(self._seconds)


def _attempted(write: Callable[[], int]) -> int:
    try:
        return write()
    except BlockingIOError:
        return 0


def identity(fd: int) -> tuple[int, int, int] | None:
    """What is behind a descriptor, if somebody reads it; None for a file, and the like, which make nobody
    wait."""
    found = os.fstat(fd)
    reads = (
        stat.S_ISFIFO(found.st_mode)
        or stat.S_ISSOCK(found.st_mode)
        or (stat.S_ISCHR(found.st_mode) and os.isatty(fd))
    )
    return (fd, found.st_dev, found.st_ino) if reads and sys.platform != "win32" else None


def identity_is(fd: int, known: tuple[int, int, int] | None) -> bool:
    """Whether what is behind a descriptor is what `identity` has answered with before."""
    try:
        found = os.fstat(fd)
    except OSError:  # it is closed
        return False
    return known is not None and (fd, found.st_dev, found.st_ino) == known
