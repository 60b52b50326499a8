"""Calls of functions that Flask-Caching's `cached` and `memoize` wrap."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from bext_otel.catalogue import UNKNOWN
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original, around
from bext_otel_instrumentors.cache.calls import during, loading, outermost
from bext_otel_instrumentors.cache.flask_caching.backends import BackendRecord, layer_of

__all__ = ["TURNS", "Turn", "current"]


class Turn:
    """A call of a decorated function: it looks up, calls the function if it must, and stores. Nothing says
    where it ends, so each of these steps is its own once; what comes after is not of this function.

    What it looked up is counted only when it is known what the library makes of it: a None may have been
    stored, and a value may be stale.
    """

    __slots__ = ("bypassed", "function", "layer", "looked", "name", "stored", "waiting")

    def __init__(self, function: Any, *, bypassed: bool) -> None:
        self.function = function
        self.bypassed = bypassed
        qualified = getattr(function, "__qualname__", type(function).__qualname__)
        self.name = f"{getattr(function, '__module__', '')}.{qualified}"
        found = BackendRecord.layers.named(self.name)
        self.layer = None if found is UNKNOWN else found
        self.looked = self.stored = bypassed
        self.waiting: Callable[[bool], None] | None = None

    def settle(self, found: bool) -> None:
        """What it looked up was answered by the cache, or was not."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting(found)


_turn: ContextVar[Turn | None] = ContextVar("bext_otel_flask_caching_turn", default=None)


def current() -> Turn | None:
    """The call that is being made in this context, or was made last; None before any."""
    return _turn.get()


def _bypass(original: Original, self: Any, /, unless: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
    """The first that a call of a decorated function does is to ask whether to leave the cache out."""
    bypassed = original(self, unless, function, *args, **kwargs)
    try:
        _turn.set(Turn(function, bypassed=bool(bypassed)))
    except Exception as error:  # a function of any kind
        report("a cached function", error)
    return bypassed


def _call_fn(original: Original, self: Any, /, function: Any, *args: Any, **kwargs: Any) -> Any:
    turn = _turn.get()
    if turn is None or turn.function is not function or turn.bypassed:
        return original(self, function, *args, **kwargs)
    turn.settle(False)
    try:
        with loading(turn.layer or layer_of(self, None), turn.name):
            value = original(self, function, *args, **kwargs)
    except BaseException:
        turn.stored = True
        raise
    _turn.set(turn)  # the function may have called others
    turn.looked = True
    return value


def _has(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Looks something up, but not for its value. A decorated function that may answer None asks whether the
    None it got was stored."""
    with during():
        found = original(self, *args, **kwargs)
    turn = _turn.get()
    if turn is not None and turn.waiting is not None:
        turn.stored = bool(found)
        if not found or not hasattr(self, "_is_stale"):
            turn.settle(bool(found))
    return found


def _is_stale(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Asked of each value that a decorated function has found; one that is stale is made anew."""
    turn, stale = _turn.get(), True
    try:
        stale = original(self, *args, **kwargs)
    finally:
        if turn is not None:
            turn.settle(not stale)
            turn.stored = not stale
            _turn.set(turn)  # the application's function may have called others
    return stale


TURNS: dict[str, Callable[[Original], Original]] = {
    "_bypass_cache": around(_bypass),
    "_call_fn": around(_call_fn),
    "_is_stale": around(_is_stale),
    "has": outermost(_has),
}
"""Of `Cache`: the steps of such a call."""
