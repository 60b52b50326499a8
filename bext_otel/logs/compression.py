"""Compressing the rotated files of a log, by a thread, at once."""

from __future__ import annotations

import gzip
import os
import shutil
import threading
import time
import weakref
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from bext_otel.logs.generations import Generations, is_locked_by_us, rotation_lock
from bext_otel.process import on_fork
from bext_otel.regular_files import create_file, open_file
from bext_otel.threads import start

__all__ = ["Compression"]

_ABANDONED_SECONDS = 60.0
_PAUSE_SECONDS = 0.25
_LEVEL = 6
_TRIES = 40
_SUFFIX = ".gz.tmp"


class Compression:
    """Has the files of `generations` compressed when it is asked to. One thread, which ends when there is
    nothing left to do.

    A file is compressed beside, and takes the other's place under the rotation lock, which is held for as
    long as two renames take; a process that dies in the middle leaves the file as it was, and the next one
    does it again. Two processes never have the same: who compresses holds a lock on the file itself. A line
    that came meanwhile is appended, as another member of the gzip file; who writes later finds the file gone.
    """

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self.start_over()
        _all.add(self)

    def start_over(self) -> None:
        """In a forked child: the parent's thread goes on there."""
        self._lock = threading.RLock()
        self._asked = self._runs = False

    def ask(self) -> None:
        """There may be something to compress. Where no thread can be started, files stay as they are."""
        with self._lock:
            self._asked = True
            if not self._runs:
                self._runs = start(self._run, name="bext-log-gzip") is not None

    @property
    def is_idle(self) -> bool:
        """Is nothing done now?"""
        return not self._runs

    def _run(self) -> None:
        while True:
            self._asked = False
            with suppress(OSError):  # no room, no right: what can't be compressed stays as it is
                # Whoever found one of these in its place has written to it by then.
                moved = {path.lstat().st_ino for path in self._generations.plain()}
                time.sleep(_PAUSE_SECONDS)
                self._sweep()
                for path in self._generations.plain():
                    self._compress(path, moved)
            with self._lock:
                if not self._asked:
                    self._runs = False
                    return

    def _compress(self, path: Path, moved: Container[int]) -> None:
        try:
            source = open_file(path, os.O_RDONLY)
        except OSError:  # it has been moved on meanwhile, or is a link
            return
        target, unfinished = -1, path.with_name(f"{path.name}{_SUFFIX}")
        try:
            found = os.fstat(source)
            if found.st_ino not in moved or not is_locked_by_us(source):
                return
            unfinished = self._generations.path.with_name(
                f"{self._generations.path.name}.{found.st_ino}{_SUFFIX}"
            )
            target = create_file(unfinished)
            size = _append_member(source, target, 0)
            # So that it is as old as it was.
            os.utime(unfinished, ns=(found.st_atime_ns, found.st_mtime_ns))
            if self._put_in_place(unfinished, found.st_ino) and os.fstat(source).st_size > size:
                # Who writes later than this finds the file gone, and writes once more.
                _append_member(source, target, size)
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
                if time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS:
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


_all: weakref.WeakSet[Compression] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for each in list(_all):
        each.start_over()


on_fork(in_child=_after_fork_in_child)
