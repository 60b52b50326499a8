"""Which file this process shares with the other workers of its service: that of the processes it comes from,
or one that it makes."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from zlib import crc32

from bext_otel.process import on_fork
from bext_otel.service import file_format as layout
from bext_otel.service import memfd as memory
from bext_otel.service.process_tree import Origin, relatives
from bext_otel.service.procfs import Proc
from bext_otel.service.shared_file import SharedFile

__all__ = ["find"]

PATIENCE_SECONDS = 0.5
"""How long siblings wait for the one that is making their file, which takes it a millisecond. It may have
been stopped."""
_PAUSE_SECONDS = 0.002

Found = tuple[SharedFile | None, str]
"""The file; or None, and why this process stands alone."""


def find(birth: Origin, proc: Proc, service: str) -> Found:
    """The file to share. Waits for siblings, seldom, and at most `PATIENCE_SECONDS`."""
    if birth.kind == "new":
        # Forks that it made before it was set up, or before it lost the file, may have met without it.
        me = os.getpid()
        return _meet(me, proc, service) if proc.children(me) else SharedFile.create(service)
    if birth.kind not in ("joins", "forked"):
        return None, birth.reason
    for pid in birth.line:
        try:
            arena = _of(pid, proc, None)
        except PermissionError as exc:
            # The file may be there. Making another would split the service, and each part would take itself
            # for the whole.
            return (
                None,
                f"what process {pid} shares with its workers can't be read ({exc.strerror}): has one of "
                "them changed its user?",
            )
        if arena is not None:
            return arena, ""
    if not birth.line:
        return None, "the parent of this process can't be seen"
    return _meet(birth.line[-1], proc, service)


def _meet(ancestor: int, proc: Proc, service: str) -> Found:
    """Nobody above has a file, so those below one ancestor share one, which the first of them makes."""
    root = proc.stat(ancestor)
    name = f"bext-otel/{proc.namespace()}/{ancestor}/{root.started if root else 0}/{crc32(_key(service)):08x}"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = _among_relatives(ancestor, proc, service)
        if found is not None:
            return found
        with _turn(name) as ours:
            if ours:
                # Between looking and getting the turn another may have made it.
                return _among_relatives(ancestor, proc, service) or SharedFile.create(service)
        if time.monotonic() > deadline:
            return (
                None,
                f"another worker of process {ancestor} began to make the memory that they share, and did "
                "not finish",
            )
        time.sleep(_PAUSE_SECONDS)


def _among_relatives(ancestor: int, proc: Proc, service: str) -> Found | None:
    refused = None
    for pid in relatives(ancestor, proc):
        if pid == os.getpid():
            continue
        try:
            arena = _of(pid, proc, service)
        except PermissionError as exc:
            refused = (
                f"what process {pid} shares with other workers can't be read ({exc.strerror}): has it "
                "changed its user?"
            )
            continue
        if arena is not None:
            return arena, ""
    return (None, refused) if refused is not None else None


def _of(pid: int, proc: Proc, service: str | None) -> SharedFile | None:
    """The file that this process has. Between relatives the service's name counts: Apache forks the workers
    of all its applications."""

    def wanted(descriptor: int) -> bool:
        name = memory.service_of(descriptor)
        return name is not None and (service is None or name == _key(service))

    descriptor = memory.held_by(pid, proc, wanted)
    if descriptor is None:
        return None
    arena = SharedFile(descriptor)
    try:
        arena.join()
    except OSError:
        arena.close()
        raise
    return arena


def _key(service: str) -> bytes:
    """The name as the file has it."""
    return layout.service_of(layout.beginning(service)) or b""


@contextmanager
def _turn(name: str) -> Iterator[bool]:
    """Whether it is this process's turn, among those that ask for this name: it has bound the name in the
    kernel's abstract socket names, which leave no file behind and are gone with the process."""
    import socket

    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as bound, ExitStack() as undoing:
        undoing.callback(on_fork(in_child=bound.close))
        try:
            bound.bind("\0" + name)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
            yield False
        else:
            yield True
