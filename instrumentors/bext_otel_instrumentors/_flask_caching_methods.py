"""The methods of Flask-Caching's `Cache`, watched."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any

from bext_otel.catalogue import UNKNOWN
from bext_otel_instrumentors._cache import app_here, begin_load, calling, during, end_load, invalidation, looked_up, stored
from bext_otel_instrumentors._guard import report
from bext_otel_instrumentors._holdings import Size, size_of_store
from bext_otel_instrumentors._layers import Layers, names_of

__all__ = ["LOCAL", "METHODS", "Method", "Record", "size_of"]

Method = Callable[..., Any]

_RECORD = "_bext_otel_record"


class Record:
    """What is known about a backend."""

    layers = Layers()

    def __init__(self, backend: Any) -> None:
        self.kind = type(backend).__name__
        self.layer = Record.layers.named(*names_of(*type(backend).__mro__))
        self.from_layers = Record.layers
        self.app = UNKNOWN

    @classmethod
    def of(cls, backend: Any) -> Record:
        """The record of a backend, which is new if it is the first time."""
        record = vars(backend).get(_RECORD)
        if not isinstance(record, cls) or record.from_layers is not cls.layers:
            record = cls(backend)
            setattr(backend, _RECORD, record)
        if record.app is UNKNOWN:
            record.app = app_here()
        return record


def size_of(backend: Any) -> Size:
    """Entries and bytes of a backend that keeps serialised values in a dictionary, together with when they expire."""
    return size_of_store(backend._cache, lambda kept: kept[1])


# --- Decorated functions ------------------------------------------------------------------------------------------------------------


class _Turn:
    """A call of a decorated function: it looks up, calls the function if it must, and stores. Nothing says where it ends, so each of these
    steps is its own once; what comes after is not of this function.

    What it looked up is counted only when it is known what the library makes of it: a None may have been stored, and a value may be stale.
    """

    __slots__ = ("bypassed", "function", "layer", "looked", "name", "stored", "waiting")

    def __init__(self, function: Any, *, bypassed: bool) -> None:
        self.function = function
        self.bypassed = bypassed
        self.name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
        found = Record.layers.named(self.name)
        self.layer = None if found is UNKNOWN else found
        self.looked = self.stored = bypassed
        self.waiting: Callable[[bool], None] | None = None

    def settle(self, found: bool) -> None:
        """What it looked up was answered by the cache, or was not."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting(found)


_turn: ContextVar[_Turn | None] = ContextVar("bext_otel_flask_caching_turn", default=None)


def _bypass(original: Method) -> Method:
    """The first that a call of a decorated function does is to ask whether to leave the cache out."""

    @wraps(original)
    def _bypass_cache(self: Any, unless: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        bypassed = original(self, unless, function, *args, **kwargs)
        try:
            _turn.set(_Turn(function, bypassed=bool(bypassed)))
        except Exception as error:  # a function of any kind
            report("a cached function", error)
        return bypassed

    return _bypass_cache


def _call_fn(original: Method) -> Method:
    @wraps(original)
    def _call_fn(self: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        turn = _turn.get()
        if turn is None or turn.function is not function or turn.bypassed:
            return original(self, function, *args, **kwargs)
        turn.settle(False)
        load = begin_load(turn.layer or _layer(self, None), turn.name)
        try:
            value = original(self, function, *args, **kwargs)
        except BaseException as error:
            turn.stored = True
            end_load(load, error)
            raise
        end_load(load)
        _turn.set(turn)  # the function may have called others
        turn.looked = True
        return value

    return _call_fn


def _has(original: Method) -> Method:
    """Looks something up, but not for its value. A decorated function that may answer None asks whether the None it got was stored."""

    @wraps(original)
    def has(self: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None:
            return original(self, *args, **kwargs)
        with during():
            found = original(self, *args, **kwargs)
        turn = _turn.get()
        if turn is not None and turn.waiting is not None:
            turn.stored = bool(found)
            if not found or not hasattr(self, "_is_stale"):
                turn.settle(bool(found))
        return found

    return has


def _is_stale(original: Method) -> Method:
    """Asked of each value that a decorated function has found; one that is stale is made anew."""

    @wraps(original)
    def _is_stale(self: Any, *args: Any, **kwargs: Any) -> Any:
        turn, stale = _turn.get(), True
        try:
            stale = original(self, *args, **kwargs)
        finally:
            if turn is not None:
                turn.settle(not stale)
                turn.stored = not stale
                _turn.set(turn)  # the application's function may have called others
        return stale

    return _is_stale


def _layer(cache: Any, key: object, turn: _Turn | None = None) -> str:
    try:
        found = Record.layers.keyed(key)
        if found is None and turn is not None:
            found = turn.layer
        return found or Record.of(cache.cache).layer
    except Exception:  # no application, or a backend that takes no attribute
        return UNKNOWN


def _kind(cache: Any) -> str:
    try:
        return Record.of(cache.cache).kind
    except Exception:  # as above
        return UNKNOWN


# --- Methods ------------------------------------------------------------------------------------------------------------------------


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    """The key that a call is about, or one of them."""
    key = args[0] if args else kwargs.get("key", kwargs.get("mapping"))
    return next(iter(key), None) if isinstance(key, dict) else key


def _get(original: Method) -> Method:
    @wraps(original)
    def get(self: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None:
            return original(self, *args, **kwargs)
        turn = _turn.get()
        if turn is not None and turn.looked:
            turn = None
        elif turn is not None:
            turn.looked = True
        with during("lookup") as call:
            value = original(self, *args, **kwargs)
        layer, kind = _layer(self, _first(args, kwargs), turn), _kind(self)
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
        layer, kind = _layer(self, _first(args, kwargs)), _kind(self)
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
        turn = _turn.get()
        if turn is not None and (turn.stored or not turn.looked):
            turn = None
        elif turn is not None:
            turn.stored = True
        with during("store") as call:
            result = original(self, *args, **kwargs)
        layer = _layer(self, _first(args, kwargs), turn)
        stored(layer, call.seconds)
        call.settle(layer, _kind(self))
        return result

    return store


def _deleting(original: Method) -> Method:
    """`delete`, `delete_many`, `unlink`."""

    @wraps(original)
    def delete(self: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None:
            return original(self, *args, **kwargs)
        with invalidation(_layer(self, _first(args, kwargs)), "path", _kind(self)) as call:
            result = original(self, *args, **kwargs)
            # cachelib answers with the keys that are gone now; a client, with how many went.
            call.entries = len(result) if isinstance(result, list) else int(result or 0)
        return result

    return delete


def _delete_many(original: Method) -> Method:
    """It counts a key that was not there as deleted, so what the store has lost is counted where there is a store."""

    @wraps(original)
    def delete_many(self: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None:
            return original(self, *args, **kwargs)
        with invalidation(_layer(self, _first(args, kwargs)), "path", _kind(self)) as call:
            before = _entries(self)
            result = original(self, *args, **kwargs)
            lost = None if before is None else before - (_entries(self) or 0)
            call.entries = max(lost, 0) if lost is not None else len(result) if isinstance(result, list) else 0
        return result

    return delete_many


def _clear(original: Method) -> Method:
    @wraps(original)
    def clear(self: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None:
            return original(self, *args, **kwargs)
        with invalidation(_layer(self, None), "tag", _kind(self)) as call:
            entries = _entries(self)
            result = original(self, *args, **kwargs)
            if entries is not None:
                call.entries = entries
            else:
                call.known = call.found is True  # a client below has told
        return result

    return clear


def _delete_memoized(original: Method) -> Method:
    """All that a function has memoized becomes unreachable; how much, Flask-Caching does not know. With arguments, it deletes a key."""

    @wraps(original)
    def delete_memoized(self: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        if calling() is not None or args or kwargs:
            return original(self, function, *args, **kwargs)
        named = getattr(function, "uncached", function)
        layer = _Turn(named, bypassed=True).layer or _layer(self, None)
        with invalidation(layer, "tag", _kind(self)) as call:
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


def _entries(cache: Any) -> int | None:
    """How many entries a backend of this process, or of files, holds; None for one that does not know."""
    try:
        backend = cache.cache
        store = getattr(backend, "_cache", None)
        if isinstance(store, dict):
            return len(store)
        if type(backend).__name__ == "NullCache":
            return 0
        # Files are counted as they come and go, in a file of their own, unless there may be any number of them.
        return int(backend._file_count) if getattr(backend, "_threshold", 0) and hasattr(backend, "_file_count") else None
    except Exception:  # no application, or a backend of any kind
        return None


METHODS: dict[str, Callable[[Method], Method]] = {
    "_bypass_cache": _bypass,
    "_call_fn": _call_fn,
    "_memoize_version": _within,
    "get": _get,
    "get_many": _get_many,
    "get_dict": _get_many,
    "_is_stale": _is_stale,
    "has": _has,
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


LOCAL: dict[str, Callable[[Method], Method]] = {"_remove_expired": _dropping("expired"), "_remove_older": _dropping("evicted")}
"""Of the backend that keeps everything in this process."""
