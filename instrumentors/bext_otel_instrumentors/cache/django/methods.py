"""The methods of Django's cache backends, watched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import wraps
from typing import Any

from bext_otel_instrumentors.cache.django.backends import LOCAL, RECORD, KnownBackend, Method, entries
from bext_otel_instrumentors.cache.lookups import (
    begin_load,
    calling,
    during,
    end_load,
    invalidation,
    looked_up,
    stored,
)

__all__ = ["METHODS"]

_NOTHING: Any = object()


def _ours(self: Any) -> KnownBackend | None:
    """The record of a backend in whose call nobody is yet."""
    return None if calling() is not None else getattr(self, RECORD, None)


# --- Lookups ------------------------------------------------------------------------------------------------


def _get(original: Method) -> Method:
    @wraps(original)
    def get(self: Any, key: Any, default: Any = None, *args: Any, **kwargs: Any) -> Any:
        record = _ours(self)
        if record is None:
            value = original(self, key, _NOTHING, *args, **kwargs)
            outer = calling()
            if outer is not None and outer.found is None:
                outer.found = value is not _NOTHING
            return default if value is _NOTHING else value
        with during("lookup") as call:
            value = original(self, key, _NOTHING, *args, **kwargs)
        layer = record.layer_of(key)
        looked_up(layer, value is not _NOTHING, record.alias, seconds=call.seconds)
        call.settle(layer, record.alias)
        return default if value is _NOTHING else value

    return get


def _get_many(original: Method) -> Method:
    @wraps(original)
    def get_many(self: Any, keys: Any, *args: Any, **kwargs: Any) -> Any:
        record = _ours(self)
        if record is None:
            return original(self, keys, *args, **kwargs)
        keys = keys if isinstance(keys, Collection) else list(keys)
        with during("lookup") as call:
            found = original(self, keys, *args, **kwargs)
        layer = record.layer_of(next(iter(keys), ""))
        hits, misses = len(found), len(set(keys)) - len(found)
        if hits:
            looked_up(layer, True, record.alias, times=hits, seconds=call.seconds)
        if misses > 0:
            looked_up(layer, False, record.alias, times=misses, seconds=None if hits else call.seconds)
        call.settle(layer, record.alias)
        return found

    return get_many


class _Loading:
    """The default of `get_or_set`, where it is a function: calling it is a load."""

    def __init__(self, layer: str, function: Method) -> None:
        self._layer = layer
        self._function = function
        self.happened = False

    def __call__(self) -> Any:
        self.happened = True
        load = begin_load(
            self._layer, getattr(self._function, "__qualname__", type(self._function).__qualname__)
        )
        try:
            value = self._function()
        except BaseException as error:
            end_load(load, error)
            raise
        end_load(load)
        return value


def _get_or_set(original: Method) -> Method:
    @wraps(original)
    def get_or_set(self: Any, key: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
        record = _ours(self)
        if record is None:
            return original(self, key, default, *args, **kwargs)
        layer = record.layer_of(key)
        loading = _Loading(layer, default) if callable(default) else None
        with during("lookup") as call:
            value = original(self, key, loading or default, *args, **kwargs)
        looked_up(layer, not loading.happened if loading else call.found is True, record.alias)
        call.settle(layer, record.alias)
        return value

    return get_or_set


def _aget_or_set(original: Callable[..., Awaitable[Any]]) -> Method:
    @wraps(original)
    async def aget_or_set(self: Any, key: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
        record = _ours(self)
        if record is None:
            return await original(self, key, default, *args, **kwargs)
        layer = record.layer_of(key)
        loading = _Loading(layer, default) if callable(default) else None
        with during("lookup") as call:
            value = await original(self, key, loading or default, *args, **kwargs)
        looked_up(layer, not loading.happened if loading else call.found is True, record.alias)
        call.settle(layer, record.alias)
        return value

    return aget_or_set


def _within(original: Method) -> Method:
    """A method that looks something up, but not for its value."""

    @wraps(original)
    def method(self: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
        record = _ours(self)
        if record is None:
            return original(self, key, *args, **kwargs)
        with during("lookup") as call:
            result = original(self, key, *args, **kwargs)
        call.settle(record.layer_of(key), record.alias)
        return result

    return method


# --- Stores and invalidations -------------------------------------------------------------------------------


def _storing(original: Method) -> Method:
    """`set`, `add`, `set_many`."""

    @wraps(original)
    def store(self: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
        record = _ours(self)
        if record is None:
            return original(self, key, *args, **kwargs)
        with during("store") as call:
            result = original(self, key, *args, **kwargs)
        layer = record.layer_of(next(iter(key), "") if isinstance(key, dict) else key)
        stored(layer, call.seconds)
        call.settle(layer, record.alias)
        return result

    return store


def _delete(original: Method) -> Method:
    @wraps(original)
    def delete(self: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
        record = _ours(self)
        if record is None:
            result = original(self, key, *args, **kwargs)
            if (outer := calling()) is not None and outer.what == "invalidate":
                outer.found, outer.entries = True, outer.entries + bool(result)
            return result
        with invalidation(record.layer_of(key), "path", record.alias) as call:
            result = original(self, key, *args, **kwargs)
            call.entries = int(bool(result))
        return result

    return delete


def _delete_many(original: Method) -> Method:
    @wraps(original)
    def delete_many(self: Any, keys: Any, *args: Any, **kwargs: Any) -> Any:
        record = _ours(self)
        if record is None:
            return original(self, keys, *args, **kwargs)
        keys = keys if isinstance(keys, Collection) else list(keys)
        with invalidation(record.layer_of(next(iter(keys), "")), "path", record.alias) as call:
            result = original(self, keys, *args, **kwargs)
            if call.found is None:
                # In one request, which a backend of somebody else's may answer. Where no answer comes back,
                # it is what was asked for.
                call.entries = result if type(result) is int else len(keys)
        return result

    return delete_many


def _clear(original: Method) -> Method:
    @wraps(original)
    def clear(self: Any, *args: Any, **kwargs: Any) -> Any:
        record = _ours(self)
        if record is None:
            return original(self, *args, **kwargs)
        with invalidation(record.layer, "tag", record.alias) as call:
            before, call.what = entries(self), "clear"
            result = original(self, *args, **kwargs)
            if before is not None:
                call.entries += before
            else:
                call.known = call.found is True
        return result

    return clear


METHODS: dict[str, Callable[[Method], Method]] = {
    "get": _get,
    "get_many": _get_many,
    "get_or_set": _get_or_set,
    "aget_or_set": _aget_or_set,
    "has_key": _within,
    "incr": _within,
    "incr_version": _within,
    "set": _storing,
    "add": _storing,
    "set_many": _storing,
    "delete": _delete,
    "delete_many": _delete_many,
    "clear": _clear,
    **LOCAL,
}
