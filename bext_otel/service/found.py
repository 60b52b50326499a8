"""The services of this machine, for who is no process of theirs: a command that somebody types beside
them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bext_otel.service import memfd as memory
from bext_otel.service.procfs import Proc
from bext_otel.service.shared_file import SharedFile

__all__ = ["FoundService", "services"]


class FoundService(NamedTuple):
    """A service: its name, the processes that take part, and what they share, which is open as long as
    somebody keeps this."""

    name: str
    pids: list[int]
    shared: SharedFile


def services(proc: Proc) -> list[FoundService]:
    """Those whose processes this user may look at. Takes some milliseconds for a hundred processes."""
    found: dict[tuple[int, int], FoundService] = {}
    for pid in _pids():
        if pid == os.getpid():
            continue
        descriptor = None
        with suppress(OSError):  # it is gone, or another user's
            descriptor = memory.held_by(pid, proc, lambda each: memory.service_of(each) is not None)
        if descriptor is None:
            continue
        shared = SharedFile(descriptor)
        if (known := found.get(shared.identity)) is not None:
            shared.close()
            known.pids.append(pid)
        else:
            name = (memory.service_of(descriptor) or b"").decode(errors="replace")
            found[shared.identity] = FoundService(name, [pid], shared)
    return list(found.values())


def _pids() -> Iterator[int]:
    with suppress(OSError):
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                yield int(entry.name)
