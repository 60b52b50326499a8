"""Functions and methods that cachetools' `cached` and `cachedmethod` wrap: what they make is a load."""

from __future__ import annotations

from contextlib import suppress
from functools import wraps
from typing import Any
from weakref import WeakSet

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original
from bext_otel_instrumentors.cache.cachetools.known import Method, known
from bext_otel_instrumentors.cache.calls import loading

__all__ = ["OURS", "unwrapping", "watch_cached", "watch_cachedmethod"]

OURS = "__bext_otel__"
"""Marks our `cached`."""


class _Loads:
    """The loads of one function, and the layer that its values go to."""

    def __init__(self, function: Any) -> None:
        name = getattr(function, "__qualname__", type(function).__qualname__)
        self.name = f"{getattr(function, '__module__', '')}.{name}"
        self.layer = known.layers.named(self.name)

    def into(self, cache: Any) -> None:
        """The values go to `cache`."""
        try:
            if isinstance(cache, known.module.Cache):
                record = known.of(cache)
                record.call(self.name)
                self.layer = record.layer
        except Exception as error:  # the guard's only purpose
            report("a cache of cachetools", error)

    def watch(self, function: Method) -> Method:
        @wraps(function)
        def load(*args: Any, **kwargs: Any) -> Any:
            with loading(self.layer, self.name):
                return function(*args, **kwargs)

        _loads.add(load)
        return load


_loads: WeakSet[Any] = WeakSet()


def unwrapping(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> None:
    """The constructor of what takes the place of a method: it says that it wraps what the application
    wrote."""
    original(self, *args, **kwargs)
    load: Any = getattr(self, "__wrapped__", None)
    if load in _loads:
        self.__wrapped__ = load.__wrapped__


def watch_cached(original: Method) -> Method:
    """`cached` of cachetools: what the functions that it wraps make is a load."""

    @wraps(original)
    def cached(cache: Any, *args: Any, **kwargs: Any) -> Any:
        decorator = original(cache, *args, **kwargs)

        @wraps(decorator)
        def decorate(function: Any) -> Any:
            loads = _Loads(function)
            loads.into(cache)
            return _as_if_of(function, decorator(loads.watch(function)))

        return decorate

    setattr(cached, OURS, True)
    return cached


def watch_cachedmethod(original: Method) -> Method:
    """The same of `cachedmethod`."""

    @wraps(original)
    def cachedmethod(cache: Any, *args: Any, **kwargs: Any) -> Any:
        if not callable(cache):
            return original(cache, *args, **kwargs)
        users: list[_Loads] = []

        @wraps(cache)
        def cache_of(*objects: Any, **named: Any) -> Any:
            found = cache(*objects, **named)
            for loads in users:
                loads.into(found)
            return found

        decorator = original(cache_of, *args, **kwargs)

        @wraps(decorator)
        def decorate(method: Any) -> Any:
            loads = _Loads(method)
            users.append(loads)
            decorated = _as_if_of(method, decorator(loads.watch(method)))
            if getattr(decorated, "cache", None) is cache_of:
                decorated.cache = cache
            return decorated

        return decorate

    return cachedmethod


def _as_if_of(function: Any, decorated: Any) -> Any:
    """What was decorated is what the application wrote, also to those who ask."""
    with suppress(
        AttributeError
    ):  # slots; then it says that it wraps ours, which says that it wraps the application's
        decorated.__wrapped__ = function
    return decorated
