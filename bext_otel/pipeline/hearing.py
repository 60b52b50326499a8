"""Counts that an application makes with `prometheus_client` alone: heard, so that a worker publishes also when nothing else happens in it.

The library tells nobody of a count. Here its values are wrapped: the next change calls who listens, once, and what was wrapped for it is
the library's own again, so that a busy process pays for one call a tick. `set` with a time (gauges of the mode `mostrecent`) also notes
that time, which the library forgets outside of its own multiprocess mode.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import wrapt

__all__ = ["Hearing"]

_MODULE = "prometheus_client.values"


class Hearing:
    """Calls who listens when a value of the library changes. Nothing is imported for it."""

    def __init__(self) -> None:
        self._heard: Callable[[], None] | None = None
        self._kind: Any = None
        self._inc: Any = None
        self._set: Any = None
        self._closed = False

    def open(self) -> None:
        """Note from now on when gauges are set. Takes hold when the library is imported."""
        wrapt.register_post_import_hook(self._attach, _MODULE)

    def listen(self, heard: Callable[[], None]) -> None:
        """Have the next change call `heard`, once."""
        if self._heard is None and not self._closed:
            self._heard = heard
            self._arm()

    def close(self) -> None:
        """Leave the library as it was."""
        self._closed, self._heard = True, None
        if self._kind is not None:
            self._disarm()
            with suppress(AttributeError):
                self._kind.set = self._set
            self._kind = None

    def _attach(self, module: Any) -> None:
        kind: Any = getattr(module, "ValueClass", None)
        # In its multiprocess mode the library has times of its own.
        if self._closed or self._kind is not None or not callable(getattr(kind, "inc", None)) or not callable(getattr(kind, "set", None)):
            return
        self._kind, self._inc, self._set = kind, kind.inc, kind.set
        hearing, original = self, kind.set

        def note(value: Any, *args: Any, **kwargs: Any) -> None:
            original(value, *args, **kwargs)
            if (at := kwargs.get("timestamp")) is not None:
                with suppress(AttributeError):
                    value.bext_set_at = at
            if hearing._heard is not None:
                hearing._hear()

        kind.set = note
        self._arm()

    def _arm(self) -> None:
        if self._kind is None or self._heard is None:
            return
        hearing, original = self, self._inc

        def inc(value: Any, amount: float) -> None:
            original(value, amount)
            hearing._hear()

        self._kind.inc = inc

    def _disarm(self) -> None:
        self._kind.inc = self._inc

    def _hear(self) -> None:
        heard, self._heard = self._heard, None
        if self._kind is not None:
            self._disarm()
        if heard is not None:
            heard()
