"""redis-py, where it is used as a cache: commands on keys that begin as `[cache.layers]` says, `"page:*" =
"isr"`, and no others.

What a server holds of them is asked for now and then (`_redis_holdings`). It drops what is too old and makes
room by itself, and tells nobody whose keys those were: evictions and expiry are the server's own figures. How
much a flush drops, it does not say either, so that is told and traced, and counts nothing. What Django's or
Flask-Caching's backends do with their Redis is counted there, and not again here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original, Patches
from bext_otel_instrumentors.cache.calls import Call, calling, during
from bext_otel_instrumentors.cache.drops import invalidating
from bext_otel_instrumentors.cache.layers import Layers
from bext_otel_instrumentors.cache.redis.commands import Asked, Kept, asking, read, tell_piped
from bext_otel_instrumentors.cache.redis.holdings import EVERY_SECONDS, RedisHoldings

__all__ = ["RedisCacheInstrumentor", "invalidating"]

Wrapping = Callable[[Any], Original]


class RedisCacheInstrumentor(Instrumentor):
    """Instruments redis-py's clients, pipelines and cluster clients, synchronous and asynchronous, as soon as
    they are imported.

    `instrument(layers={"page:*": "isr", "session:*": "tenant"})`: which keys belong to a cache, by what they
    begin with; the layer `unknown` makes a cache of keys that belong to none of the four. `redis_seconds`:
    how often servers are asked what they hold, 0 for never.
    """

    requires = ("redis >= 5.0",)

    def _instrument(self, **kwargs: Any) -> None:
        self._layers = Layers(kwargs.get("layers"))
        self._holdings = RedisHoldings(self._layers, kwargs.get("redis_seconds", EVERY_SECONDS))
        super()._instrument(**kwargs)

    def _patch(self, patches: Patches) -> None:
        if not self._layers.beginnings:
            return  # nothing is said to be a cache
        patches.when_imported(
            "redis.client", lambda module: self._cover(module, self._commands, self._pipeline)
        )
        patches.when_imported(
            "redis.asyncio.client",
            lambda module: self._cover(module, self._async_commands, self._async_pipeline),
        )
        patches.when_imported(
            "redis.cluster", lambda module: self._cover_cluster(module, self._commands, self._pipeline)
        )
        patches.when_imported(
            "redis.asyncio.cluster",
            lambda module: self._cover_cluster(module, self._async_commands, self._async_pipeline),
        )

    def _uninstrument(self, **kwargs: Any) -> None:
        self._holdings.stop()
        super()._uninstrument(**kwargs)

    def _cover(self, module: Any, commands: Wrapping, pipelines: Wrapping) -> None:
        self._patches.wrap(module.Redis, "execute_command", commands)
        self._patches.wrap(module.Pipeline, "execute", pipelines)
        # What follows is not part of redis-py's interface, and may be missing: commands between WATCH and
        # MULTI, which are made at once.
        self._wrap_if_there(module.Pipeline, "immediate_execute_command", commands)
        self._wrap_if_there(module.Pipeline, "raise_first_error", _keeping(1))

    def _cover_cluster(self, module: Any, commands: Wrapping, pipelines: Wrapping) -> None:
        self._patches.wrap(module.RedisCluster, "execute_command", commands)
        self._patches.wrap(module.ClusterPipeline, "execute", pipelines)
        transaction = getattr(module, "TransactionStrategy", None)  # since redis-py 6
        if transaction is not None:
            self._wrap_if_there(transaction, "_immediate_execute_command", commands)
            self._wrap_if_there(transaction, "_raise_first_error", _keeping(0))

    def _wrap_if_there(self, owner: type, name: str, make: Wrapping) -> None:
        if hasattr(owner, name):
            self._patches.wrap(owner, name, make)

    def _asked(self, client: Any, args: Sequence[Any]) -> Asked | None:
        found = read(self._layers, args)
        if found is not None:
            self._holdings.used(client)
        return found

    # --- Single commands ------------------------------------------------------------------------------------

    def _commands(self, original: Original) -> Original:
        @wraps(original)
        def execute_command(client: Any, *args: Any, **options: Any) -> Any:
            asked = self._asked(client, args)
            if asked is None:
                return original(client, *args, **options)
            with asking(asked) as answered:
                return answered(original(client, *args, **options))

        return execute_command

    def _async_commands(self, original: Callable[..., Awaitable[Any]]) -> Original:
        @wraps(original)
        async def execute_command(client: Any, *args: Any, **options: Any) -> Any:
            asked = self._asked(client, args)
            if asked is None:
                return await original(client, *args, **options)
            with asking(asked) as answered:
                return answered(await original(client, *args, **options))

        return execute_command

    # --- Pipelines: counted command by command, and not timed, since they share one way to the server and bac

    def _pipeline(self, original: Original) -> Original:
        @wraps(original)
        def execute(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
            with self._piping(pipeline) as answered:
                return answered(original(pipeline, *args, **kwargs))

        return execute

    def _async_pipeline(self, original: Callable[..., Awaitable[Any]]) -> Original:
        @wraps(original)
        async def execute(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
            with self._piping(pipeline) as answered:
                return answered(await original(pipeline, *args, **kwargs))

        return execute

    @contextmanager
    def _piping(self, pipeline: Any) -> Iterator[Callable[[Any], Any]]:
        """Around a pipeline's execution: what is yielded is to be given the answers, which it returns."""
        answers = Kept()
        if calling() is not None:
            yield answers
            return
        stack = _stack(pipeline)
        with during("pipeline") as call:
            try:
                yield answers
            except BaseException as error:
                self._tell_all(pipeline, stack, _replies(call, stack, error), call.started_ns)
                raise
        for replies in answers:
            self._tell_all(pipeline, stack, replies, call.started_ns)

    def _tell_all(self, pipeline: Any, stack: list[Any], replies: Sequence[Any], started_ns: int) -> None:
        try:
            for command, reply in zip(stack, replies, strict=False):
                # A cluster's commands are objects, others a tuple of arguments and options.
                asked = (
                    None
                    if isinstance(reply, Exception)
                    else self._asked(pipeline, getattr(command, "args", None) or command[0])
                )
                if asked is not None:
                    tell_piped(asked, reply, started_ns)
        except Exception as error:  # a stack or replies of another shape
            report("a pipeline of redis-py", error)


def _stack(pipeline: Any) -> list[Any]:
    """The commands of a pipeline, which forgets them when it is executed."""
    strategy = getattr(pipeline, "_execution_strategy", pipeline)
    for name in ("_command_queue", "_command_stack", "command_stack"):
        stack = getattr(strategy, name, None)
        if isinstance(stack, list):
            return list(stack)
    return []


def _replies(call: Call, stack: list[Any], error: BaseException) -> Sequence[Any]:
    """What was answered to the commands of a pipeline that raised `error`; nothing, if it was not for one of
    the answers."""
    if call.replies is not None:
        return call.replies
    replies = [getattr(command, "result", None) for command in stack]
    return replies if any(reply is error for reply in replies) else ()


def _keeping(position: int) -> Callable[[Original], Original]:
    """A method that raises the first error among replies, which are its argument at `position`: the
    pipeline's call keeps them."""

    def make(original: Original) -> Original:
        @wraps(original)
        def raise_first_error(self: Any, *args: Any, **kwargs: Any) -> Any:
            call = calling()
            if call is not None and call.what == "pipeline" and len(args) > position:
                call.replies = args[position]
            return original(self, *args, **kwargs)

        return raise_first_error

    return make
