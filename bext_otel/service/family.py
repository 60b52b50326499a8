"""Services apart from ours that one has started, or whose common forebear has telemetry too: a launcher, the
server that it starts by subprocess, and another one beside that.

They count apart. What they have in common is a machine's port, and whoever looks for them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePath
from typing import NamedTuple

from bext_otel.service import file_format as layout
from bext_otel.service import memfd as memory
from bext_otel.service.procfs import Proc

__all__ = ["Relative", "called", "relatives_apart"]

GENERATIONS = 32
"""How far up we look."""
MOST_LOOKED_AT = 512
"""How many processes are looked at."""

_NAMES = 80


class Relative(NamedTuple):
    """Another service: the first of its processes that was found, its name, what is posted on its board, and
    the secret of those who can read that. `above` says that this process comes from it."""

    pid: int
    service: str
    notice: bytes
    secret: bytes
    above: bool


def relatives_apart(proc: Proc, own: tuple[int, int]) -> list[Relative]:
    """The services around that of this process, whose file is `own` (device, inode); only those of processes
    that we may look at. Takes some milliseconds for a hundred processes."""
    found: dict[tuple[int, int], Relative] = {}
    line = list(_line(os.getpid(), proc))
    top = line[0]
    for pid in line:
        # Whatever has neither our file nor one of that kind is a shell, a supervisor, a container's first
        # process: those below have nothing to do with each other.
        if _look(pid, proc, own, found, above=True):
            top = pid
    waiting, left = deque([top]), MOST_LOOKED_AT
    while waiting and left:
        left -= 1
        pid = waiting.popleft()
        waiting.extend(proc.children(pid))
        if pid not in line:
            _look(pid, proc, own, found, above=False)
    return list(found.values())


def called(pid: int, proc: Proc) -> str:
    """What a process runs, in a few words and without its arguments, which may hold secrets: `uvicorn`,
    `python -m shop`."""
    words = [word for word in proc.arguments(pid) if word]
    if not words:
        return "?"
    # A process that has named itself may have its arguments in there.
    program, rest = PurePath(words[0].split(" ")[0].rstrip(":")).name, words[1:]
    if program.startswith("python") and rest:
        if rest[0] == "-m" and len(rest) > 1:
            program = f"python -m {rest[1]}"
        elif not rest[0].startswith("-"):
            program = PurePath(rest[0]).name
    return "".join(letter if letter.isprintable() else "?" for letter in program[:_NAMES])


def _line(pid: int, proc: Proc) -> Iterator[int]:
    """This process and those above it."""
    for _ in range(GENERATIONS):
        if pid <= 0:  # the parent is outside this namespace
            return
        yield pid
        stat = proc.stat(pid)
        pid = stat.parent if stat is not None else 0


def _look(
    pid: int, proc: Proc, own: tuple[int, int], found: dict[tuple[int, int], Relative], *, above: bool
) -> bool:
    """Whether a process has our file, or one of that kind, which is kept."""
    has = False
    with suppress(OSError):  # it is gone, or another user's
        for directory, name, target in proc.opened(pid):
            if not memory.is_ours(target):
                continue
            status = os.stat(name, dir_fd=directory)
            identity = status.st_dev, status.st_ino
            # Ours is not opened: closing it again would drop the locks of this process.
            if identity == own or identity in found:
                has = True
            elif (other := _read(name, directory, pid, above=above)) is not None:
                found[identity] = other
                has = True
    return has


def _read(name: str, directory: int, pid: int, *, above: bool) -> Relative | None:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        start = os.pread(descriptor, layout.MARKS, 0)
    finally:
        os.close(descriptor)
    service = layout.service_of(start)
    if service is None:
        return None
    secret = start[layout.SECRET : layout.SECRET + layout.SECRET_BYTES]
    return Relative(
        pid, service.decode("utf-8", "replace"), layout.notice_in(start[layout.NOTICE :]), secret, above
    )
