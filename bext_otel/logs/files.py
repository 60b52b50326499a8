"""A log file that rotates by size, also when several processes write it, and that survives being moved by somebody else."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import sys
import threading
import weakref
from pathlib import Path

from bext_otel.logs.outputs import WholeLines

if sys.platform != "win32":
    import fcntl

__all__ = ["RotatingFile"]


class RotatingFile:
    """`path`, appended to; past `max_bytes` (0: never) it becomes `path.1`, `path.1` becomes `path.2`, and so on up to `keep` files.

    `logging.handlers.RotatingFileHandler` rotates once for each process that writes, and loses lines doing so. Here each line is one
    append, each process notices by the inode that the file was replaced, and a lock file lets one process at a time rotate; who doesn't
    get it goes on writing. With `compress`, files from `path.2` on are gzipped: nobody can be writing to those any more.
    """

    def __init__(self, path: str | Path, *, max_bytes: int = 0, keep: int = 5, compress: bool = False) -> None:
        self.path = Path(path).absolute()
        self.name = str(self.path)
        self._max_bytes = max_bytes
        self._keep = max(1, keep)
        self._compress = compress
        self._fd: int | None = None
        self._lines = WholeLines()
        self._start_over()
        _files.add(self)

    def _start_over(self) -> None:
        self._lock = threading.RLock()

    def write(self, line: bytes) -> None:
        """Append a line. Raises OSError if that isn't possible."""
        with self._lock:
            fd, size = self._current()
            if self._is_full(size, line) and self._rotate(line):
                fd, _ = self._current()
            self._lines.write(lambda data: os.write(fd, data), line)

    def open(self) -> None:
        """Open the file now, to find out whether that is possible. Raises OSError."""
        with self._lock:
            self._current()

    def close(self) -> None:
        """Let go of the file; the next line opens it again."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _current(self) -> tuple[int, int]:
        """A descriptor of the file that is at `path` now, and its size in bytes."""
        if self._fd is not None:
            mine = os.fstat(self._fd)
            try:
                there = self.path.stat()
            except FileNotFoundError:
                there = None
            if there is not None and (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                return self._fd, there.st_size
            self.close()
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        return self._fd, os.fstat(self._fd).st_size

    def _is_full(self, size: int, line: bytes) -> bool:
        return 0 < self._max_bytes < size + len(line) and size > 0

    def _rotate(self, line: bytes) -> bool:
        """Move the files on by one; False if another process is at it."""
        lock = _locked(self.path.with_name(self.path.name + ".lock"))
        if lock is None:
            return False
        handed_over = False
        try:
            _, size = self._current()  # another process may have been faster
            if self._is_full(size, line):
                self._shift()
            if self._compress and (old := self._numbered(2)).exists():
                threading.Thread(target=_compress, args=(old, lock), name="bext-log-gzip", daemon=True).start()
                handed_over = True
        finally:
            if not handed_over:
                _unlock(lock)
        return True

    def _shift(self) -> None:
        rotated = re.compile(re.escape(self.path.name) + r"\.(\d{1,9})(\.gz)?")
        there = [found for name in os.listdir(self.path.parent) if (found := rotated.fullmatch(name)) is not None]  # noqa: PTH208  # names, not paths
        for found in sorted(there, key=lambda found: int(found[1]), reverse=True):
            number, suffix = int(found[1]), found[2] or ""
            if number >= self._keep:
                self._numbered(number, suffix).unlink()
            else:
                self._numbered(number, suffix).replace(self._numbered(number + 1, suffix))
        # Last, because from here on other processes write to a new file, and may want to rotate that.
        self.path.replace(self._numbered(1))

    def _numbered(self, number: int, suffix: str = "") -> Path:
        return self.path.with_name(f"{self.path.name}.{number}{suffix}")


def _locked(path: Path) -> int | None:
    """A descriptor that holds an exclusive lock until it is closed; None if somebody else has it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
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


def _compress(path: Path, lock: int) -> None:
    """Replace `path` with its gzipped self; the lock, held meanwhile, keeps others from renaming it."""
    unfinished = path.with_name(path.name + ".gz.tmp")
    try:
        with path.open("rb") as source, gzip.open(unfinished, "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target)
        unfinished.replace(path.with_name(path.name + ".gz"))
        path.unlink()
    except OSError:  # no room, most likely: the file stays as it is
        unfinished.unlink(missing_ok=True)
    finally:
        _unlock(lock)


_held: set[int] = set()
_files: weakref.WeakSet[RotatingFile] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """A thread of the parent may have been writing or rotating; the file's descriptor itself is good for both."""
    while _held:
        # Or the lock would last as long as the child.
        os.close(_held.pop())
    for file in list(_files):
        file._start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
