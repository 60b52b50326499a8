"""How much Redis servers hold of this service's caches: entries and bytes of the keys that begin as
`[cache.layers]` says.

A server tells neither for a beginning of keys, so keys are scanned now and then, in a thread and over a
connection of our own. Who reads metrics gets what the last look found. All workers of the service look at one
and the same server, which counts once.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.instrumentation.utils import suppress_instrumentation

from bext_otel.catalogue import CACHE_BYTES, CACHE_ENTRIES, UNKNOWN
from bext_otel.operation import observe
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.cache.layers import Layers
from bext_otel_instrumentors.cache.lookups import app_here

__all__ = ["EVERY_SECONDS", "RedisHoldings"]

_log = logging.getLogger(__name__)

EVERY_SECONDS = 30.0
"""How often a server is asked, unless `[cache] redis_seconds` says otherwise."""

# A look costs the server ten commands of a fraction of a millisecond each. Where a database has more keys
# than that, what was seen stands for the rest: keys are scanned in the order of their hashes, which is a
# sample as good as any.
_MOST_KEYS = 10_000
_KEYS_AT_ONCE = 1_000
# Keys of a layer whose size is asked for; their mean stands for all of them.
_MOST_SIZES = 100

_TIMEOUT_SECONDS = 2.0
_MOST_DATABASES = 16
# Who has not used a database for that long tells of it no more: another worker may, and knows better.
_REST_SECONDS = 300.0

# What a connection of our own needs to know of the application's: by redis-py's names, which its pools keep.
_SETTINGS = ("host", "port", "db", "username", "password", "credential_provider")
# Pools whose connections go to one known server.
_PLAIN = frozenset({"Connection", "SSLConnection", "UnixDomainSocketConnection"})


class _Database:
    """A database of a server that holds cache entries, and what the last look at it found: entries and bytes
    by layer."""

    def __init__(self, name: str, settings: dict[str, Any], layers: Layers) -> None:
        self.name = name
        self.settings = settings
        self.layers = layers
        self.apps: set[str] = set()
        self.used = time.monotonic()
        self.held: dict[str, tuple[int, float]] = {}
        self.refuses = False

    @property
    def app(self) -> str:
        """Whose entries they are, which the keys do not say: known only where all who use them are one."""
        return next(iter(self.apps)) if len(self.apps) == 1 else UNKNOWN


class RedisHoldings:
    """Looks at the databases that are used as caches, every so many seconds, from the first use on, until it
    is told to `stop`."""

    def __init__(self, layers: Layers, every_seconds: float) -> None:
        self._layers = layers
        self._every_seconds = every_seconds
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._of_pool: WeakKeyDictionary[Any, _Database | None] = WeakKeyDictionary()
        self._databases: dict[str, _Database] = {}
        self._stopping = threading.Event()
        self._undoing = ExitStack()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def used(self, client: Any, layers: Layers | None = None) -> None:
        """A command on keys of a cache is about to be made. Costs a look-up, and connects to nothing.

        `layers`: of a client that belongs to one cache, whose keys all begin alike.
        """
        if not self._every_seconds:
            return
        try:
            if self._pid != os.getpid():  # a forked child has no thread, and looks for itself
                self._begin()
            pool = getattr(client, "connection_pool", None)
            if pool is None:  # a cluster's client has one for each of its nodes
                return
            if pool not in self._of_pool:
                self._of_pool[pool] = self._database(pool, layers)
            database = self._of_pool[pool]
            if database is not None:
                database.used = time.monotonic()
                database.apps.add(app_here())
                if self._thread is None:
                    self._start()
        except Exception as error:  # the command is made all the same
            report("the use of a Redis", error)

    def stop(self) -> None:
        """Look no more, and tell nothing more."""
        self._stopping.set()
        self._undoing.close()

    def _database(self, pool: Any, layers: Layers | None) -> _Database | None:
        """The database behind a pool of connections; None for one that can't be looked at from outside of the
        pool."""
        kind = pool.connection_class.__name__
        given = pool.connection_kwargs
        if kind not in _PLAIN:
            _log.debug("what a Redis holds behind connections of the class %s is not told", kind)
            return None
        settings = {name: given[name] for name in _SETTINGS if given.get(name) is not None}
        settings |= {name: value for name, value in given.items() if name.startswith("ssl_")}
        if path := given.get("path"):
            settings["unix_socket_path"] = path
        elif kind == "SSLConnection":
            settings["ssl"] = True
        server = path or f"{given.get('host', 'localhost')}:{given.get('port', 6379)}"
        # Several caches may share a database.
        name = f"redis://{server}/{given.get('db') or 0}" + (
            f"#{','.join(layers.texts)}" if layers is not None else ""
        )
        with self._lock:
            found = self._databases.get(name)
            if found is None and len(self._databases) < _MOST_DATABASES:
                found = self._databases[name] = _Database(name, settings, layers or self._layers)
                self._observe(found)
        return found

    def _observe(self, database: _Database) -> None:
        def held(which: int) -> Iterator[tuple[float, tuple[str, ...]]]:
            yield from [(size[which], (database.app, layer)) for layer, size in database.held.items()]

        self._undoing.callback(observe(CACHE_ENTRIES, partial(held, 0), "app", "layer", shared=database.name))
        self._undoing.callback(observe(CACHE_BYTES, partial(held, 1), "app", "layer", shared=database.name))

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, args=(self._stopping,), name="bext-otel-redis-holdings", daemon=True
                )
                self._thread.start()

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            now = time.monotonic()
            for database in list(self._databases.values()):
                if now - database.used > _REST_SECONDS:
                    database.held = {}
                elif not database.refuses:
                    _look(database)
            stopping.wait(self._every_seconds)


def _look(database: _Database) -> None:
    """Find out what a database holds. One that can't be reached holds what it held; one that refuses is not
    asked again."""
    from redis import Redis
    from redis.exceptions import ConnectionError, ResponseError, TimeoutError  # noqa: A004  redis-py's own, of the same names

    try:
        # The next look tries again.
        settings = {
            **database.settings,
            "socket_timeout": _TIMEOUT_SECONDS,
            "socket_connect_timeout": _TIMEOUT_SECONDS,
            "retry": None,
        }
        # Nobody's trace, and no command of the application.
        with suppress_instrumentation(), Redis(**settings, single_connection_client=True) as client:
            database.held = _held(client, database.layers)
    except (ConnectionError, TimeoutError) as error:
        _log.debug("%s could not be asked what it holds: %s", database.name, error)
    except ResponseError as error:
        database.refuses = True
        _log.info(
            "%s does not tell what it holds, so its entries and bytes are not shown: %s", database.name, error
        )
    except Exception as error:
        # Another version of redis-py, or settings that only the application's own connections understand.
        database.refuses = True
        report("what a Redis holds", error)


def _held(client: Any, layers: Layers) -> dict[str, tuple[int, float]]:
    """Entries and bytes by layer; the bytes are what `MEMORY USAGE` says, values with their keys and what the
    server needs for both."""
    seen: set[bytes] = set()
    cursor, first = 0, True
    while (first or cursor) and len(seen) < _MOST_KEYS:
        cursor, keys = client.scan(cursor, count=_KEYS_AT_ONCE)
        seen.update(keys)
        first = False
    # A scan that was not ended has seen a part; 1 for one that was.
    whole = max(client.dbsize() / len(seen), 1.0) if cursor and seen else 1.0
    by_layer: dict[str, list[bytes]] = {}
    for key in seen:
        if (layer := layers.keyed(key)) is not None:
            by_layer.setdefault(layer, []).append(key)
    return {layer: _size(client, keys, whole) for layer, keys in by_layer.items()}


def _size(client: Any, keys: list[bytes], whole: float) -> tuple[int, float]:
    with client.pipeline(transaction=False) as asking:
        for key in keys[:_MOST_SIZES]:
            asking.memory_usage(key)
        sizes = [size for size in asking.execute() if size is not None]  # None: it has expired meanwhile
    entries = round(len(keys) * whole)
    return entries, round(entries * sum(sizes) / len(sizes)) if sizes else 0
