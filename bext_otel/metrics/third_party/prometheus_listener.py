"""Counts that an application makes with `prometheus_client` alone: heard, so that a worker publishes also
when nothing else happens in it.

The library tells nobody of a count. Here its values are wrapped: the next change calls who listens, once, and
what was wrapped for it is the library's own again, so that a busy process pays for one call a tick. `set`
with a time (gauges of the mode `mostrecent`) also notes that time, which the library forgets outside of its
own multiprocess mode.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bext_otel.process import Undo, on_import

__all__ = ["PrometheusListener"]

_MODULE = "prometheus_client.values"


class PrometheusListener:
    """Calls who listens when a value of the library changes. Nothing is imported for it."""

    def __init__(self) -> None:
        self._heard: Callable[[], None] | None = None
        self._kind: Any = None
        # Its methods, the library's own and ours.
        self._own: dict[str, Any] = {}
        self._ours: dict[str, Any] = {}
        self._closed = False
        self._forget: Undo = lambda: None

    def open(self) -> None:
        """Note from now on when gauges are set. Takes hold when the library is imported."""
        self._forget = on_import(_MODULE, self._attach)

    def listen(self, heard: Callable[[], None]) -> None:
        """Have the next change call `heard`, once."""
        if not self._closed:
            self._heard = heard
            self._replace("inc", self._own, self._ours)

    def close(self) -> None:
        """Leave the library as it was."""
        self._closed, self._heard = True, None
        self._forget()
        for name in self._ours:
            self._replace(name, self._ours, self._own)

    def _attach(self, module: Any) -> None:
        kind: Any = getattr(module, "ValueClass", None)
        if (
            self._closed
            or self._kind is not None
            or not callable(getattr(kind, "inc", None))
            or not callable(getattr(kind, "set", None))
        ):
            return
        hear, inc, put = self._hear, kind.inc, kind.set

        def counted(value: Any, amount: float) -> None:
            inc(value, amount)
            hear()

        def noted(value: Any, *args: Any, **kwargs: Any) -> None:
            put(value, *args, **kwargs)
            if (at := kwargs.get("timestamp")) is not None:
                with suppress(AttributeError):
                    value.bext_set_at = at
            hear()

        self._own, self._ours = {"inc": inc, "set": put}, {"inc": counted, "set": noted}
        self._kind = kind
        self._replace("set", self._own, self._ours)
        if self._heard is not None:
            self._replace("inc", self._own, self._ours)

    def _replace(self, name: str, held: dict[str, Any], other: dict[str, Any]) -> None:
        """One method by another, unless somebody else has replaced it meanwhile."""
        if self._kind is not None and getattr(self._kind, name, None) is held[name]:
            setattr(self._kind, name, other[name])

    def _hear(self) -> None:
        if self._heard is None:
            return
        # First: of two threads that come here at once either may undo what somebody has just asked for again,
        # and then calls him again.
        self._replace("inc", self._ours, self._own)
        heard, self._heard = self._heard, None
        if heard is not None:
            heard()
