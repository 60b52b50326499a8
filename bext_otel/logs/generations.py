"""The rotated files of a log: which there are, how they move on, and which of them go."""

from __future__ import annotations

import itertools
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeAlias

from bext_otel.process import on_fork
from bext_otel.regular_files import open_file

if sys.platform != "win32":
    import fcntl

__all__ = ["Generations", "When", "is_locked_by_us", "next_period", "period", "rotation_lock"]

When: TypeAlias = Literal["", "hourly", "midnight"]
"""At which moments of local time a file is rotated; empty: at none."""

_HOUR = 3600.0


def period(when: When, now: float) -> float:
    """When the hour, or the day, of the moment `now` began, by the local clock; seconds since the epoch."""
    local = time.localtime(now)
    if when == "hourly":
        return now // 1 - local.tm_min * 60 - local.tm_sec
    return time.mktime((local.tm_year, local.tm_mon, local.tm_mday, 0, 0, 0, 0, 0, -1))


def next_period(when: When, now: float) -> float:
    """When the next one begins."""
    if when == "hourly":
        return period(when, now) + _HOUR
    local = time.localtime(now)
    return time.mktime((local.tm_year, local.tm_mon, local.tm_mday + 1, 0, 0, 0, 0, 0, -1))


class Generations:
    """`path.1`, the newest, to `path.N`; some of them `.gz`. At most `keep` stay, none that was last written
    to more than `max_age_seconds` ago (0: however old).

    What moves or removes one is called under the `rotation_lock`. A process that is killed in the middle of
    `shift` leaves a number free, or a file both plain and compressed; the next one goes on from there.
    """

    def __init__(
        self, path: Path, *, keep: int, max_age_seconds: float = 0.0, wall: Callable[[], float] = time.time
    ) -> None:
        self.path = path
        self._keep = max(1, keep)
        self._max_age_seconds = max_age_seconds
        self._wall = wall
        self._pattern = re.compile(re.escape(path.name) + r"\.(\d{1,9})(\.gz)?")

    def numbered(self, number: int, suffix: str = "") -> Path:
        """The path of one."""
        return self.path.with_name(f"{self.path.name}.{number}{suffix}")

    def shift(self) -> None:
        """Make room for the file itself, and let it be the newest. Raises OSError."""
        found = self._repaired()
        taken = {number for number, _ in found}
        free = min(self._keep, next(number for number in itertools.count(1) if number not in taken))
        for number, suffix in sorted(found, reverse=True):
            if number > self._keep or number == free == self._keep:
                self.numbered(number, suffix).unlink()
            elif number < free:
                self.numbered(number, suffix).replace(self.numbered(number + 1, suffix))
        # Last, because from here on other processes write to a new file, and may want to rotate that.
        self.path.replace(self.numbered(1))

    def prune(self) -> None:
        """Remove those that are too old. Raises OSError."""
        if self._max_age_seconds:
            oldest = self._wall() - self._max_age_seconds
            for number, suffix in self._found():
                each = self.numbered(number, suffix)
                if each.lstat().st_mtime < oldest:
                    each.unlink()

    def plain(self) -> list[Path]:
        """Those that are not compressed, the oldest first. Raises OSError."""
        return [self.numbered(number) for number, suffix in sorted(self._found(), reverse=True) if not suffix]

    def _found(self) -> list[tuple[int, str]]:
        """Number and suffix of each."""
        matches = (self._pattern.fullmatch(path.name) for path in self.path.parent.iterdir())
        return [(int(match[1]), match[2] or "") for match in matches if match is not None]

    def _repaired(self) -> list[tuple[int, str]]:
        """The same. Where one is there twice, who compressed it was killed before it removed what it had
        compressed, which may have got a line since."""
        found = self._found()
        for number in [number for number, suffix in found if suffix and (number, "") in found]:
            self.numbered(number, ".gz").unlink()
            found.remove((number, ".gz"))
        return found


@contextmanager
def rotation_lock(path: Path) -> Iterator[int | None]:
    """A descriptor of the lock file that belongs to a log, locked within the body; None if another process,
    or thread, has it. The system lets go of it when a process dies. Raises OSError."""
    fd = open_file(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT)
    _held.add(fd)
    try:
        yield fd if is_locked_by_us(fd) else None
    finally:
        _held.discard(fd)
        os.close(fd)


def is_locked_by_us(fd: int) -> bool:
    """Lock the open file, unless somebody else has; whether that is done. Until all its descriptors are
    closed."""
    if sys.platform == "win32":  # one process for each file, then
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


_held: set[int] = set()


def _after_fork_in_child() -> None:
    """Or the lock would last as long as the child."""
    while _held:
        with suppress(OSError):
            os.close(_held.pop())


on_fork(in_child=_after_fork_in_child)
