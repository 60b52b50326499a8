"""What /proc tells of processes: whose children they are, how they came to be, what they have open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

__all__ = ["Proc", "Stat"]

FORKED = 0x40
"""The kernel's PF_FORKNOEXEC (include/linux/sched.h): forked, and has executed no program since."""


class Stat(msgspec.Struct, frozen=True):
    """Fields of /proc/PID/stat (proc_pid_stat(5)). `cpu_ticks` is processor time, `started` when it began,
    both in clock ticks. `stack` and `arguments` are addresses, drawn anew by each exec and kept by a fork; 0
    where the kernel does not tell us, because the process belongs to somebody else."""

    parent: int
    session: int
    forked: bool
    cpu_ticks: int
    started: int
    stack: int
    arguments: int


class Proc:
    """Readers of one /proc. Whatever can't be read is answered by None or nothing, except where it says
    so."""

    def __init__(self, root: str = "/proc") -> None:
        self.root = Path(root)

    def stat(self, pid: int) -> Stat | None:
        """How this process stands to others; None if there is none, or no /proc."""
        try:
            # The name of the program stands in parentheses, and may hold some itself.
            fields = (self.root / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
            parent, session, flags, user, system, started, stack, arguments = (
                int(fields[at]) for at in (1, 3, 6, 11, 12, 19, 25, 45)
            )
        except (OSError, ValueError, IndexError):
            return None
        return Stat(parent, session, bool(flags & FORKED), user + system, started, stack, arguments)

    def arguments(self, pid: int) -> tuple[str, ...]:
        """The command line."""
        return self._strings(pid, "cmdline")

    def environ(self, pid: int) -> dict[str, str]:
        """The environment that the process was executed with."""
        return dict(entry.partition("=")[::2] for entry in self._strings(pid, "environ"))

    def children(self, pid: int) -> list[int]:
        """Its child processes."""
        found: list[int] = []
        try:
            for task in (self.root / str(pid) / "task").iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
                    found += map(int, (task / "children").read_text().split())
        except (OSError, ValueError):
            return []
        return found

    def namespace(self) -> str:
        """Which process ids are meant: those of two containers may be equal."""
        try:
            return str((self.root / "self/ns/pid").readlink())
        except OSError:
            return ""

    def opened(self, pid: int) -> Iterator[tuple[int, str, str]]:
        """What a process has open: a descriptor on the directory that lists it, the name there, and what it
        stands for. Opening the name below the descriptor can't meet another process that was given the same
        number.

        Raises:
            OSError: not allowed to look (PermissionError), or there is no such process.
        """
        directory = os.open(self.root / str(pid) / "fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in os.listdir(directory):  # noqa: PTH208  pathlib knows no descriptors
                with suppress(FileNotFoundError):  # closed meanwhile
                    yield directory, name, os.readlink(name, dir_fd=directory)
        finally:
            os.close(directory)

    def resident_pages(self, pid: int) -> int:
        """Pages of memory that are there (proc_pid_statm(5)). Raises OSError if there is no such process."""
        return int((self.root / str(pid) / "statm").read_bytes().split()[1])

    def open_count(self, pid: int) -> int:
        """How many descriptors a process has open; of one's own, with the one that looks. Raises OSError
        where we may not look, or there is no such process."""
        return len(os.listdir(self.root / str(pid) / "fd"))  # noqa: PTH208  twice as fast

    def _strings(self, pid: int, file: str) -> tuple[str, ...]:
        try:
            return tuple(os.fsdecode((self.root / str(pid) / file).read_bytes()).split("\0"))
        except OSError:
            return ()
