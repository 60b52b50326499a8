"""The services around ours, as far as the endpoints are concerned: which of them has our port, and where each
can be asked."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bext_otel.endpoints.handover import Link
from bext_otel.endpoints.notice import Notice
from bext_otel.service.board import Board
from bext_otel.service.family import Relative, called, relatives_apart
from bext_otel.service.procfs import Proc

__all__ = ["Other", "link_to_holder", "others", "told_apart"]


@dataclass(frozen=True)
class Other:
    """Another service: its name, one of its processes and what that runs, and the address of its endpoints,
    empty if it has none."""

    service: str
    pid: int
    command: str
    address: str


def link_to_holder(board: Board, host: str, port: int, rank: int) -> tuple[Link, Notice] | None:
    """A link to the relative that has this address, and what it says of itself; None if none has."""
    for relative in relatives_apart(Proc(), board.identity):
        notice = Notice.decode(relative.notice)
        if notice is not None and notice.holds and (notice.host, notice.port) == (host, port):
            link = Link.to(notice, relative.secret, rank=rank, sibling=False)
            if link is not None:
                return link, notice
    return None


def told_apart(address: str, notice: Notice) -> str:
    """The line of a process that serves, and whose port is that of another one that does."""
    holder = f"process {notice.pid} ({called(notice.pid, Proc())})"
    return (
        f"the endpoints at {address} are those of {holder}, which serves as well; the requests of this "
        f"process ({os.getpid()}) are not on that page: set OTEL_EXPORTER_PROMETHEUS_PORT for one of them"
    )


def others(board: Board | None, host: str, port: int) -> list[Other]:
    """The services around ours, which has this address; by process id."""
    if board is None or board.alone:
        return []
    proc = Proc()
    found = relatives_apart(proc, board.identity)
    return sorted((_other(one, proc, (host, port)) for one in found), key=lambda other: other.pid)


def _other(relative: Relative, proc: Proc, ours: tuple[str, int]) -> Other:
    notice, address = Notice.decode(relative.notice), ""
    if notice is not None and notice.holds and (notice.host, notice.port) != ours and proc.stat(notice.pid):
        address = f"[{notice.host}]:{notice.port}" if ":" in notice.host else f"{notice.host}:{notice.port}"
    return Other(relative.service, relative.pid, called(relative.pid, proc), address)
