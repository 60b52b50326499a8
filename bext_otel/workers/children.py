"""The end of a child of `multiprocessing`: it leaves by `os._exit`, so that exit handlers never run there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from bext_otel.process import Undo, on_fork
from bext_otel.workers.lineage import is_spawned

__all__ = ["at_end_of_children"]

# Before multiprocessing's own finalizers, which have lower priorities: its queues and pools may still be needed.
_PRIORITY = 100


class _Anchor:
    """What multiprocessing ties its after-fork call to: while this lives, the call is made."""


def at_end_of_children(call: Callable[[], object]) -> Undo:
    """Have `call` made at the end of this process if `multiprocessing` spawned it, and at the end of each that it forks from here on."""
    anchor = _Anchor()
    hooked = False

    def hook(util: Any) -> None:
        nonlocal hooked
        if not hooked:
            hooked = True
            # A child forgets all finalizers when it begins, spawned or forked, and makes these calls next.
            util.register_after_fork(anchor, lambda _: util.Finalize(None, call, exitpriority=_PRIORITY))

    def before_fork() -> None:
        # Only a process that has imported it can be about to fork by it.
        if (util := sys.modules.get("multiprocessing.util")) is not None:
            hook(util)

    if is_spawned(sys.orig_argv):
        from multiprocessing import util

        hook(util)
    return on_fork(before=before_fork)
