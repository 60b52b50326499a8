"""Which import an instrumentor waits for: it is loaded when its library is, and never where that is installed
and not used.

The names are data beside the instrumentors' own in the distribution's entry points (`bext_otel_awaited`), so
that nothing is imported to find out; here they are read from `distribution`, where no metadata are needed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint

from bext_otel.distribution import AWAITED
from bext_otel.process import on_import

__all__ = ["awaited_module", "when_used"]

_log = logging.getLogger("bext_otel")


def awaited_module(instrumentor: str) -> str | None:
    """The module whose import an instrumentor of this name waits for; None for one that waits for nothing, as
    those do of which nobody has said so."""
    return AWAITED.get(instrumentor)


def when_used(library: str, instrumentor: EntryPoint, activate: Callable[[], None]) -> None:
    """Call `activate` once: now if `library` is imported, else as soon as it is.

    What it raises now is the caller's; later on it is a line.
    """
    if library in sys.modules:
        activate()
        return
    waiting = _Waiting(library, instrumentor, activate)
    on_import(library, waiting.library_is_there)
    # An application may import the instrumentor itself, which then imports the library, and can't be used
    # before it is imported itself.
    on_import(instrumentor.module, waiting.instrumentor_is_there)


class _Waiting:
    def __init__(self, library: str, instrumentor: EntryPoint, activate: Callable[[], None]) -> None:
        self._library = library
        self._instrumentor = instrumentor
        self._activate = activate
        self._has_begun = False

    def library_is_there(self, _: object) -> None:
        if not _is_being_imported(self._instrumentor.module):
            self.instrumentor_is_there(_)

    def instrumentor_is_there(self, _: object) -> None:
        if self._has_begun or self._library not in sys.modules:
            return
        self._has_begun = True
        try:
            self._activate()
        except ModuleNotFoundError as error:  # what it needs besides the library
            self._left_out(logging.DEBUG, error)
        except Exception as error:
            self._left_out(logging.WARNING, error)

    def _left_out(self, level: int, error: Exception) -> None:
        _log.log(level, "instrumentation %s is left out: %s", self._instrumentor.name, error)


def _is_being_imported(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))
