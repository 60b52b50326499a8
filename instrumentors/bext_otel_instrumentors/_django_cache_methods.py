"""The methods of Django's cache backends, watched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import wraps
from typing import Any

from bext_otel.catalogue import UNKNOWN
from bext_otel_instrumentors._cache import Call, app_here, begin_load, calling, during, end_load, invalidation, looked_up, stored
from bext_otel_instrumentors._guard import report
from bext_otel_instrumentors._layers import Layers, names_of

__all__ = ["METHODS", "RECORD", "Method", "Record", "answering"]

Method = Callable[..., Any]

RECORD = "_bext_otel_record"
"""Attribute of a backend that holds its record."""

_NOTHING: Any = object()


class Record:
    """What is known about a backend."""

    __slots__ = ("alias", "app", "layer", "layers")

    def __init__(self, layers: Layers, alias: str, kind: type) -> None:
        self.alias = alias
        self.layers = layers
        self.layer = layers.named(alias, *names_of(*kind.__mro__))
        self.app = UNKNOWN

    def layer_of(self, key: object) -> str:
        if self.app is UNKNOWN:
            self.app = app_here()
        return self.layers.keyed(key) or self.layer


def _ours(self: Any) -> Record | None:
    """The record of a backend in whose call nobody is yet."""
    return None if calling() is not None else getattr(self, RECORD, None)


# --- Lookups ------------------------------------------------------------------------------------------------------------------------


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
        load = begin_load(self._layer, getattr(self._function, "__qualname__", type(self._function).__qualname__))
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


# --- Stores and invalidations -------------------------------------------------------------------------------------------------------


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
                # In one request, which a backend of somebody else's may answer. Where no answer comes back, it is what was asked for.
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
            before, call.what = _entries(self), "clear"
            result = original(self, *args, **kwargs)
            if before is not None:
                call.entries += before
            else:
                call.known = call.found is True
        return result

    return clear


def _entries(backend: Any) -> int | None:
    """How many entries a backend of this process holds; 0 for files, which are counted as they go; None for one that does not know."""
    store = getattr(backend, "_cache", None)
    if isinstance(store, dict):
        return len(store)
    return 0 if hasattr(backend, "_list_cache_files") or type(backend).__module__.endswith(".dummy") else None


def answering(original: Method) -> Method:
    """`get_client` of the client that Django's Redis backend has: how many keys `delete_many` has deleted, it asks and does not tell."""

    @wraps(original)
    def get_client(self: Any, *args: Any, **kwargs: Any) -> Any:
        client, call = original(self, *args, **kwargs), calling()
        if call is not None and call.what == "invalidate":
            try:
                _listen(client, call)
            except Exception as error:  # a client of any kind
                report("a client of Redis", error)
        return client

    return get_client


def _listen(client: Any, call: Call) -> None:
    """A client that was made for this call tells it what DEL answers."""
    execute = client.execute_command

    @wraps(execute)
    def execute_command(*args: Any, **options: Any) -> Any:
        before, reply = call.entries, execute(*args, **options)
        if args[:1] == ("DEL",) and type(reply) is int:
            call.found, call.entries = True, before + reply
        return reply

    client.execute_command = execute_command


# --- What backends of this process do by themselves ---------------------------------------------------------------------------------


def _drop(original: Method) -> Method:
    """The file and memory backends' `_delete`: of what is too old, when it is looked up, and of files that make room."""

    @wraps(original)
    def _delete(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        call = calling()
        if call is not None and result is True:
            if call.what == "lookup":
                call.expired += 1
            elif call.what == "cull":
                call.evicted += 1
            elif call.what == "clear":
                call.entries += 1
        return result

    return _delete


def _cull(original: Method) -> Method:
    """Their `_cull`, which makes room."""

    @wraps(original)
    def _cull(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = calling()
        if call is None:
            return original(self, *args, **kwargs)
        before, what, call.what = _entries(self) or 0, call.what, "cull"
        try:
            return original(self, *args, **kwargs)
        finally:
            call.what = what
            call.evicted += before - (_entries(self) or 0)

    return _cull


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
    "_delete": _drop,
    "_cull": _cull,
}
