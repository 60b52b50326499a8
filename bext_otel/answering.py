"""Whether this very process answers requests: a worker does, its master and the launcher that serve by it do
not (see `serving`).

Whoever sees it declares it, by `answers`; whoever acts on it asks, or is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from bext_otel.process import Undo, on_fork

__all__ = ["answers", "is_answering", "on_answering"]

_log = logging.getLogger("bext_otel")

_answering = False
_told: list[Callable[[], object]] = []


def is_answering() -> bool:
    """Whether this process has been seen to answer. A forked child has not."""
    return _answering


def answers() -> None:
    """This process answers requests. Cheap when it is known; never raises."""
    global _answering
    if _answering:
        return
    _answering = True
    for callback in tuple(_told):
        _call(callback)


def on_answering(callback: Callable[[], object]) -> Undo:
    """Call this as soon as the process answers, now if it does; and again in each forked child that does."""
    _told.append(callback)
    if _answering:
        _call(callback)

    def undo() -> None:
        with suppress(ValueError):  # it is undone already
            _told.remove(callback)

    return undo


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception as error:  # it is a request of the application's that has come
        _log.warning("the news that this process answers requests could not be taken: %r", error)


def _in_child() -> None:
    global _answering
    _answering = False


on_fork(in_child=_in_child)
