"""Forks: who wants to know about them.

`os.register_at_fork` can't be undone, so this module registers once and keeps a list that can.

uWSGI makes its workers without telling Python, unless `py-call-osafterfork` is set. They are told by its own hook, or find out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

__all__ = ["Forks", "catch_up", "on_fork"]


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
_pid = os.getpid()


def on_fork(
    *, before: Callable[[], None] = _nothing, in_parent: Callable[[], None] = _nothing, in_child: Callable[[], None] = _nothing
) -> Forks:
    """Have these called around every fork of this process, until the answer is closed. Where there is no fork, they never are."""
    global _registered
    if not _registered and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lambda: _call("before"), after_in_parent=lambda: _call("in_parent"), after_in_child=_after_in_child)
        _registered = True
    forks = Forks(before, in_parent, in_child)
    _interested.append(forks)
    return forks


def catch_up() -> None:
    """Make the calls in a child of which nobody has told Python; to be called before anything is counted there. Takes 0.2 us."""
    if os.getpid() != _pid:
        _after_in_child()
    elif (uwsgi := sys.modules.get("uwsgi")) is not None:
        _listen_to(uwsgi)


def _listen_to(uwsgi: Any) -> None:
    """Have uWSGI call us in each process that it forks. `uwsgidecorators` replaces the hook, so this is done again as long as it is not
    ours."""
    former = getattr(uwsgi, "post_fork_hook", None)
    if getattr(former, "__module__", "") == __name__:
        return

    def post_fork_hook() -> None:
        catch_up()
        if former is not None:
            former()

    uwsgi.post_fork_hook = post_fork_hook


def _after_in_child() -> None:
    global _pid
    _pid = os.getpid()
    _call("in_child")


def _call(moment: str) -> None:
    for forks in tuple(_interested):
        with suppress(Exception):  # a fork of the application must go on whatever telemetry makes of it
            getattr(forks, moment)()
