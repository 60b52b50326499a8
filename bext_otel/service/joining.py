"""Taking part in one's service: the one call that the rest of bext-otel makes."""

from __future__ import annotations

import os
import sys
from functools import partial

from bext_otel.process import on_fork
from bext_otel.service.board import Board
from bext_otel.service.process_tree import origin_of
from bext_otel.service.procfs import Proc
from bext_otel.service.rendezvous import find
from bext_otel.service.shared_file import SharedFile

__all__ = ["join_service"]

_current: Board | None = None


def join_service(service: str = "", *, proc: Proc | None = None) -> Board:
    """The ledger of the service that this process is part of. Never raises; where sharing is impossible it
    stands alone, and says why.

    Takes well below a millisecond in a process that begins a service, and a few in one that looks for its
    relatives. `service` is the service's name: it tells apart applications whose processes are forked by one
    server. Those of one family otherwise need no name. Close it before joining again: the kernel does not
    tell apart two owners of slots within one process.
    """
    global _current
    if _current is not None and not _current.closed:
        return Board(None, "this process takes part already: close the ledger it has first")
    search = partial(_search, service, proc or Proc())
    arena, reason = search()
    ledger = Board(arena, reason, again=search)
    ledger.on_close(on_fork(in_child=ledger.in_child))
    _current = ledger
    return ledger


def _search(service: str, proc: Proc) -> tuple[SharedFile | None, str]:
    try:
        birth = origin_of(sys.orig_argv, os.environ, proc, pid=os.getpid(), starting=_starting())
        return find(birth, proc, service)
    except (
        Exception
    ) as exc:  # telemetry must not keep an application from starting, whatever this system lacks
        return None, f"{type(exc).__name__}: {exc}"


def _starting() -> bool:
    """Whether the interpreter is still importing sitecustomize, where `opentelemetry-instrument` sets
    everything up."""
    spec = getattr(sys.modules.get("sitecustomize"), "__spec__", None)
    return bool(
        getattr(spec, "_initializing", False)
    )  # importlib's own mark; without it the process is asked, which works too
