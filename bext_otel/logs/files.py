"""A log file that rotates by size, also when several processes write it, and that survives being moved by
somebody else."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from bext_otel.logs.outputs import WholeLines, write_stderr
from bext_otel.process import on_fork
from bext_otel.regular_files import create_file, open_file
from bext_otel.threads import start

if sys.platform != "win32":
    import fcntl

__all__ = ["NullDevice", "RotatingFile"]

SETTLED_SECONDS = 60.0
"""How long nobody must have written to a rotated file before it is compressed."""

# For how long, and how much, a file that was found in its place is taken to be there still. Whoever moves it
# and compresses it at once needs longer than that to start the program that does.
_TRUSTED_SECONDS, _TRUSTED_BYTES = 0.005, 65_536


class NullDevice:
    """The null device, where an operator names it: lines go nowhere, and cost what they cost."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._fd = os.open(os.devnull, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0))

    def write(self, line: bytes) -> None:
        """See `Output`."""
        os.write(self._fd, line)


class RotatingFile:
    """`path`, appended to; past `max_bytes` (0: never) it becomes `path.1`, `path.1` becomes `path.2`, and so
    on up to `keep` files.

    `logging.handlers.RotatingFileHandler` rotates once for each process that writes, and loses lines doing
    so. Here each line is one append, each process notices by the inode that the file was replaced, and a lock
    file lets one process at a time rotate; who doesn't get it goes on writing. With `compress`, rotated files
    are gzipped, a while after the last line was written to them: a process may have been interrupted between
    finding its file in place and writing to it. By `clock`, a file is looked for again after 5 ms, since two
    more calls into the system cost as much as all the rest of a line.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_bytes: int = 0,
        keep: int = 5,
        compress: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = Path(path).absolute()
        self.name = str(self.path)
        self._max_bytes = max_bytes
        self._keep = max(1, keep)
        self._compress = compress
        self._fd: int | None = None
        self._append: Callable[[bytes], int] = len
        self._clock = clock
        self._told = False
        self._lines = WholeLines()
        self._start_over()
        _files.add(self)

    def _start_over(self) -> None:
        self._lock = threading.RLock()
        self._trusted_bytes, self._trusted_until = 0, 0.0

    def write(self, line: bytes) -> None:
        """Append a line. Raises OSError if that isn't possible."""
        with self._lock:
            length = len(line)
            if self._trusted_bytes > length and self._clock() < self._trusted_until:
                self._trusted_bytes -= length
            else:
                self._look(line)
            try:
                self._lines.write(self._append, line)
            except OSError:
                self._trusted_bytes = 0
                raise

    def _look(self, line: bytes) -> None:
        """Have the file that is to take `line` open."""
        self._trusted_bytes = 0
        size = self._current()
        if self._is_full(size, line) and self._rotated_for(line):
            size = self._current()
        # What other processes write meanwhile is not seen: near the end, the size is looked at for each line.
        room = self._max_bytes - size - len(line) - _TRUSTED_BYTES if self._max_bytes else _TRUSTED_BYTES
        self._trusted_bytes = min(room, _TRUSTED_BYTES)
        self._trusted_until = self._clock() + _TRUSTED_SECONDS

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
        return os.fstat(fd).st_size

    def _is_full(self, size: int, line: bytes) -> bool:
        return 0 < self._max_bytes < size + len(line) and size > 0

    def _rotated_for(self, line: bytes) -> bool:
        try:
            return self._rotate(line)
        except OSError as exc:  # a line in a file that is too large is better than no line
            if not self._told:
                self._told = True
                write_stderr(f"log file {self.name} can't be rotated ({exc}); it grows until it can")
            return False

    def _rotate(self, line: bytes) -> bool:
        """Move the files on by one; False if another process is at it."""
        lock = _locked(self.path.with_name(self.path.name + ".lock"))
        if lock is None:
            return False
        handed_over = False
        try:
            size = self._current()  # another process may have been faster
            if self._is_full(size, line):
                self._shift()
            if self._compress and (settled := self._settled()):
                # Where there can be no thread, they stay as they are.
                handed_over = start(_compress, settled, lock, name="bext-log-gzip") is not None
        finally:
            if not handed_over:
                _unlock(lock)
        return True

    def _shift(self) -> None:
        for number, suffix in sorted(self._rotated(), reverse=True):
            if number >= self._keep:
                self._numbered(number, suffix).unlink()
            else:
                self._numbered(number, suffix).replace(self._numbered(number + 1, suffix))
        # Last, because from here on other processes write to a new file, and may want to rotate that.
        self.path.replace(self._numbered(1))

    def _settled(self) -> list[Path]:
        """The rotated files to compress now."""
        latest = time.time() - SETTLED_SECONDS
        plain = [self._numbered(number) for number, suffix in self._rotated() if not suffix]
        return [path for path in plain if path.lstat().st_mtime < latest]

    def _rotated(self) -> list[tuple[int, str]]:
        """Number and suffix of each rotated file."""
        pattern = re.compile(re.escape(self.path.name) + r"\.(\d{1,9})(\.gz)?")
        found = [pattern.fullmatch(path.name) for path in self.path.parent.iterdir()]
        return [(int(match[1]), match[2] or "") for match in found if match is not None]

    def _numbered(self, number: int, suffix: str = "") -> Path:
        return self.path.with_name(f"{self.path.name}.{number}{suffix}")


def _locked(path: Path) -> int | None:
    """A descriptor that holds an exclusive lock until it is closed; None if somebody else has it."""
    fd = open_file(path, os.O_RDWR | os.O_CREAT)
    if sys.platform == "win32":  # one process for each file, then
        return fd
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    _held.add(fd)
    return fd


def _unlock(lock: int) -> None:
    _held.discard(lock)
    os.close(lock)


def _compress(paths: list[Path], lock: int) -> None:
    """Replace files by their gzipped selves; the lock, held meanwhile, keeps others from renaming them."""
    try:
        for path in paths:
            unfinished = path.with_name(path.name + ".gz.tmp")
            with (
                os.fdopen(open_file(path, os.O_RDONLY), "rb") as source,
                os.fdopen(create_file(unfinished), "wb") as made,
                gzip.GzipFile(path.name, "wb", compresslevel=6, fileobj=made) as target,
            ):
                shutil.copyfileobj(source, target)
            unfinished.replace(path.with_name(path.name + ".gz"))
            path.unlink()
    except OSError:  # no room, most likely: what isn't compressed stays as it is
        with suppress(OSError):
            unfinished.unlink()
    finally:
        _unlock(lock)


_held: set[int] = set()
_files: weakref.WeakSet[RotatingFile] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """A thread of the parent may have been writing or rotating; the file's descriptor itself is good for
    both."""
    while _held:
        # Or the lock would last as long as the child.
        os.close(_held.pop())
    for file in list(_files):
        file._start_over()


on_fork(in_child=_after_fork_in_child)
