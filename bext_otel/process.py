"""The seams of a process: its forks, and the imports that somebody waits for.

`os.register_at_fork` can't be undone, so this module registers once and keeps a list that can.

uWSGI makes its workers without telling Python, unless `py-call-osafterfork` is set. Its own hook tells those,
or they find out.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeAlias

import wrapt

__all__ = ["Undo", "catch_up", "collector_paused", "late_imports", "on_fork", "on_import"]

Undo: TypeAlias = Callable[[], None]
"""Undoes what returned it; calling it again does nothing."""

_log = logging.getLogger("bext_otel")


def _nothing() -> None:
    pass


class _Forks:
    def __init__(
        self, before: Callable[[], None], in_parent: Callable[[], None], in_child: Callable[[], None]
    ) -> None:
        self.before, self.in_parent, self.in_child = before, in_parent, in_child


_EMBEDDED = "uwsgi"

_interested: list[_Forks] = []
_registered = False
_pid = os.getpid()

# Who imports in a thread of ours; who forks waits for it.
_importing = threading.RLock()


@contextmanager
def late_imports() -> Iterator[None]:
    """Import here, in a thread of ours, what was not worth importing at the start.

    A fork waits meanwhile, if Python is told of it: no module's import lock is renewed in a child, which
    would wait for these imports for good.
    """
    with _importing:
        yield


@contextmanager
def collector_paused() -> Iterator[None]:
    """Collect no garbage while much is imported, of which next to nothing is garbage: each collection walks
    all of it. Afterwards it is collected as before, and what was made meanwhile is old: it is walked when all
    is, and not at once for being new."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            # Two lists are joined. What an application has frozen stays so.
            if hasattr(gc, "freeze") and not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def on_fork(
    *,
    before: Callable[[], None] = _nothing,
    in_parent: Callable[[], None] = _nothing,
    in_child: Callable[[], None] = _nothing,
) -> Undo:
    """Call these around every fork of this process, until the answer is called. Nothing that they raise gets
    out.

    `before` and `in_parent` are left out where Python is not told of the fork; where there is no fork,
    nothing is called.
    """
    global _registered
    if not _registered and hasattr(os, "register_at_fork"):
        _registered = True
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
        if "uwsgi" in sys.modules:
            # uWSGI has its module before it has any application. That one replaces the hook.
            on_import("uwsgidecorators", _listen_to_uwsgi)
    _listen_to_uwsgi()
    forks = _Forks(before, in_parent, in_child)
    _interested.append(forks)

    def undo() -> None:
        with suppress(ValueError):  # it is undone already
            _interested.remove(forks)

    return undo


def catch_up() -> None:
    """Make the calls in a child of which nobody has told Python; to be called before anything is counted
    there. Takes 0.2 us."""
    if os.getpid() != _pid:
        _after_in_child()
    else:
        _listen_to_uwsgi()


def _listen_to_uwsgi(_: object = None) -> None:
    """Have uWSGI call us in each process that it forks; again as long as the hook is not ours, for others
    replace it."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None:
        return
    former = getattr(uwsgi, "post_fork_hook", None)
    if getattr(former, "__module__", "") == __name__:
        return

    def post_fork_hook() -> None:
        catch_up()
        if former is not None:
            former()

    uwsgi.post_fork_hook = post_fork_hook


def _before() -> None:
    _call("before")
    # Last, since others wait for threads of theirs, which may want it.
    _importing.acquire()


def _after_in_parent() -> None:
    with suppress(RuntimeError):  # who forks by himself tells of the end alone
        _importing.release()
    _call("in_parent")


def _after_in_child() -> None:
    global _pid, _importing
    _pid = os.getpid()
    _importing = threading.RLock()  # a thread of the parent's may have it, where Python was not told before
    _call("in_child")


def _call(moment: str) -> None:
    for forks in tuple(_interested):
        with suppress(Exception):  # a fork of the application must go on whatever telemetry makes of it
            getattr(forks, moment)()


Imported: TypeAlias = Callable[[Any], object]

# By module name. wrapt's hooks can't be taken back, so each name has one at a time, which asks who waits now.
_waiting: dict[str, list[Imported]] = {}


def on_import(name: str, imported: Imported) -> Undo:
    """Call `imported` with the module `name`: now if it is imported, else as soon as it is, once, unless the
    answer was called before.

    What `imported` raises now is the caller's; later on it is a log line, for the application imports its
    library in any case.
    """
    if (module := sys.modules.get(name)) is not None:
        imported(module)
        return _nothing
    waiting = _waiting.get(name)
    if waiting is not None:
        waiting.append(imported)
    else:
        _waiting[name] = [imported]
        wrapt.register_post_import_hook(partial(_imported, name), name)
    if name == _EMBEDDED and not sys.orig_argv and not any(map(_is_ours, sys.meta_path)):
        sys.meta_path.insert(0, _EmbeddedModule())

    def undo() -> None:
        with suppress(KeyError, ValueError):  # it is imported, or undone already
            _waiting[name].remove(imported)

    return undo


class _EmbeddedModule:
    """Finds nothing, but sees by the next import that uWSGI has put its module in place: from C, which no
    import hook hears of, before it imports an application. It is in no other process: those have a command
    line."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """Importlib's question for a module."""
        module = sys.modules.get(_EMBEDDED)
        if not hasattr(module, "opt"):  # all that somebody could want of it is there by then
            return None
        with suppress(ValueError):  # another thread was quicker
            sys.meta_path.remove(self)
            _imported(_EMBEDDED, module)
        # Importlib leaves out whoever stood behind us, for the list has become shorter under its hands.
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path)
        return next((spec for spec in found if spec is not None), None)


def _is_ours(finder: object) -> bool:
    return isinstance(finder, _EmbeddedModule)


def _imported(name: str, module: object) -> None:
    for imported in _waiting.pop(name, ()):
        try:
            imported(module)
        except Exception as error:
            _log.warning(
                "telemetry failed at the import of %s; the application goes on without it",
                name,
                exc_info=error,
            )
