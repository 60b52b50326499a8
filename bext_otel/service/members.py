"""Which processes are a service: those of its tree that have its file open, also those that have nothing to
say, as a server's master."""

from __future__ import annotations

import os

from bext_otel.service.process_tree import line, relatives
from bext_otel.service.procfs import Proc

__all__ = ["members"]


def members(proc: Proc, identity: tuple[int, int]) -> list[int]:
    """Process ids of those that have this file (device, inode) open, this one among them; without those that
    we may not look at.

    Takes a millisecond for a handful of processes.
    """
    me = os.getpid()
    *_, top = line(me, proc)
    return [pid for pid in (top, *relatives(top, proc)) if pid == me or _holds(pid, proc, identity)]


def _holds(pid: int, proc: Proc, identity: tuple[int, int]) -> bool:
    try:
        for directory, name, target in proc.opened(pid):
            # Files without a name: nothing else that a process has open need be asked.
            if target.endswith(" (deleted)"):
                status = os.stat(name, dir_fd=directory)
                if (status.st_dev, status.st_ino) == identity:
                    return True
    except OSError:  # it is gone, or another user's
        return False
    return False
