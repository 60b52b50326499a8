"""`submit` of the pools of concurrent.futures: replaced once, whoever wants to see what is submitted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import wraps
from typing import Any

from bext_otel_instrumentors._kit.patch import Patches

__all__ = ["Handler", "Submit", "is_process_pool", "submits"]

# Imports multiprocessing: not before somebody uses it.
_PROCESSES = "concurrent.futures.process"

Submit = Callable[..., "Future[Any]"]
Handler = Callable[[Submit, Executor, "tuple[Any, ...]", "dict[str, Any]"], "Future[Any] | None"]
"""Submits a pool's task in its own way (`submit` takes the pool too); None leaves it to the next."""


def is_process_pool(pool: Executor) -> bool:
    """Whether its tasks are executed in other processes."""
    module = sys.modules.get(_PROCESSES)
    return module is not None and isinstance(pool, module.ProcessPoolExecutor)


class Submits:
    """Handlers in the order of their rank, lowest first, whichever came first; nothing is patched while there
    are none."""

    def __init__(self) -> None:
        self._handlers: dict[int, Handler] = {}
        self._ordered: tuple[Handler, ...] = ()
        self._patches = Patches()

    def add(self, rank: int, handler: Handler) -> None:
        """Ask `handler` about every task from now on."""
        if not self._handlers:
            self._cover(ThreadPoolExecutor)
            self._patches.when_imported(_PROCESSES, lambda module: self._cover(module.ProcessPoolExecutor))
        self._change({**self._handlers, rank: handler})

    def remove(self, rank: int) -> None:
        """Ask that handler no more. Does nothing if there is none."""
        if rank in self._handlers:
            self._change({other: handler for other, handler in self._handlers.items() if other != rank})
            if not self._handlers:
                self._patches.undo()

    def _cover(self, owner: type[Executor]) -> None:
        self._patches.wrap(owner, "submit", self._wrapped)

    def _change(self, handlers: dict[int, Handler]) -> None:
        self._handlers = handlers
        self._ordered = tuple(handlers[rank] for rank in sorted(handlers))

    def _wrapped(self, original: Submit) -> Submit:
        @wraps(original)
        def submit(pool: Executor, *args: Any, **kwargs: Any) -> Future[Any]:
            if args:  # a task without a function is the library's to refuse
                for handler in self._ordered:
                    future = handler(original, pool, args, kwargs)
                    if future is not None:
                        return future
            return original(pool, *args, **kwargs)

        return submit


submits = Submits()
