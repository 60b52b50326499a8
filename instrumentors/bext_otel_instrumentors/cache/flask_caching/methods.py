"""The methods of Flask-Caching's `Cache`, watched."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from bext_otel_instrumentors.cache.flask_caching.backends import entries, kind_of, layer_of
from bext_otel_instrumentors.cache.flask_caching.turns import TURNS, Method, Turn, current
from bext_otel_instrumentors.cache.lookups import calling, during, invalidation, looked_up, stored

__all__ = ["LOCAL", "METHODS", "Method"]


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    """The key that a call is about, or one of them."""
    key = args[0] if args else kwargs.get("key", kwargs.get("mapping"))
    return next(iter(key), None) if isinstance(key, dict) else key


def _get(original: Method) -> Method:
    @wraps(original)
    def get(self: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None:
            return original(self, *args, **kwargs)
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

    return get


def _get_many(original: Method) -> Method:
    """`get_many` and `get_dict`."""

    @wraps(original)
    def get_many(self: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None:
            return original(self, *args, **kwargs)
        with during("lookup") as call:
            found = original(self, *args, **kwargs)
        layer, kind = layer_of(self, _first(args, kwargs)), kind_of(self)
        values = list(found.values()) if isinstance(found, dict) else found if isinstance(found, list) else []
        hits = sum(value is not None for value in values)
        if hits:
            looked_up(layer, True, kind, times=hits, seconds=call.seconds)
        if hits < len(values):
            looked_up(layer, False, kind, times=len(values) - hits, seconds=None if hits else call.seconds)
        call.settle(layer, kind)
        return found

    return get_many


def _storing(original: Method) -> Method:
    """`set`, `add`, `set_many`."""

    @wraps(original)
    def store(self: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None:
            return original(self, *args, **kwargs)
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

    return store


def _deleting(original: Method) -> Method:
    """`delete`, `delete_many`, `unlink`."""

    @wraps(original)
    def delete(self: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None:
            return original(self, *args, **kwargs)
        with invalidation(layer_of(self, _first(args, kwargs)), "path", kind_of(self)) as call:
            result = original(self, *args, **kwargs)
            # cachelib answers with the keys that are gone now; a client, with how many went.
            call.entries = len(result) if isinstance(result, list) else int(result or 0)
        return result

    return delete


def _delete_many(original: Method) -> Method:
    """It counts a key that was not there as deleted, so what the store has lost is counted where there is a
    store."""

    @wraps(original)
    def delete_many(self: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None:
            return original(self, *args, **kwargs)
        with invalidation(layer_of(self, _first(args, kwargs)), "path", kind_of(self)) as call:
            before = entries(self)
            result = original(self, *args, **kwargs)
            lost = None if before is None else before - (entries(self) or 0)
            call.entries = (
                max(lost, 0) if lost is not None else len(result) if isinstance(result, list) else 0
            )
        return result

    return delete_many


def _clear(original: Method) -> Method:
    @wraps(original)
    def clear(self: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None:
            return original(self, *args, **kwargs)
        with invalidation(layer_of(self, None), "tag", kind_of(self)) as call:
            held = entries(self)
            result = original(self, *args, **kwargs)
            if held is not None:
                call.entries = held
            else:
                call.known = call.found is True  # a client below has told
        return result

    return clear


def _delete_memoized(original: Method) -> Method:
    """All that a function has memoized becomes unreachable; how much, Flask-Caching does not know. With
    arguments, it deletes a key."""

    @wraps(original)
    def delete_memoized(self: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None or args or kwargs:
            return original(self, function, *args, **kwargs)
        named = getattr(function, "uncached", function)
        layer = Turn(named, bypassed=True).layer or layer_of(self, None)
        with invalidation(layer, "tag", kind_of(self)) as call:
            call.known = False
            return original(self, function)

    return delete_memoized


def _within(original: Method) -> Method:
    """Looks something up, but not for its value."""

    @wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None:
            return original(self, *args, **kwargs)
        with during():
            return original(self, *args, **kwargs)

    return method


METHODS: dict[str, Callable[[Method], Method]] = {
    **TURNS,
    "_memoize_version": _within,
    "get": _get,
    "get_many": _get_many,
    "get_dict": _get_many,
    "set": _storing,
    "add": _storing,
    "set_many": _storing,
    "delete": _deleting,
    "delete_many": _delete_many,
    "unlink": _deleting,
    "clear": _clear,
    "delete_memoized": _delete_memoized,
}
"""Of `Cache`."""


def _dropping(attribute: str) -> Callable[[Method], Method]:
    """A method of the memory backend that drops entries: how many is what is missing afterwards."""

    def make(original: Method) -> Method:
        @wraps(original)
        def drop(self: Any, *args: Any, **kwargs: Any) -> Any:
            before = len(self._cache)
            result = original(self, *args, **kwargs)
            if (call := calling()) is not None:
                setattr(call, attribute, getattr(call, attribute) + before - len(self._cache))
            return result

        return drop

    return make


LOCAL: dict[str, Callable[[Method], Method]] = {
    "_remove_expired": _dropping("expired"),
    "_remove_older": _dropping("evicted"),
}
"""Of the backend that keeps everything in this process."""
