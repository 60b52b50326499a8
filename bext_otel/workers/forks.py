"""Forks: who wants to know about them.

`os.register_at_fork` can't be undone, so this module registers once and keeps a list that can.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["Forks", "on_fork"]


def _nothing() -> None:
    pass


@dataclass(frozen=True, eq=False)
class Forks:
    """What to call in the parent `before` a fork, and after it `in_parent` and `in_child`. Nothing that these raise gets out."""

    before: Callable[[], None] = _nothing
    in_parent: Callable[[], None] = _nothing
    in_child: Callable[[], None] = _nothing

    def close(self) -> None:
        """Call no more."""
        if self in _interested:
            _interested.remove(self)


_interested: list[Forks] = []
_registered = False


def on_fork(
    *, before: Callable[[], None] = _nothing, in_parent: Callable[[], None] = _nothing, in_child: Callable[[], None] = _nothing
) -> Forks:
    """Have these called around every fork of this process, until the answer is closed. Where there is no fork, they never are."""
    global _registered
    if not _registered and hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lambda: _call("before"), after_in_parent=lambda: _call("in_parent"), after_in_child=lambda: _call("in_child")
        )
        _registered = True
    forks = Forks(before, in_parent, in_child)
    _interested.append(forks)
    return forks


def _call(moment: str) -> None:
    for forks in tuple(_interested):
        with suppress(Exception):  # a fork of the application must go on whatever telemetry makes of it
            getattr(forks, moment)()
