"""The end of a child process, where exit handlers never run, or too late.

A child of `multiprocessing` leaves by `os._exit`. A worker of gunicorn runs them, but from Python 3.12 on no
thread starts there, and gevent needs one to look a name up: it could send nothing.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import wraps
from typing import Any

from bext_otel import threads
from bext_otel.process import Undo, on_fork, on_import
from bext_otel.service.process_tree import is_spawned

__all__ = ["at_end_of_children", "at_end_of_workers"]

# Before multiprocessing's own finalizers, which have lower priorities: its queues and pools may still be
# needed.
_PRIORITY = 100


class _Anchor:
    """What multiprocessing ties its after-fork call to: while this lives, the call is made."""


def at_end_of_children(call: Callable[[], object]) -> Undo:
    """Have `call` made at the end of this process if `multiprocessing` spawned it, and at the end of each
    that it forks from here on."""
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


def at_end_of_workers(call: Callable[[], object], *, before: Callable[[], object] = lambda: None) -> Undo:
    """Have `call` made in each worker that gunicorn's arbiter forks, when it has run, whatever its class, and
    has said its last words; and in the arbiter while it ends them: one that waited in vain after them would
    take the deadline twice. `before` is called in the arbiter, before each fork."""
    undoing = ExitStack()
    undoing.callback(
        on_import("gunicorn.arbiter", lambda module: undoing.callback(_watch(module.Arbiter, call, before)))
    )
    return undoing.close


def _freeze() -> Callable[[], None]:
    """Keep what this process has made so far out of the collections of a child that it forks now: they would
    copy memory that is shared, and the last one, at the child's exit, take apart all that was imported here
    (Python's documentation of `gc.freeze`). The answer undoes that in this process. Nothing is done where
    somebody has frozen something himself."""
    if not hasattr(gc, "freeze") or gc.get_freeze_count():
        return lambda: None
    gc.freeze()
    return gc.unfreeze


def _watch(arbiter: Any, call: Callable[[], object], before: Callable[[], object]) -> Callable[[], None]:
    spawn, stop = arbiter.spawn_worker, arbiter.stop

    @wraps(spawn)
    def spawn_worker(self: Any, *args: Any, **kwargs: Any) -> Any:
        master = os.getpid()
        with suppress(Exception):
            before()
        thaw = _freeze()
        try:
            return spawn(self, *args, **kwargs)
        finally:
            # The fork happens in there, and a worker leaves by SystemExit.
            if os.getpid() == master:
                thaw()
            else:
                with suppress(Exception):
                    call()

    @wraps(stop)
    def stop_workers(self: Any, *args: Any, **kwargs: Any) -> Any:
        threads.start(call, name="bext-otel-arbiter")
        return stop(self, *args, **kwargs)

    arbiter.spawn_worker, arbiter.stop = spawn_worker, stop_workers

    def undo() -> None:
        if arbiter.spawn_worker is spawn_worker:
            arbiter.spawn_worker = spawn
        if arbiter.stop is stop_workers:
            arbiter.stop = stop

    return undo
