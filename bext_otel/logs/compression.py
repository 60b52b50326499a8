"""Compressing the rotated files of a log, by a thread, at once."""

from __future__ import annotations

import gzip
import os
import shutil
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bext_otel.logs.generations import Generations, is_locked_by_us, rotation_lock
from bext_otel.process import on_fork
from bext_otel.regular_files import create_file, open_file
from bext_otel.threads import start

__all__ = ["Compression"]

SETTLED_SECONDS = 60.0
"""For how long a file that was compressed is looked at for lines of a process that was interrupted between
finding its file in place and writing to it."""

_PAUSE_SECONDS = 0.25
_LEVEL = 6
_TRIES = 40
_SUFFIX = ".gz.tmp"


class _Followed(NamedTuple):
    """A file that was compressed, and is gone but for us: what of it is in `target` already, and until when
    it is looked at."""

    source: int
    target: int
    size: int
    until: float


class Compression:
    """Has the files of `generations` compressed when it is asked to. One thread, which ends when there is
    nothing left to do.

    A file is compressed beside, and takes the other's place under the rotation lock, which is held for as
    long as two renames take; a process that dies in the middle leaves the file as it was, and the next one
    does it again. Two processes never have the same: who compresses holds a lock on the file itself. A line
    that comes late is appended, as another member of the gzip file.
    """

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self._followed: list[_Followed] = []
        self.start_over()
        _all.add(self)

    def start_over(self) -> None:
        """In a forked child: the parent's thread goes on there."""
        self._lock = threading.RLock()
        self._asked = self._runs = False
        while self._followed:
            _let_go(self._followed.pop())

    def ask(self) -> None:
        """There may be something to compress. Where no thread can be started, files stay as they are."""
        with self._lock:
            self._asked = True
            if not self._runs:
                self._runs = start(self._run, name="bext-log-gzip") is not None

    @property
    def is_idle(self) -> bool:
        """Is all compressed that was there to compress?"""
        return not self._asked or not self._runs

    def _run(self) -> None:
        while True:
            time.sleep(_PAUSE_SECONDS)
            if self._asked:
                with suppress(OSError):  # no room, no right: what can't be compressed stays as it is
                    self._sweep()
                    for path in self._generations.plain():
                        self._compress(path)
                self._asked = False
            self._followed = [each for each in map(_caught_up, self._followed) if each is not None]
            with self._lock:
                if not (self._followed or self._asked):
                    self._runs = False
                    return

    def _compress(self, path: Path) -> None:
        try:
            source = open_file(path, os.O_RDONLY)
        except OSError:  # it has been moved on meanwhile, or is a link
            return
        target, unfinished = -1, path.with_name(f"{path.name}{_SUFFIX}")
        try:
            if not is_locked_by_us(source):
                return
            found = os.fstat(source)
            unfinished = self._generations.path.with_name(
                f"{self._generations.path.name}.{found.st_ino}{_SUFFIX}"
            )
            target = create_file(unfinished)
            size = _append_member(source, target, 0)
            # So that it is as old as it was.
            os.utime(unfinished, ns=(found.st_atime_ns, found.st_mtime_ns))
            if self._put_in_place(unfinished, found.st_ino):
                self._followed.append(_Followed(source, target, size, time.monotonic() + SETTLED_SECONDS))
                source = target = -1
        finally:
            with suppress(OSError):
                unfinished.unlink()
            for fd in (source, target):
                if fd >= 0:
                    os.close(fd)

    def _put_in_place(self, made: Path, inode: int) -> bool:
        """Replace the file, wherever it has moved to meanwhile; False if it is gone."""
        for _ in range(_TRIES):
            with rotation_lock(self._generations.path) as lock:
                if lock is not None:
                    for path in self._generations.plain():
                        if path.lstat().st_ino == inode:
                            made.replace(path.with_name(f"{path.name}.gz"))
                            path.unlink()
                            return True
                    return False
            time.sleep(_PAUSE_SECONDS / 10)
        return False

    def _sweep(self) -> None:
        """Remove what those have left that were killed while they compressed."""
        log = self._generations.path
        for path in log.parent.glob(f"{log.name.replace('[', '[[]')}.*{_SUFFIX}"):
            with suppress(OSError):
                if time.time() - path.lstat().st_mtime > SETTLED_SECONDS:
                    path.unlink()


def _append_member(source: int, target: int, begin: int) -> int:
    """Compress what a file has from `begin` on; how large it is."""
    with (
        os.fdopen(os.dup(source), "rb") as reader,
        os.fdopen(os.dup(target), "ab") as made,
        gzip.GzipFile("", "ab", compresslevel=_LEVEL, fileobj=made) as writer,
    ):
        reader.seek(begin)
        shutil.copyfileobj(reader, writer)
        return reader.tell()


def _caught_up(followed: _Followed) -> _Followed | None:
    """With what has come since; None when nothing will any more."""
    source, target, size, until = followed
    with suppress(OSError):  # no room; it is tried again while there is time
        if os.fstat(source).st_size > size:
            size = _append_member(source, target, size)
    if time.monotonic() < until:
        return _Followed(source, target, size, until)
    _let_go(followed)
    return None


def _let_go(followed: _Followed) -> None:
    for fd in (followed.source, followed.target):
        with suppress(OSError):
            os.close(fd)


_all: weakref.WeakSet[Compression] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for each in list(_all):
        each.start_over()


on_fork(in_child=_after_fork_in_child)
