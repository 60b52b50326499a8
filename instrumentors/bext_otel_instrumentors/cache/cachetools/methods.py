"""The methods of cachetools' caches, watched."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import wraps
from types import FrameType
from typing import Any

from bext_otel.catalogue import UNKNOWN
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.cache.cachetools.known import KnownCache, Method, known
from bext_otel_instrumentors.cache.drops import evicted, invalidated
from bext_otel_instrumentors.cache.lookups import app_here, looked_up

__all__ = ["METHODS"]


class _Doing(threading.local):
    """What this thread is doing to which cache, so that what the library does on the way is not taken for the
    application's."""

    cache: Any = None
    what = ""


_doing = _Doing()

# What views of a cache do, and comparing it.
_MIXINS: dict[str, Any] = Mapping.items.__globals__


def _record(cache: Any) -> KnownCache:
    record = known.records.get(id(cache)) or known.of(cache)
    if record.app is UNKNOWN:  # made when nobody's work was being done; it is theirs who use it first
        record.app = app_here()
    return record


def _looked(cache: Any, found: bool) -> None:
    try:
        record = _record(cache)
        looked_up(record.layer, found, record.kind)
    except Exception as error:  # the guard's only purpose
        report("a lookup of cachetools", error)


def _is_part(cache: Any) -> bool:
    """Whether a lookup is part of something else: of another method, or of a view's that goes through all
    that the cache holds."""
    if _doing.cache is cache:
        return True
    frame = sys._getframe(2)
    if frame.f_code is getattr(type(cache).__getitem__, "__code__", None) and frame.f_back is not None:
        frame = frame.f_back  # a method of the application's class, which asks the library's
    return frame.f_globals is _MIXINS


def _getitem(original: Method) -> Method:
    @wraps(original)
    def __getitem__(self: Any, key: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807  # it becomes that method
        try:
            value = original(self, key, *args, **kwargs)
        except KeyError:
            if not _is_part(self):
                _looked(self, False)
            raise
        # A value that the class's own `__missing__` made looks like one that was there, so neither is
        # counted.
        if type(self).__missing__ is known.module.Cache.__missing__ and not _is_part(self):
            _looked(self, True)
        return value

    return __getitem__


def _contains(original: Method) -> Method:
    """`in` is a lookup where the answer is no: after a yes, the value is looked up."""

    @wraps(original)
    def __contains__(self: Any, key: Any) -> Any:  # noqa: N807  # it becomes that method
        found = original(self, key)
        if not found and not _is_part(self):
            _looked(self, False)
        return found

    return __contains__


def _get(original: Method) -> Method:
    @wraps(original)
    def get(self: Any, key: Any, default: Any = None) -> Any:
        before = _doing.cache, _doing.what
        if before[0] is self:
            return original(self, key, default)
        _doing.cache, _doing.what = self, "get"
        try:
            value = original(self, key, _NOTHING)
        finally:
            _doing.cache, _doing.what = before
        _looked(self, value is not _NOTHING)
        return default if value is _NOTHING else value

    return get


_NOTHING: Any = object()


def _while(what: str, *, within: bool = True) -> Callable[[Method], Method]:
    """A method that does `what`; `within` another one on the same cache it is a part of that."""

    def make(original: Method) -> Method:
        @wraps(original)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            before = _doing.cache, _doing.what
            if within and before[0] is self:
                return original(self, *args, **kwargs)
            _doing.cache, _doing.what = self, what
            try:
                return original(self, *args, **kwargs)
            finally:
                _doing.cache, _doing.what = before

        return method

    return make


def _setitem(original: Method) -> Method:
    storing = _while("store", within=False)(original)

    @wraps(original)
    def __setitem__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807  # it becomes that method
        try:
            _record(self)
        except Exception as error:  # the guard's only purpose
            report("a store of cachetools", error)
        return storing(self, *args, **kwargs)

    return __setitem__


def _delitem(original: Method) -> Method:
    @wraps(original)
    def __delitem__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # it becomes that method
        what = _doing.what if _doing.cache is self and _doing.what != "get" else "drop"
        started = time.perf_counter_ns()
        original(self, *args, **kwargs)
        if what == "store":
            _dropped(self, "", 1, started)
        elif what == "drop":
            _dropped(self, "path", 1, started)

    return __delitem__


def _expiring(original: Method) -> Method:
    """What a value replaces that has expired already."""

    @wraps(original)
    def drop(self: Any, *args: Any, **kwargs: Any) -> Any:
        before, started = _count(self), time.perf_counter_ns()
        result = original(self, *args, **kwargs)
        if (dropped := before - _count(self)) > 0:
            _dropped(self, "gc", dropped, started)
        return result

    return drop


def _sweeping(what: str) -> Callable[[Method], Method]:
    """A method that drops many entries at once: how many is what is missing afterwards."""

    def make(original: Method) -> Method:
        within = _while(what, within=False)(original)

        @wraps(original)
        def sweep(self: Any, *args: Any, **kwargs: Any) -> Any:
            if _doing.cache is self and _doing.what == what:
                return original(self, *args, **kwargs)
            before, started, clock = _count(self), time.perf_counter_ns(), time.perf_counter()
            result = within(self, *args, **kwargs)
            dropped = before - _count(self)
            if dropped > 0:
                seconds = time.perf_counter() - clock if what == "clear" else None
                _dropped(self, "gc" if what == "expire" else "tag", dropped, started, seconds)
            return result

        return sweep

    return make


def _count(cache: Any) -> int:
    try:
        return int(known.module.Cache.__len__(cache))
    except Exception:  # a class that does not call our library's constructor has no entries there
        return 0


def _dropped(cache: Any, by: Any, entries: int, started_ns: int, seconds: float | None = None) -> None:
    try:
        record = _record(cache)
        if by:
            invalidated(
                record.layer, by, record.kind, started_ns=started_ns, entries=entries, seconds=seconds
            )
        else:
            evicted(record.layer, record.kind, started_ns=started_ns, entries=entries)
    except Exception as error:  # the guard's only purpose
        report("an eviction of cachetools", error)


def _init(original: Method) -> Method:
    @wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # it becomes that method
        original(self, *args, **kwargs)
        try:
            known.of(self, _maker())
        except Exception as error:  # the guard's only purpose
            report("a new cache of cachetools", error)

    return __init__


def _maker() -> str:
    """The module that makes a cache: the first one on the stack that is neither the library's nor ours."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name != __name__ and name.partition(".")[0] != "cachetools":
            return str(name)
        frame = frame.f_back
    return ""


METHODS: dict[str, Callable[[Method], Method]] = {
    "__init__": _init,
    "__getitem__": _getitem,
    "__contains__": _contains,
    "get": _get,
    "__setitem__": _setitem,
    "setdefault": _while("default"),
    "pop": _while("drop"),
    "popitem": _while("drop"),
    "__delitem__": _delitem,
    "clear": _sweeping("clear"),
    "expire": _sweeping("expire"),
    "_TLRUCache__delitem": _expiring,
}
