from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from django.core.cache import CacheHandler
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache

from bext_otel.catalogue import CACHE_BYTES, CACHE_DURATION, CACHE_ENTRIES
from bext_otel_instrumentors.cache.django.instrumentor import DjangoCacheInstrumentor, invalidating
from bext_otel_instrumentors.cache.redis.instrumentor import RedisCacheInstrumentor
from tests.instrumentors import django_project  # noqa: F401  # settings
from tests.instrumentors.caching import (
    app,
    cached_by,
    evictions,
    gauges,
    invalidations,
    lookups,
    names,
    records,
)
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.redis_server import port_of_redis
from tests.waiting import until

LAYERS = {"default": "fragment", "page:*": "isr", "FileBasedCache": "layout"}


class Plain(LocMemCache):
    """A backend of the application's own."""

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        return super().get(key, default, version)


@pytest.fixture
def caches(tmp_path: Any, request: pytest.FixtureRequest) -> CacheHandler:
    """As CACHES would make them, with stores that no other test has."""
    memory = {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 4, "CULL_FREQUENCY": 2},
    }
    return CacheHandler(
        {
            "default": {**memory, "LOCATION": f"{request.node.name}-1"},
            "own": {**memory, "BACKEND": f"{__name__}.Plain", "LOCATION": f"{request.node.name}-2"},
            "files": {
                **memory,
                "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
                "LOCATION": str(tmp_path),
            },
            "dummy": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        }
    )


instrumented = cached_by(DjangoCacheInstrumentor, layers=LAYERS)


ALIASES = [("default", "fragment"), ("own", "unknown"), ("files", "layout")]


@pytest.mark.parametrize(("alias", "layer"), ALIASES)
def test_every_lookup_is_a_hit_or_a_miss_and_timed(
    instrumented: Telemetry, caches: CacheHandler, alias: str, layer: str
) -> None:
    cache = caches[alias]
    cache.set("a", None)
    assert cache.get("a", "default") is None
    assert "default" == cache.get("b", "default")
    assert {"a": None} == cache.get_many(key for key in ("a", "b", "c"))
    assert "a" in cache
    assert (2, 3) == lookups(instrumented, layer)
    assert {("shop", layer, "lookup"): 3, ("shop", layer, "store"): 1} == instrumented.counts(CACHE_DURATION)


def test_keys_may_name_the_layer(instrumented: Telemetry, caches: CacheHandler) -> None:
    caches["default"].get("page:/about")
    assert (0, 1) == lookups(instrumented, "isr")


def test_a_dummy_cache_misses(instrumented: Telemetry, caches: CacheHandler) -> None:
    cache = caches["dummy"]
    cache.set("a", 1)
    assert cache.get("a") is None
    assert (0, 1) == lookups(instrumented, "unknown")


@pytest.mark.parametrize(("alias", "layer"), ALIASES)
def test_get_or_set_is_one_lookup_and_its_function_a_load(
    instrumented: Telemetry, caches: CacheHandler, alias: str, layer: str
) -> None:
    cache = caches[alias]
    assert [7, 7] == [cache.get_or_set("a", lambda: 7), cache.get_or_set("a", lambda: 8)]
    assert [9, 9] == [cache.get_or_set("b", 9), cache.get_or_set("b", 10)]
    assert (2, 2) == lookups(instrumented, layer)
    assert ["bext.cache.load"] == names(instrumented)


def test_its_asynchronous_form_too(instrumented: Telemetry, caches: CacheHandler) -> None:
    async def twice() -> list[Any]:
        cache = caches["default"]
        return [
            await cache.aget_or_set("a", lambda: 7),
            await cache.aget_or_set("a", lambda: 8),
            await cache.aget("a"),
        ]

    assert [7, 7, 7] == asyncio.run(twice())
    assert (2, 1) == lookups(instrumented, "fragment")
    assert ["bext.cache.load"] == names(instrumented)


def test_lookups_inside_of_a_load_count(instrumented: Telemetry, caches: CacheHandler) -> None:
    caches["default"].get_or_set("a", lambda: caches["default"].get("b", 5))
    assert (0, 2) == lookups(instrumented, "fragment")


def test_a_load_that_fails_raises_what_it_raises(instrumented: Telemetry, caches: CacheHandler) -> None:
    def lost() -> None:
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        caches["default"].get_or_set("a", lost)
    (span,) = instrumented.spans()
    assert "LookupError" == span.attributes["error.type"]


@pytest.mark.parametrize(("alias", "evicted"), [("default", 2), ("own", 2), ("files", 2)])
def test_what_makes_room_is_evicted(
    instrumented: Telemetry, caches: CacheHandler, alias: str, evicted: int
) -> None:
    for number in range(5):
        caches[alias].set(f"{number}", number)
    assert evicted == evictions(instrumented)
    assert {} == invalidations(instrumented)


@pytest.mark.parametrize(("alias", "layer"), ALIASES)
def test_what_is_found_too_old_is_collected(
    instrumented: Telemetry, caches: CacheHandler, alias: str, layer: str
) -> None:
    cache = caches[alias]
    cache.set("a", 1, timeout=0)
    assert cache.get("a") is None
    assert {"gc": 1} == invalidations(instrumented)
    assert (0, 1) == lookups(instrumented, layer)


@pytest.mark.parametrize("alias", ["default", "own", "files"])
def test_deletes_are_by_path_and_clear_is_by_tag(
    instrumented: Telemetry, caches: CacheHandler, alias: str
) -> None:
    cache = caches[alias]
    cache.set_many({"a": 1, "b": 2, "c": 3})
    cache.delete("a")
    cache.delete("a")
    cache.delete_many(key for key in ("b", "missing"))
    cache.clear()
    assert {"path": 2, "tag": 1} == invalidations(instrumented)
    assert ["bext.cache.invalidate"] * 4 == names(instrumented)


port = port_of_redis()


@pytest.mark.parametrize("layers", [{}, {":1:*": "isr"}], ids=["alone", "with redis-py instrumented"])
def test_what_a_redis_deletes_is_what_it_says(
    instrumented: Telemetry, port: int, layers: dict[str, str]
) -> None:
    RedisCacheInstrumentor().instrument(layers=layers, redis_seconds=0, skip_dep_check=True)
    try:
        where = {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{port}",
        }
        cache = CacheHandler({"default": where})["default"]
        cache.set_many({"a": 1, "b": 2, "c": 3})
        cache.delete_many(["missing", "x", "y"])
        assert {} == invalidations(instrumented)
        cache.delete_many(["a", "b", "x"])
        cache.delete("c")
        assert {"path": 3} == invalidations(instrumented)
        cache.set("d", 1)
        cache.clear()
        assert cache.get("d") is None
    finally:
        RedisCacheInstrumentor().uninstrument()
    assert {"path": 3} == invalidations(instrumented)
    assert [{"app": "shop", "layer": "fragment", "cache": "default", "method": "tag"}] == [
        record for record in records(instrumented, "cache invalidated") if record["method"] == "tag"
    ]


def test_what_a_tag_drops_is_one_invalidation(instrumented: Telemetry, caches: CacheHandler) -> None:
    cache = caches["default"]
    cache.set_many({"a": 1, "b": 2, "c": 3})
    with invalidating("tag"):
        cache.delete("a")
        cache.delete_many(["b", "c"])
    assert {"tag": 3} == invalidations(instrumented)
    assert ["bext.cache.invalidate"] == names(instrumented)


def test_entries_and_bytes_of_a_memory_cache_count_once(
    instrumented: Telemetry, caches: CacheHandler
) -> None:
    """Each thread has a backend of its own before one store."""
    cache = caches["default"]
    cache.set("a", "x" * 1000)
    caches.create_connection("default").get("a")
    assert {("shop", "fragment"): 1} == gauges(instrumented, CACHE_ENTRIES)
    (size,) = gauges(instrumented, CACHE_BYTES).values()
    assert 1000 < size < 1100


def test_entries_and_bytes_of_files_are_those_of_their_directory(
    instrumented: Telemetry, caches: CacheHandler, tmp_path: Any
) -> None:
    """Once, as all threads and workers share it, and from the first use on."""
    (tmp_path / "other").write_bytes(b"of no cache")
    cache = caches["files"]
    assert {} == gauges(instrumented, CACHE_ENTRIES)
    cache.set_many({"a": b"x" * 100, "b": b"y" * 10})
    caches.create_connection("files").get("a")
    size = sum(file.stat().st_size for file in tmp_path.glob("*.djcache"))
    assert {("shop", "layout"): 2} == gauges(instrumented, CACHE_ENTRIES)
    assert {("shop", "layout"): size} == gauges(instrumented, CACHE_BYTES)


def test_entries_and_bytes_of_a_redis_are_those_of_keys_that_begin_as_the_backends(
    telemetry: Telemetry, port: int
) -> None:
    where = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"redis://127.0.0.1:{port}",
    }
    cache = CacheHandler({"default": {**where, "KEY_PREFIX": "shop"}})["default"]
    cache.clear()
    CacheHandler({"other": {**where, "KEY_PREFIX": "other"}})["other"].set("c", 1)
    DjangoCacheInstrumentor().instrument(layers=LAYERS, redis_seconds=0.05, skip_dep_check=True)
    try:
        cache = CacheHandler({"default": {**where, "KEY_PREFIX": "shop"}})["default"]
        with app():
            cache.set_many({"a": "x" * 100, "b": "y" * 10}, version=2)
        expected = {("shop", "fragment"): 2}
        until(
            lambda: expected == gauges(telemetry, CACHE_ENTRIES),
            why=lambda: f"{expected}, not {gauges(telemetry, CACHE_ENTRIES)}",
        )
        assert 200 > gauges(telemetry, CACHE_BYTES)["shop", "fragment"] / 2 > 55
    finally:
        DjangoCacheInstrumentor().uninstrument()
    assert {} == gauges(telemetry, CACHE_ENTRIES)


def test_bytes_of_a_big_cache_are_those_of_a_sample(instrumented: Telemetry, caches: CacheHandler) -> None:
    """They do not vanish where there are too many to add up."""
    store = caches["default"]._cache
    for number in range(10_001):
        store[str(number)] = b"x" * (100 if number % 2 else 300)
    assert {("unknown", "fragment"): 10_001} == gauges(instrumented, CACHE_ENTRIES)
    assert {("unknown", "fragment"): pytest.approx(200 * 10_001, rel=0.05)} == gauges(
        instrumented, CACHE_BYTES
    )


def test_what_was_patched_is_put_back(caches: CacheHandler) -> None:
    kinds = (CacheHandler, LocMemCache, FileBasedCache, Plain)
    before = [dict(vars(kind)) for kind in kinds]
    DjangoCacheInstrumentor().instrument(skip_dep_check=True)
    for alias, _ in ALIASES:
        caches[alias].get("a")
    assert before != [dict(vars(kind)) for kind in kinds]
    DjangoCacheInstrumentor().uninstrument()
    assert before == [dict(vars(kind)) for kind in kinds]
    assert caches["default"].get("a", 1) == 1


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("set", ("a", 1), {}),
    ("get", ("a",), {}),
    ("get", (), {"key": "b", "default": 2}),
    ("get", ("b", 2, 1), {}),
    ("add", ("a", 5), {"timeout": None}),
    ("set_many", ({"c": 3, "d": 4},), {"timeout": 10}),
    ("get_many", (["a", "c", "x"],), {}),
    ("incr", ("a",), {}),
    ("incr", ("missing",), {}),
    ("decr", ("a", 2), {}),
    ("incr_version", ("a",), {}),
    ("touch", ("c",), {}),
    ("has_key", ("c",), {}),
    ("get_or_set", ("e", 5), {}),
    ("get_or_set", ("f", list), {"timeout": 5}),
    ("set", ("f", lambda: 1), {}),
    ("get", (), {}),
    ("get", ("a" * 300,), {}),
    ("get", (7,), {}),
    ("delete", ("c",), {}),
    ("delete", ("missing",), {}),
    ("delete_many", (["d", "x"],), {}),
    ("get_many", (7,), {}),
    ("clear", (), {}),
    ("get", ("a",), {}),
    ("close", (), {}),
]


@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
@pytest.mark.parametrize("alias", ["default", "own", "files", "dummy"])
def test_every_call_gives_what_it_gives_without_us(
    telemetry: Telemetry, caches: CacheHandler, alias: str
) -> None:
    def outcomes(cache: Any) -> list[Any]:
        found: list[Any] = []
        cache._max_entries = 100  # the files that make room for others are chosen at random
        cache.clear()
        for method, args, kwargs in CALLS:
            try:
                found.append(getattr(cache, method)(*args, **kwargs))
            except Exception as error:
                found.append(
                    (
                        type(error),
                        str(error).replace(f"{type(cache).__name__}.", "").removeprefix("_"),
                    )
                )
        return found

    without = outcomes(caches[alias])
    DjangoCacheInstrumentor().instrument(layers=LAYERS, skip_dep_check=True)
    try:
        with contextlib.suppress(AttributeError):
            del caches[alias]
        assert without == outcomes(caches[alias])
    finally:
        DjangoCacheInstrumentor().uninstrument()
