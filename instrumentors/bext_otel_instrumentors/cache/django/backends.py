"""Django's cache backends: whose each is, how much it holds, and what it drops by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from bext_otel.catalogue import UNKNOWN
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original, around
from bext_otel_instrumentors.cache.calls import Call, calling
from bext_otel_instrumentors.cache.file_holdings import directories
from bext_otel_instrumentors.cache.holdings import holdings, size_of_store
from bext_otel_instrumentors.cache.layers import Layers, names_of
from bext_otel_instrumentors.cache.lookups import app_here
from bext_otel_instrumentors.cache.redis.holdings import RedisHoldings

__all__ = ["LOCAL", "RECORD", "KnownBackend", "answering", "entries", "forget", "record_of"]

RECORD = "_bext_otel_record"
"""Attribute of a backend that holds its record."""

_GROUP = "django"
_REDIS = "django.core.cache.backends.redis"


class KnownBackend:
    """What is known about a backend."""

    __slots__ = ("alias", "app", "layer", "layers", "used")

    def __init__(self, layers: Layers, alias: str, kind: type) -> None:
        self.alias = alias
        self.layers = layers
        self.layer = layers.named(alias, *names_of(*kind.__mro__))
        self.app = UNKNOWN
        self.used = False

    def layer_of(self, key: object) -> str:
        """The layer of a key, which is looked up or stored now."""
        self.used = True
        if self.app is UNKNOWN:
            self.app = app_here()
        return self.layers.keyed(key) or self.layer


def record_of(backend: Any, alias: str, layers: Layers) -> KnownBackend:
    """The record of a backend. Each thread has a backend of its own before one store, whose record is
    theirs."""
    store = getattr(backend, "_cache", None)
    path = str(Path(backend._dir).resolve()) if hasattr(backend, "_list_cache_files") else ""
    before = directories.user(path) if path else holdings.owner(store)
    if isinstance(before, KnownBackend) and before.alias == alias:
        return before
    record = KnownBackend(layers, alias, type(backend))
    if isinstance(store, dict):
        holdings.add(store, record, size_of_store, group=_GROUP)
    elif path:
        suffix = backend.cache_suffix
        directories.add(path, record, lambda name: name.endswith(suffix), group=_GROUP)
    elif type(store).__module__ == _REDIS:
        beginning = _beginning(backend)
        # Of keys that `[cache.layers]` names, redis-py's instrumentation tells.
        if beginning and layers.keyed(beginning) is None:
            _in_redis[store] = Layers({f"{beginning}*": record.layer})
    return record


def _beginning(backend: Any) -> str:
    """What all keys of a backend begin with; "" where the application makes them in its own way."""
    from django.core.cache.backends.base import default_key_func

    return f"{backend.key_prefix}:" if backend.key_func is default_key_func else ""


def forget() -> None:
    """Report nothing any longer."""
    holdings.forget(_GROUP)
    directories.forget(_GROUP)
    _in_redis.clear()


def entries(backend: Any) -> int | None:
    """How many entries a backend of this process holds; 0 for files, which are counted as they go; None for
    one that does not know."""
    store = getattr(backend, "_cache", None)
    if isinstance(store, dict):
        return len(store)
    return 0 if hasattr(backend, "_list_cache_files") or type(backend).__module__.endswith(".dummy") else None


# --- Django's Redis -----------------------------------------------------------------------------------------

_in_redis: WeakKeyDictionary[Any, Layers] = WeakKeyDictionary()


def answering(redis: RedisHoldings) -> Callable[[Original], Original]:
    """`get_client` of what asks a Redis for Django's backend: how many keys `delete_many` has deleted, it
    hears and does not tell."""

    def make(original: Original) -> Original:
        @wraps(original)
        def get_client(self: Any, *args: Any, **kwargs: Any) -> Any:
            client, call = original(self, *args, **kwargs), calling()
            try:
                layers = _in_redis.get(self)
                if layers is not None and (
                    kwargs.get("write") or len(self._servers) == 1
                ):  # others are copies of the first
                    redis.used(client, layers)
                if call is not None and call.what == "invalidate":
                    _listen(client, call)
            except Exception as error:  # a client of any kind
                report("a client of Redis", error)
            return client

        return get_client

    return make


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


# --- What backends of this process do by themselves ---------------------------------------------------------


def _drop(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """The file and memory backends' `_delete`: of what is too old, when it is looked up, and of files that
    make room."""
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


def _cull(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Their `_cull`, which makes room."""
    call = calling()
    if call is None:
        return original(self, *args, **kwargs)
    before, what, call.what = entries(self) or 0, call.what, "cull"
    try:
        return original(self, *args, **kwargs)
    finally:
        call.what = what
        call.evicted += before - (entries(self) or 0)


LOCAL: dict[str, Callable[[Original], Original]] = {"_delete": around(_drop), "_cull": around(_cull)}
"""Of the backends that keep everything in this process, or in files."""
