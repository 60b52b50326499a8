"""Patching a library when the application imports it, so that a library that it never imports is not imported by us."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from wrapt import when_imported

from bext_otel_instrumentors._guard import report

__all__ = ["Imports"]

Cover = Callable[[Any], None]

# By module name. wrapt's hooks cannot be taken back, so each module has one for the whole process, which asks who waits now.
_waiting: dict[str, list[Cover]] = {}


class Imports:
    """What one instrumentor waits for. `forget` ends the waiting."""

    def __init__(self) -> None:
        self._covers: list[tuple[str, Cover]] = []

    def when(self, name: str, cover: Cover) -> None:
        """Call `cover` with the module `name`: now if it is imported, else as soon as it is.

        A failure is raised now, when nothing is waited for any more; later on it is a log line.
        """
        if (module := sys.modules.get(name)) is not None:
            try:
                cover(module)
            except BaseException:
                self.forget()
                raise
            return
        known = name in _waiting
        _waiting.setdefault(name, []).append(cover)
        self._covers.append((name, cover))
        if not known:
            when_imported(name)(_imported)

    def forget(self) -> None:
        """Wait no longer."""
        while self._covers:
            name, cover = self._covers.pop()
            if cover in _waiting[name]:
                _waiting[name].remove(cover)


def _imported(module: Any) -> None:
    waiting = _waiting.get(module.__name__, [])
    covers, waiting[:] = list(waiting), []
    for cover in covers:
        try:
            cover(module)
        except Exception as error:  # the application imports its library, whether we know this version of it or not
            report(f"the import of {module.__name__}", error)
