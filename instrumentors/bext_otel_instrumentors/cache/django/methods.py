"""The methods of Django's cache backends, watched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from bext_otel_instrumentors._kit.patch import Original, around
from bext_otel_instrumentors.cache.calls import calling, dropping, during, loading, outermost
from bext_otel_instrumentors.cache.django.backends import LOCAL, RECORD, KnownBackend, entries
from bext_otel_instrumentors.cache.lookups import looked_up, looked_up_many, stored

__all__ = ["METHODS"]

_NOTHING: Any = object()


def _ours(self: Any) -> KnownBackend | None:
    """The record of a backend in whose call nobody is yet."""
    return None if calling() is not None else getattr(self, RECORD, None)


# --- Lookups ------------------------------------------------------------------------------------------------


def _get(original: Original, self: Any, /, key: Any, default: Any = None, *args: Any, **kwargs: Any) -> Any:
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


def _get_many(original: Original, self: Any, /, keys: Any, *args: Any, **kwargs: Any) -> Any:
    record: KnownBackend = getattr(self, RECORD)
    keys = keys if isinstance(keys, Collection) else list(keys)
    with during("lookup") as call:
        found = original(self, keys, *args, **kwargs)
    layer = record.layer_of(next(iter(keys), ""))
    looked_up_many(layer, len(found), len(set(keys)) - len(found), record.alias, call.seconds)
    call.settle(layer, record.alias)
    return found


class _Loading:
    """The default of `get_or_set`, where it is a function: calling it is a load."""

    def __init__(self, layer: str, function: Original) -> None:
        self._layer = layer
        self._function = function
        self.happened = False

    def __call__(self) -> Any:
        self.happened = True
        name = getattr(self._function, "__qualname__", type(self._function).__qualname__)
        with loading(self._layer, name):
            return self._function()


@contextmanager
def _getting_or_setting(self: Any, key: Any, default: Any) -> Iterator[Any]:
    """Around the original, which is to be given what this yields as the default."""
    record: KnownBackend = getattr(self, RECORD)
    layer = record.layer_of(key)
    load = _Loading(layer, default) if callable(default) else None
    with during("lookup") as call:
        yield load or default
    looked_up(layer, not load.happened if load else call.found is True, record.alias)
    call.settle(layer, record.alias)


def _get_or_set(original: Original, self: Any, /, key: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
    with _getting_or_setting(self, key, default) as given:
        return original(self, key, given, *args, **kwargs)


def _aget_or_set(original: Callable[..., Awaitable[Any]]) -> Original:
    @wraps(original)
    async def aget_or_set(self: Any, key: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
        if _ours(self) is None:
            return await original(self, key, default, *args, **kwargs)
        with _getting_or_setting(self, key, default) as given:
            return await original(self, key, given, *args, **kwargs)

    return aget_or_set


def _within(original: Original, self: Any, /, key: Any, *args: Any, **kwargs: Any) -> Any:
    """A method that looks something up, but not for its value."""
    record: KnownBackend = getattr(self, RECORD)
    with during("lookup") as call:
        result = original(self, key, *args, **kwargs)
    call.settle(record.layer_of(key), record.alias)
    return result


# --- Stores and invalidations -------------------------------------------------------------------------------


def _storing(original: Original, self: Any, /, key: Any, *args: Any, **kwargs: Any) -> Any:
    """`set`, `add`, `set_many`."""
    record: KnownBackend = getattr(self, RECORD)
    with during("store") as call:
        result = original(self, key, *args, **kwargs)
    layer = record.layer_of(next(iter(key), "") if isinstance(key, dict) else key)
    stored(layer, call.seconds)
    call.settle(layer, record.alias)
    return result


def _delete(original: Original, self: Any, /, key: Any, *args: Any, **kwargs: Any) -> Any:
    record = _ours(self)
    if record is None:
        result = original(self, key, *args, **kwargs)
        if (outer := calling()) is not None and outer.what == "invalidate":
            outer.found, outer.entries = True, outer.entries + bool(result)
        return result
    with dropping(record.layer_of(key), "path", record.alias) as call:
        result = original(self, key, *args, **kwargs)
        call.entries = int(bool(result))
    return result


def _delete_many(original: Original, self: Any, /, keys: Any, *args: Any, **kwargs: Any) -> Any:
    record: KnownBackend = getattr(self, RECORD)
    keys = keys if isinstance(keys, Collection) else list(keys)
    with dropping(record.layer_of(next(iter(keys), "")), "path", record.alias) as call:
        result = original(self, keys, *args, **kwargs)
        if call.found is None:
            # In one request, which a backend of somebody else's may answer. Where no answer comes back,
            # it is what was asked for.
            call.entries = result if type(result) is int else len(keys)
    return result


def _clear(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    record: KnownBackend = getattr(self, RECORD)
    with dropping(record.layer, "tag", record.alias) as call:
        before, call.what = entries(self), "clear"
        result = original(self, *args, **kwargs)
        if before is not None:
            call.entries += before
        else:
            call.known = call.found is True
    return result


METHODS: dict[str, Callable[[Original], Original]] = {
    "get": around(_get),
    "get_many": outermost(_get_many, RECORD),
    "get_or_set": outermost(_get_or_set, RECORD),
    "aget_or_set": _aget_or_set,
    "has_key": outermost(_within, RECORD),
    "incr": outermost(_within, RECORD),
    "incr_version": outermost(_within, RECORD),
    "set": outermost(_storing, RECORD),
    "add": outermost(_storing, RECORD),
    "set_many": outermost(_storing, RECORD),
    "delete": around(_delete),
    "delete_many": outermost(_delete_many, RECORD),
    "clear": outermost(_clear, RECORD),
    **LOCAL,
}
