"""A log file that rotates by size and by time, also when several processes write it, and that survives being
moved, truncated or removed by somebody else, and a disk that is full."""

from __future__ import annotations

import atexit
import errno
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from bext_otel.logs.compression import Compression
from bext_otel.logs.generations import Generations, When, next_period, period, rotation_lock
from bext_otel.logs.outputs import write_stderr
from bext_otel.process import on_fork
from bext_otel.regular_files import open_file
from bext_otel.threads import start_bare

__all__ = ["NullDevice", "RotatingFile"]

MAX_KEPT_BYTES = 262_144
"""How much is kept for a disk that is full; what comes on top is refused."""

# For how long, and how much, a file that was found in its place is taken to be there still. Whoever moves it
# and compresses it at once needs longer than that to start the program that does.
_TRUSTED_SECONDS, _TRUSTED_BYTES = 0.005, 65_536
_PAUSE_SECONDS, _RETRY_SECONDS = 0.25, 60.0
# Nobody compresses a file sooner after it was moved.
_INTERRUPTED_SECONDS = 0.1
_DAY = 86_400.0
# What passes when somebody makes room.
_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})


def _ignore(error: OSError, lines: int) -> None:
    """Nobody counts."""


class NullDevice:
    """The null device, where an operator names it: lines go nowhere, and cost what they cost."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._fd = os.open(os.devnull, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0))

    def write(self, line: bytes) -> None:
        """See `Output`."""
        os.write(self._fd, line)


class RotatingFile:
    """`path`, appended to; past `max_bytes` (0: never), and at the first line of each hour or day (`when`),
    it becomes `path.1`, `path.1` becomes `path.2`, and so on up to `keep` files, none older than `max_days`
    (0: however old). `on_lost` hears how many lines that were kept are lost, and why.

    `logging.handlers.RotatingFileHandler` rotates once for each process that writes, and loses lines doing
    so. Here each line is one append, each process notices by the inode that the file was replaced, and a lock
    file lets one process at a time rotate; who doesn't get it goes on writing. When the file of this hour or
    day began is the lock file's time of modification: to set that takes no room on the disk. By `clock`, a
    file is looked for again after 5 ms, since two more calls into the system cost as much as all the rest of
    a line; `wall` is the time of day. With `compress`, a thread gzips rotated files at once.

    Of a full disk nobody hears at once: lines are kept, as far as there is room for them, and written when
    there is some on the disk. Of a line that got through only in part, blanks remain.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_bytes: int = 0,
        when: When = "",
        keep: int = 5,
        max_days: int = 0,
        compress: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path).absolute()
        self.name = str(self.path)
        self.on_lost: Callable[[OSError, int], None] = _ignore
        self._max_bytes = max_bytes
        self._when: When = when
        self._generations = Generations(self.path, keep=keep, max_age_seconds=max_days * _DAY, wall=wall)
        self._compression = Compression(self._generations) if compress else None
        self._fd: int | None = None
        self._append: Callable[[bytes], int] = len
        self._clock, self._wall = clock, wall
        self._told = self._torn = False
        # When the next hour or day begins; the first look finds out whether the file is of this one.
        self._due = -float("inf") if when else float("inf")
        self._kept: deque[bytes] = deque()
        self._start_over()
        _files.add(self)

    def _start_over(self) -> None:
        self._lock = threading.RLock()
        self._trusted_bytes, self._trusted_until = 0, 0.0
        self._kept.clear()  # in a forked child: the parent writes it
        self._kept_bytes, self._has_thread = 0, False
        if self._fd is not None:
            # Where it stands in the file is shared with the parent. The next line opens it again.
            with suppress(OSError):
                os.close(self._fd)
            self._fd = None

    def write(self, line: bytes) -> None:
        """Append a line, or keep it for a while. Raises OSError if neither is possible."""
        with self._lock:
            if self._kept and not self._drained():
                self._keep(line, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.name))
                return
            try:
                self._write(line)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._keep(line, error)

    def _write(self, line: bytes) -> None:
        length = len(line)
        if self._trusted_bytes > length and self._clock() < self._trusted_until:
            self._trusted_bytes -= length
        else:
            self._look(line)
        try:
            if self._torn:
                line, length = b"\n" + line, length + 1
            if (written := self._append(line)) != length:
                self._written_again(line, written)
            self._torn = False
            if self._clock() - self._trusted_until > _INTERRUPTED_SECONDS and self._is_gone():
                self._look(line)
                self._append(line)
        except OSError:
            self._trusted_bytes = 0
            raise

    def _is_gone(self) -> bool:
        """Has somebody compressed, or removed, the file while we were interrupted? He may have read it."""
        return self._fd is not None and os.fstat(self._fd).st_nlink == 0

    def _written_again(self, line: bytes, written: int) -> None:
        """Of a line that got through in part: not to go on where another process may have written since, all
        of it once more."""
        for _ in range(2):
            self._torn = not self._blanked(line[:written])
            if not self._torn and (written := self._append(line)) == len(line):
                return
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.name)

    def _blanked(self, fragment: bytes) -> bool:
        """Replace what was just written by a blank line, which needs no room; False where that cannot be
        done."""
        if self._fd is None or sys.platform != "linux":
            return False
        fd = -1
        try:
            end = os.lseek(self._fd, 0, os.SEEK_CUR)
            # Linux appends whatever offset it is given, to a descriptor that appends.
            fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDWR | os.O_CLOEXEC)
            begin = end - len(fragment)
            if begin < 0 or os.pread(fd, len(fragment), begin) != fragment:  # somebody has truncated the file
                return False
            return os.pwrite(fd, b" " * (len(fragment) - 1) + b"\n", begin) == len(fragment)
        except OSError:
            return False
        finally:
            if fd >= 0:
                os.close(fd)

    def _keep(self, line: bytes, error: OSError) -> None:
        if self._kept_bytes + len(line) > MAX_KEPT_BYTES:
            raise error
        self._kept.append(line)
        self._kept_bytes += len(line)
        if not self._has_thread:
            # Without one, the next line and the end write what they can.
            self._has_thread = start_bare(self._drain)

    def _drained(self) -> bool:
        """Write what is kept; whether there is nothing of it any more."""
        try:
            while self._kept:
                self._write(self._kept[0])
                self._kept_bytes -= len(self._kept.popleft())
        except OSError as error:
            if error.errno in _FULL:
                return False
            self._forget(error)
        return True

    def _forget(self, error: OSError) -> None:
        lost = len(self._kept)
        self._kept.clear()
        self._kept_bytes = 0
        if lost:
            self.on_lost(error, lost)

    def _drain(self) -> None:
        while True:
            time.sleep(_PAUSE_SECONDS)
            with self._lock:
                if self._drained():
                    self._has_thread = False
                    return

    def finish(self, seconds: float) -> bool:
        """Write what was kept for a full disk, waiting for `seconds` at most; whether that is done."""
        until = time.monotonic() + seconds
        while True:
            with self._lock:
                if self._drained():
                    return True
            if time.monotonic() >= until:
                return False
            time.sleep(_PAUSE_SECONDS / 10)

    def _look(self, line: bytes) -> None:
        """Have the file that is to take `line` open."""
        self._trusted_bytes = 0
        size = self._current()
        now = self._wall() if self._when else 0.0
        if (now >= self._due or self._is_full(size, line)) and self._rotated_for(line, now):
            size = self._current()
        # What other processes write meanwhile is not seen: near the end, the size is looked at for each line.
        room = self._max_bytes - size - len(line) - _TRUSTED_BYTES if self._max_bytes else _TRUSTED_BYTES
        self._trusted_bytes = min(room, _TRUSTED_BYTES)
        self._trusted_until = self._clock() + min(_TRUSTED_SECONDS, self._due - now)

    def open(self) -> None:
        """Open the file now, to find out whether that is possible. Raises OSError."""
        with self._lock:
            self._current()

    def close(self) -> None:
        """Let go of the file; the next line opens it again."""
        with self._lock:
            self._trusted_bytes = 0
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _current(self) -> int:
        """Have the file open that is at `path` now; its size in bytes."""
        if self._fd is not None:
            mine = os.fstat(self._fd)
            try:
                there = os.lstat(self.name)  # a path would be made text for each line
            except FileNotFoundError:
                there = None
            if there is not None and (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                return there.st_size
            self.close()
        self._fd = fd = open_file(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._append = partial(os.write, fd)
        self._torn = False
        return os.fstat(fd).st_size

    def _is_full(self, size: int, line: bytes) -> bool:
        return 0 < self._max_bytes < size + len(line) and size > 0

    def _rotated_for(self, line: bytes, now: float) -> bool:
        try:
            return self._rotate(line, now)
        except OSError as exc:  # a line in a file that is too large is better than no line
            if now >= self._due:
                self._due = now + _RETRY_SECONDS
            if not self._told:
                self._told = True
                write_stderr(f"log file {self.name} can't be rotated ({exc}); it grows until it can")
            return False

    def _rotate(self, line: bytes, now: float) -> bool:
        """Move the files on by one, if that is due; False if another process is at it."""
        is_first = not os.path.lexists(f"{self.name}.lock")
        with rotation_lock(self.path) as lock:
            if lock is None:
                return False
            size = self._current()  # another process may have been faster
            begun = os.fstat(self._fd if is_first and self._fd is not None else lock).st_mtime
            is_due = bool(self._when) and size > 0 and begun < period(self._when, now)
            if is_due or self._is_full(size, line):
                self._generations.shift()
            if self._when:
                # Before anything else can fail, or it would be rotated again, and again.
                self._due = next_period(self._when, now)
                _set_time(lock, now)
            self._generations.prune()
            if self._compression is not None:
                self._compression.ask()
        return True


def _set_time(fd: int, moment: float) -> None:
    """When a file was modified. Who does not own it may say that it was now, if he may write it."""
    try:
        os.utime(fd, (moment, moment))
    except PermissionError:
        os.utime(fd)


_files: weakref.WeakSet[RotatingFile] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """A thread of the parent may have been writing or rotating."""
    for file in list(_files):
        file._start_over()


def _at_exit() -> None:
    for file in list(_files):
        file.finish(0.0)


atexit.register(_at_exit)

on_fork(in_child=_after_fork_in_child)
