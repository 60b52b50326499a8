"""The methods of Flask-Caching's `Cache`, watched."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from bext_otel_instrumentors._kit.patch import Original
from bext_otel_instrumentors.cache.calls import calling, dropping, during, outermost
from bext_otel_instrumentors.cache.flask_caching.backends import entries, kind_of, layer_of
from bext_otel_instrumentors.cache.flask_caching.turns import TURNS, Turn, current
from bext_otel_instrumentors.cache.lookups import looked_up, looked_up_many, stored

__all__ = ["LOCAL", "METHODS"]


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    """The key that a call is about, or one of them."""
    key = args[0] if args else kwargs.get("key", kwargs.get("mapping"))
    return next(iter(key), None) if isinstance(key, dict) else key


def _get(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    turn = current()
    if turn is not None and turn.looked:
        turn = None
    elif turn is not None:
        turn.looked = True
    with during("lookup") as call:
        value = original(self, *args, **kwargs)
    layer, kind = (
        layer_of(self, _first(args, kwargs), turn.layer if turn is not None else None),
        kind_of(self),
    )
    if turn is None:
        looked_up(layer, value is not None, kind, seconds=call.seconds)
    else:
        turn.stored = value is not None  # then there will be nothing to store
        turn.waiting = lambda found: looked_up(layer, found, kind, seconds=call.seconds)
        if value is not None and not hasattr(self, "_is_stale"):
            turn.settle(True)
    call.settle(layer, kind)
    return value


def _get_many(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """`get_many` and `get_dict`."""
    with during("lookup") as call:
        found = original(self, *args, **kwargs)
    layer, kind = layer_of(self, _first(args, kwargs)), kind_of(self)
    values = list(found.values()) if isinstance(found, dict) else found if isinstance(found, list) else []
    hits = sum(value is not None for value in values)
    looked_up_many(layer, hits, len(values) - hits, kind, call.seconds)
    call.settle(layer, kind)
    return found


def _storing(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """`set`, `add`, `set_many`."""
    turn = current()
    if turn is not None and (turn.stored or not turn.looked):
        turn = None
    elif turn is not None:
        turn.stored = True
    with during("store") as call:
        result = original(self, *args, **kwargs)
    layer = layer_of(self, _first(args, kwargs), turn.layer if turn is not None else None)
    stored(layer, call.seconds)
    call.settle(layer, kind_of(self))
    return result


def _deleting(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """`delete`, `delete_many`, `unlink`."""
    with dropping(layer_of(self, _first(args, kwargs)), "path", kind_of(self)) as call:
        result = original(self, *args, **kwargs)
        # cachelib answers with the keys that are gone now; a client, with how many went.
        call.entries = len(result) if isinstance(result, list) else int(result or 0)
    return result


def _delete_many(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """It counts a key that was not there as deleted, so what the store has lost is counted where there is a
    store."""
    with dropping(layer_of(self, _first(args, kwargs)), "path", kind_of(self)) as call:
        before = entries(self)
        result = original(self, *args, **kwargs)
        lost = None if before is None else before - (entries(self) or 0)
        call.entries = max(lost, 0) if lost is not None else len(result) if isinstance(result, list) else 0
    return result


def _clear(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    with dropping(layer_of(self, None), "tag", kind_of(self)) as call:
        held = entries(self)
        result = original(self, *args, **kwargs)
        if held is not None:
            call.entries = held
        else:
            call.known = call.found is True  # a client below has told
    return result


def _delete_memoized(original: Original, self: Any, /, function: Any, *args: Any, **kwargs: Any) -> Any:
    """All that a function has memoized becomes unreachable; how much, Flask-Caching does not know. With
    arguments, it deletes a key."""
    if args or kwargs:
        return original(self, function, *args, **kwargs)
    named = getattr(function, "uncached", function)
    layer = Turn(named, bypassed=True).layer or layer_of(self, None)
    with dropping(layer, "tag", kind_of(self)) as call:
        call.known = False
        return original(self, function)


def _within(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Looks something up, but not for its value."""
    with during():
        return original(self, *args, **kwargs)


METHODS: dict[str, Callable[[Original], Original]] = {
    **TURNS,
    "_memoize_version": outermost(_within),
    "get": outermost(_get),
    "get_many": outermost(_get_many),
    "get_dict": outermost(_get_many),
    "set": outermost(_storing),
    "add": outermost(_storing),
    "set_many": outermost(_storing),
    "delete": outermost(_deleting),
    "delete_many": outermost(_delete_many),
    "unlink": outermost(_deleting),
    "clear": outermost(_clear),
    "delete_memoized": outermost(_delete_memoized),
}
"""Of `Cache`."""


def _dropping(attribute: str) -> Callable[[Original], Original]:
    """A method of the memory backend that drops entries: how many is what is missing afterwards."""

    def make(original: Original) -> Original:
        @wraps(original)
        def drop(self: Any, *args: Any, **kwargs: Any) -> Any:
            before = len(self._cache)
            result = original(self, *args, **kwargs)
            if (call := calling()) is not None:
                setattr(call, attribute, getattr(call, attribute) + before - len(self._cache))
            return result

        return drop

    return make


LOCAL: dict[str, Callable[[Original], Original]] = {
    "_remove_expired": _dropping("expired"),
    "_remove_older": _dropping("evicted"),
}
"""Of the backend that keeps everything in this process."""
