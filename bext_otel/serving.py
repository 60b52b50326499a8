"""Whether this process serves: a server that answers requests, or a consumer of tasks. A script, a launcher,
a master that only forks do not.

Whoever sees it declares it, by `serves`; whoever acts on it asks, or is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from bext_otel.process import Undo, on_fork

__all__ = ["is_serving", "on_serving", "serves"]

_log = logging.getLogger("bext_otel")

_serving = False
_told: list[Callable[[], object]] = []


def is_serving() -> bool:
    """Whether this process has been seen to serve. A forked child has not."""
    return _serving


def serves() -> None:
    """This process serves. Cheap when it is known; never raises."""
    global _serving
    if _serving:
        return
    _serving = True
    for callback in tuple(_told):
        _call(callback)


def on_serving(callback: Callable[[], object]) -> Undo:
    """Call this as soon as the process serves, now if it does; and again in each forked child that serves."""
    _told.append(callback)
    if _serving:
        _call(callback)

    def undo() -> None:
        with suppress(ValueError):  # it is undone already
            _told.remove(callback)

    return undo


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception as error:  # it is a request of the application's that has come
        _log.warning("the news that this process serves could not be taken: %r", error)


def _in_child() -> None:
    global _serving
    _serving = False


on_fork(in_child=_in_child)
