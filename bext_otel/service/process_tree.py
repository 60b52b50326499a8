"""How a process came to be, and which others are of the same service.

A service is a tree of processes: forks, and programs that `multiprocessing` or gunicorn (on an upgrade, USR2)
execute to go on with the same work. Any other program that is executed begins a service of its own, so a
script that a worker runs is apart, and so are two servers that one script starts. Nothing else tells this
apart: environment variables reach nested programs, sessions and process groups hold several services.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from bext_otel.helpers import is_helper, runs
from bext_otel.service.procfs import Proc, Stat

__all__ = ["Kind", "Origin", "commands", "is_spawned", "line", "origin_of", "relatives"]

Kind = Literal["inert", "joins", "forked", "new", "unknown"]

GENERATIONS = 16
"""How far up a line is followed."""
RELATIVES = 4096
"""How many processes of a service are looked at."""


class Origin(msgspec.Struct, frozen=True):
    """How a process came to be.

    inert: a helper that does no work of the application. joins: a program executed to go on with its parent's
    service. forked: a fork that is only set up now; one that was set up before the fork has all it needs from
    there. new: begins a service. unknown: this system doesn't tell; `reason` says why. `line` are the
    processes above of the same service, nearest first.
    """

    kind: Kind
    line: tuple[int, ...] = ()
    reason: str = ""


def origin_of(
    argv: Sequence[str], environ: Mapping[str, str], proc: Proc, *, pid: int, starting: bool = False
) -> Origin:
    """How this process came to be.

    Args:
        argv: the whole command line, as `sys.orig_argv`.
        starting: the interpreter is still starting (sitecustomize is being imported), so this is no fork,
            whatever the numbers say.
    """
    if is_helper(argv):
        return Origin("inert", reason="multiprocessing's resource tracker takes no part")
    me = proc.stat(pid)
    if me is None:
        return Origin("unknown", reason=f"{proc.root} does not tell how this process was started")
    if is_spawned(argv) or environ.get("GUNICORN_PID") == str(me.parent):
        return Origin("joins", tuple(line(me.parent, proc)))
    if not starting and not me.stack:
        return Origin(
            "unknown", reason=f"{proc.root}/{pid}/stat does not tell whether this process is a fork"
        )
    if not starting and _fork_of(me, proc.stat(me.parent)):
        return Origin("forked", tuple(line(me.parent, proc)))
    return Origin("new")


def relatives(ancestor: int, proc: Proc) -> Iterator[int]:
    """The processes below this one that belong to its service, nearest first."""
    waiting, seen = deque([ancestor]), 0
    while waiting and seen < RELATIVES:
        for child in proc.children(waiting.popleft()):
            if _continues(child, proc):
                waiting.append(child)
                seen += 1
                yield child


def line(pid: int, proc: Proc) -> Iterator[int]:
    """This process and those above it of the same service, nearest first."""
    for _ in range(GENERATIONS):
        if pid <= 0:  # the parent is outside this namespace
            return
        yield pid
        if not _continues(pid, proc):
            return
        stat = proc.stat(pid)
        pid = stat.parent if stat is not None else 0


def commands(proc: Proc) -> Iterator[Sequence[str]]:
    """The command lines that launched this process: its own, and where it goes on with the work of the
    processes above it, theirs."""
    # A server that has an interpreter in it, as uWSGI, names itself there.
    yield sys.orig_argv or [sys.executable]
    above = line(os.getpid(), proc)
    next(above, None)
    yield from map(proc.arguments, above)


def _continues(pid: int, proc: Proc) -> bool:
    """Whether this process belongs to the service of its parent. Cheap questions first: many are asked."""
    stat = proc.stat(pid)
    return stat is not None and (
        _fork_of(stat, proc.stat(stat.parent))
        or is_spawned(proc.arguments(pid))
        or proc.environ(pid).get("GUNICORN_PID") == str(stat.parent)
    )


def _fork_of(child: Stat, parent: Stat | None) -> bool:
    """The kernel's flag says that it is a fork, but not whose: the process that made it may be gone, and a
    stranger its parent now, as after becoming a daemon. A stranger has other addresses. Where they are hidden
    (a worker gave up root), the same session must do."""
    if not child.forked or parent is None:
        return False
    if child.stack and parent.stack:
        return (child.stack, child.arguments) == (parent.stack, parent.arguments)
    return child.session == parent.session


def is_spawned(argv: Sequence[str]) -> bool:
    """Whether a command line is that of a child which `multiprocessing` spawned, or of its fork server."""
    return "--multiprocessing-fork" in argv or runs(argv, "multiprocessing.forkserver")
