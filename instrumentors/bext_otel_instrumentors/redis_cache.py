"""redis-py, where it is used as a cache: commands on keys that begin as `[cache.layers]` says, `"page:*" = "isr"`, and no others.

What a server holds of them is asked for now and then (`_redis_holdings`). It drops what is too old and makes room by itself, and tells
nobody whose keys those were: evictions and expiry are the server's own figures.
What Django's or Flask-Caching's backends do with their Redis is counted there, and not again here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import wraps
from time import time_ns
from typing import Any, NamedTuple

from bext_otel.catalogue import UNKNOWN
from bext_otel_instrumentors._base import Instrumentor
from bext_otel_instrumentors._cache import calling, during, invalidated, invalidating, invalidation, looked_up, stored
from bext_otel_instrumentors._guard import report
from bext_otel_instrumentors._imported import Imports
from bext_otel_instrumentors._layers import Layers
from bext_otel_instrumentors._patch import Patches
from bext_otel_instrumentors._redis_holdings import EVERY_SECONDS, RedisHoldings
from bext_otel_instrumentors._serving import Hosting

__all__ = ["RedisCacheInstrumentor", "invalidating"]

Method = Callable[..., Any]

# What commands do (redis.io/commands), and where their keys stand: the first argument, all of them, or every second one.
_ONE, _ALL, _PAIRS = slice(1, 2), slice(1, None), slice(1, None, 2)
_COMMANDS: dict[str, tuple[str, slice]] = {
    "GET": ("lookup", _ONE),
    "GETEX": ("lookup", _ONE),
    "HGET": ("lookup", _ONE),
    "HGETALL": ("lookup", _ONE),
    "MGET": ("lookup", _ALL),
    "SET": ("store", _ONE),
    "SETEX": ("store", _ONE),
    "PSETEX": ("store", _ONE),
    "SETNX": ("store", _ONE),
    "HSET": ("store", _ONE),
    "MSET": ("store", _PAIRS),
    "DEL": ("drop", _ALL),
    "UNLINK": ("drop", _ALL),
    "GETDEL": ("drop", _ONE),
    "FLUSHDB": ("flush", _ONE),
    "FLUSHALL": ("flush", _ONE),
}
_KIND = "redis"


class RedisCacheInstrumentor(Instrumentor):
    """Instruments redis-py's clients, pipelines and cluster clients, synchronous and asynchronous, as soon as they are imported.

    `instrument(layers={"page:*": "isr", "session:*": "tenant"})`: which keys belong to a cache, by what they begin with; the layer
    `unknown` makes a cache of keys that belong to none of the four. `redis_seconds`: how often servers are asked what they hold, 0 for
    never.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """redis-py."""
        return ("redis >= 5.0",)

    def _instrument(self, **kwargs: Any) -> None:
        self._layers = Layers(kwargs.get("layers"))
        self._holdings = RedisHoldings(self._layers, kwargs.get("redis_seconds", EVERY_SECONDS))
        self._imports = Imports()
        super()._instrument(**kwargs)

    def _patch(self, patches: Patches, hosting: Hosting) -> None:
        if not self._layers.beginnings:
            return  # nothing is said to be a cache
        self._imports.when("redis.client", self._cover)
        self._imports.when("redis.asyncio.client", self._cover_async)
        self._imports.when("redis.cluster", lambda module: self._patches.wrap(module.RedisCluster, "execute_command", self._commands))
        self._imports.when(
            "redis.asyncio.cluster", lambda module: self._patches.wrap(module.RedisCluster, "execute_command", self._async_commands)
        )

    def _uninstrument(self, **kwargs: Any) -> None:
        self._imports.forget()
        self._holdings.stop()
        super()._uninstrument(**kwargs)

    def _cover(self, module: Any) -> None:
        self._patches.wrap(module.Redis, "execute_command", self._commands)
        self._patches.wrap(module.Pipeline, "execute", self._pipeline)

    def _cover_async(self, module: Any) -> None:
        self._patches.wrap(module.Redis, "execute_command", self._async_commands)
        self._patches.wrap(module.Pipeline, "execute", self._async_pipeline)

    def _asked(self, client: Any, args: tuple[Any, ...]) -> _Asked | None:
        asked = _asked(self._layers, args)
        if asked is not None:
            self._holdings.used(client)
        return asked

    # --- Single commands ------------------------------------------------------------------------------------------------------------

    def _commands(self, original: Method) -> Method:
        @wraps(original)
        def execute_command(client: Any, *args: Any, **options: Any) -> Any:
            asked = self._asked(client, args)
            if asked is None:
                return original(client, *args, **options)
            if calling() is not None:
                return _for_the_caller(asked, original(client, *args, **options))
            if asked.verb in {"drop", "flush"}:
                with invalidation(asked.layer, asked.by, _KIND) as call:
                    result = original(client, *args, **options)
                    call.entries = _dropped(asked, result)
                return result
            with during(asked.verb) as call:
                result = original(client, *args, **options)
            _tell(asked, result, call.seconds)
            return result

        return execute_command

    def _async_commands(self, original: Callable[..., Awaitable[Any]]) -> Method:
        @wraps(original)
        async def execute_command(client: Any, *args: Any, **options: Any) -> Any:
            asked = self._asked(client, args)
            if asked is None:
                return await original(client, *args, **options)
            if calling() is not None:
                return _for_the_caller(asked, await original(client, *args, **options))
            if asked.verb in {"drop", "flush"}:
                with invalidation(asked.layer, asked.by, _KIND) as call:
                    result = await original(client, *args, **options)
                    call.entries = _dropped(asked, result)
                return result
            with during(asked.verb) as call:
                result = await original(client, *args, **options)
            _tell(asked, result, call.seconds)
            return result

        return execute_command

    # --- Pipelines: counted command by command, and not timed, since they share one way to the server and back -----------------------

    def _pipeline(self, original: Method) -> Method:
        @wraps(original)
        def execute(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
            stack, started = list(pipeline.command_stack), time_ns()
            results = original(pipeline, *args, **kwargs)
            self._tell_all(pipeline, stack, results, started)
            return results

        return execute

    def _async_pipeline(self, original: Callable[..., Awaitable[Any]]) -> Method:
        @wraps(original)
        async def execute(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
            stack, started = list(pipeline.command_stack), time_ns()
            results = await original(pipeline, *args, **kwargs)
            self._tell_all(pipeline, stack, results, started)
            return results

        return execute

    def _tell_all(self, pipeline: Any, stack: list[Any], results: Any, started: int) -> None:
        if calling() is not None:
            return
        try:
            for (command, *_), result in zip(stack, results, strict=False):
                asked = None if isinstance(result, Exception) else self._asked(pipeline, command)
                if asked is None:
                    continue
                if asked.verb in {"drop", "flush"}:
                    if entries := _dropped(asked, result):
                        invalidated(asked.layer, asked.by, _KIND, started_ns=started, entries=entries)
                else:
                    _tell(asked, result, None)
        except Exception as error:  # a stack or results of another shape
            report("a pipeline of redis-py", error)


class _Asked(NamedTuple):
    """A command on keys of a cache: what it does, and the layer of each of its keys, None for one that is of no cache."""

    verb: str
    layers: tuple[str | None, ...]

    @property
    def layer(self) -> str:
        return next((layer for layer in self.layers if layer is not None), UNKNOWN)

    @property
    def by(self) -> Any:
        return "tag" if self.verb == "flush" else "path"


def _asked(layers: Layers, args: tuple[Any, ...]) -> _Asked | None:
    """What a command asks of a cache; None if it is about something else."""
    try:
        name = args[0]
        found = _COMMANDS.get(name) or _COMMANDS.get(name.upper())
        if found is None:
            return None
        verb, where = found
        if verb == "flush":
            return _Asked(verb, ())
        keyed = tuple(layers.keyed(key) for key in args[where])
        return _Asked(verb, keyed) if any(keyed) else None
    except Exception:  # whatever is no command is the client's to refuse
        return None


def _dropped(asked: _Asked, result: Any) -> int:
    """How many entries of the cache a command has dropped; what a flush has dropped, the server does not say."""
    if asked.verb == "flush":
        return 0
    if isinstance(result, int):
        return min(result, sum(layer is not None for layer in asked.layers))
    return int(result is not None)


def _for_the_caller(asked: _Asked, result: Any) -> Any:
    """A library above has asked, and counts. How much it has dropped, it may not know."""
    call = calling()
    if call is not None and call.what == "invalidate" and asked.verb == "drop" and isinstance(result, int):
        call.found, call.entries = True, call.entries + int(result)
    return result


def _tell(asked: _Asked, result: Any, seconds: float | None) -> None:
    if asked.verb == "store":
        if seconds is not None:
            stored(asked.layer, seconds)
        return
    values = result if isinstance(result, (list, tuple)) and len(asked.layers) > 1 else [result]
    counted: dict[tuple[str, bool], int] = {}
    for layer, value in zip(asked.layers, values, strict=False):
        if layer is not None:
            found = value is not None and value != {}
            counted[layer, found] = counted.get((layer, found), 0) + 1
    for (layer, found), times in counted.items():
        looked_up(layer, found, _KIND, times=times, seconds=seconds)
        seconds = None
