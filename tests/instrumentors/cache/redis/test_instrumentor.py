from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from flask import Flask

from bext_otel.catalogue import CACHE_DURATION
from bext_otel_instrumentors.cache.flask_caching.instrumentor import FlaskCachingInstrumentor
from bext_otel_instrumentors.cache.redis.instrumentor import RedisCacheInstrumentor, invalidating
from tests.e2e.backends import free_port
from tests.instrumentors.caching import (
    cached_by,
    flask_caching_or_skip,
    invalidations,
    lookups,
    names,
    records,
)
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.redis_server import port_of_redis

LAYERS = {"page:*": "isr", "part:*": "fragment", "redis": "tenant"}


port = port_of_redis()


@pytest.fixture
def client(port: int) -> Iterator[Any]:
    with redis.Redis(port=port, decode_responses=True) as one:
        one.flushall()
        yield one


instrumented = cached_by(RedisCacheInstrumentor, layers=LAYERS)


def test_lookups_of_a_caches_keys_count_and_are_timed(client: Any, instrumented: Telemetry) -> None:
    client.set("page:a", "1", ex=10)
    assert "1" == client.get("page:a")
    assert client.get(b"page:b") is None
    client.hset("part:h", mapping={"x": 1})
    assert {"x": "1"} == client.hgetall("part:h")
    assert {} == client.hgetall("part:none")
    assert (1, 1) == lookups(instrumented, "isr")
    assert (1, 1) == lookups(instrumented, "fragment")
    assert {
        ("shop", "isr", "lookup"): 2,
        ("shop", "isr", "store"): 1,
        ("shop", "fragment", "lookup"): 2,
        ("shop", "fragment", "store"): 1,
    } == instrumented.counts(CACHE_DURATION)


def test_other_keys_are_no_cache(client: Any, instrumented: Telemetry) -> None:
    client.set("queue:a", 1)
    client.get("queue:a")
    client.incr("page:a")
    client.delete("queue:a")
    client.get("redis")
    assert (0, 0) == lookups(instrumented, "isr")
    assert {} == instrumented.counts(CACHE_DURATION)
    assert [] == names(instrumented)


def test_many_at_once_count_by_their_layers(client: Any, instrumented: Telemetry) -> None:
    client.mset({"page:a": 1, "part:b": 2})
    assert ["1", None, "2", None] == client.mget(["page:a", "page:x", "part:b", "queue:a"])
    assert (1, 1) == lookups(instrumented, "isr")
    assert (1, 0) == lookups(instrumented, "fragment")


def test_deletes_are_by_path_and_only_what_was_there(client: Any, instrumented: Telemetry) -> None:
    client.mset({"page:a": 1, "page:b": 2, "page:c": 3})
    assert 2 == client.delete("page:a", "page:b", "page:x")
    assert "3" == client.getdel("page:c")
    assert 0 == client.unlink("page:c")
    assert {"path": 3} == invalidations(instrumented)
    assert ["bext.cache.invalidate"] * 3 == names(instrumented)


def test_a_flush_is_told_and_counts_nothing_as_the_server_does_not_say_how_much(
    client: Any, instrumented: Telemetry
) -> None:
    client.mset({"page:a": 1, "page:b": 2})
    client.flushdb()
    with client.pipeline() as pipeline:
        pipeline.flushdb().execute()
    assert {} == invalidations(instrumented)
    assert [{"app": "shop", "layer": "unknown", "cache": "redis", "method": "tag"}] == records(
        instrumented, "cache invalidated"
    )
    assert [("bext.cache.invalidate", None)] * 2 == [
        (span.name, span.attributes.get("bext.entries")) for span in instrumented.spans()
    ]


def test_what_is_taken_out_is_looked_up_and_dropped(client: Any, instrumented: Telemetry) -> None:
    client.set("page:a", 1)
    assert ["1", None] == [client.getdel("page:a"), client.getdel("page:a")]
    with client.pipeline() as pipeline:
        assert [True, "2", None] == pipeline.set("page:b", 2).getdel("page:b").getdel("page:b").execute()
    assert (2, 2) == lookups(instrumented, "isr")
    assert {"path": 2} == invalidations(instrumented)


def test_each_field_and_each_key_of_many_is_a_lookup(client: Any, instrumented: Telemetry) -> None:
    """Also where there is only one of them."""
    client.hset("page:h", mapping={"x": 1, "y": 2})
    assert ["1", None, "2"] == client.hmget("page:h", "x", "no", "y")
    assert [None] == client.hmget("page:none", ["x"])
    assert [None] == client.mget("page:none")
    assert (2, 3) == lookups(instrumented, "isr")


def test_what_a_tag_drops_is_one_invalidation(client: Any, instrumented: Telemetry) -> None:
    client.mset({"page:a": 1, "page:b": 2})
    with invalidating("tag"):
        client.delete("page:a")
        client.delete("page:b")
    assert {"tag": 2} == invalidations(instrumented)
    assert ["bext.cache.invalidate"] == names(instrumented)


@pytest.mark.parametrize("transaction", [True, False])
def test_pipelines_count_command_by_command(client: Any, instrumented: Telemetry, transaction: bool) -> None:
    with client.pipeline(transaction=transaction) as pipeline:
        pipeline.set("page:a", 1).get("page:a").get("page:b").get("queue:a").delete("page:a")
        assert [True, "1", None, None, 1] == pipeline.execute()
    assert (1, 1) == lookups(instrumented, "isr")
    assert {"path": 1} == invalidations(instrumented)


@pytest.mark.parametrize("transaction", [True, False])
def test_a_pipeline_that_raises_has_made_its_lookups_all_the_same(
    client: Any, instrumented: Telemetry, transaction: bool
) -> None:
    client.mset({"page:a": 1, "page:c": 3})
    with client.pipeline(transaction=transaction) as pipeline:
        pipeline.get("page:a").hget("page:a", "x").get("page:b").hgetall("page:none").delete("page:c")
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            pipeline.execute()
    assert (1, 2) == lookups(instrumented, "isr")
    assert {"path": 1} == invalidations(instrumented)


def test_a_pipeline_that_reaches_no_server_has_looked_nothing_up(instrumented: Telemetry) -> None:
    with redis.Redis(port=free_port(), retry=None) as gone, gone.pipeline() as pipeline:
        pipeline.get("page:a")
        with pytest.raises(redis.ConnectionError):
            pipeline.execute()
    assert (0, 0) == lookups(instrumented, "isr")


def test_what_is_looked_up_while_keys_are_watched_counts(client: Any, instrumented: Telemetry) -> None:
    client.set("page:a", 1)
    with client.pipeline() as pipeline:
        pipeline.watch("page:a")
        assert ["1", None] == [pipeline.get("page:a"), pipeline.get("page:b")]
        pipeline.multi()
        assert ["1"] == pipeline.get("page:a").execute()
    assert (2, 1) == lookups(instrumented, "isr")


def test_a_watched_key_that_changed_lets_nothing_be_looked_up(client: Any, instrumented: Telemetry) -> None:
    with client.pipeline() as pipeline:
        pipeline.watch("page:a")
        client.set("page:a", 2)
        pipeline.multi()
        pipeline.get("page:a")
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    assert (0, 0) == lookups(instrumented, "isr")


def test_asynchronous_pipelines_raise_and_watch_as_well(
    port: int, client: Any, instrumented: Telemetry
) -> None:
    async def use() -> list[Any]:
        async with redis.asyncio.Redis(port=port, decode_responses=True) as one, one.pipeline() as pipeline:
            await pipeline.watch("page:a")
            found = [await pipeline.get("page:a")]
            pipeline.multi()
            pipeline.get("page:a").hget("page:a", "x").get("page:b")
            with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
                await pipeline.execute()
            return found

    client.set("page:a", 1)
    assert ["1"] == asyncio.run(use())
    assert (2, 1) == lookups(instrumented, "isr")


def test_the_asynchronous_client_too(port: int, client: Any, instrumented: Telemetry) -> None:
    async def use() -> list[Any]:
        async with redis.asyncio.Redis(port=port, decode_responses=True) as one:
            await one.set("page:a", 1)
            found = [await one.get("page:a"), await one.get("page:b")]
            async with one.pipeline() as pipeline:
                found.append(await pipeline.get("page:a").delete("page:a").execute())
            return [*found, await one.delete("page:a")]

    assert ["1", None, ["1", 1], 0] == asyncio.run(use())
    assert (2, 1) == lookups(instrumented, "isr")
    assert {"path": 1} == invalidations(instrumented)


def test_a_server_that_is_gone_is_neither_hit_nor_miss(instrumented: Telemetry) -> None:
    with redis.Redis(port=free_port(), retry=None) as gone:
        for call in (lambda: gone.get("page:a"), lambda: gone.delete("page:a")):
            with pytest.raises(redis.ConnectionError):
                call()
    assert (0, 0) == lookups(instrumented, "isr")
    (span,) = instrumented.spans()
    assert "redis.exceptions.ConnectionError" == span.attributes["error.type"]


def test_a_library_above_counts_and_redis_does_not_count_again(
    port: int, client: Any, instrumented: Telemetry
) -> None:
    caching = flask_caching_or_skip()
    FlaskCachingInstrumentor().instrument(layers={"RedisCache": "layout"}, skip_dep_check=True)
    try:
        site = Flask(__name__)
        settings = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_PORT": port, "CACHE_KEY_PREFIX": "page:"}
        cache = caching.Cache(site, config=settings)
        with site.app_context():
            cache.set("a", 1)
            assert [1, None] == [cache.get("a"), cache.get("b")]
            cache.delete("a")
    finally:
        FlaskCachingInstrumentor().uninstrument()
    assert (1, 1) == lookups(instrumented, "layout")
    assert (0, 0) == lookups(instrumented, "isr")
    assert {"path": 1} == invalidations(instrumented)


def test_without_beginnings_nothing_is_a_cache(client: Any, telemetry: Telemetry) -> None:
    before = dict(vars(redis.Redis))
    RedisCacheInstrumentor().instrument(layers={"page": "isr"}, skip_dep_check=True)
    try:
        assert before == dict(vars(redis.Redis))
    finally:
        RedisCacheInstrumentor().uninstrument()


def test_what_was_patched_is_put_back() -> None:
    kinds = (
        redis.Redis,
        redis.client.Pipeline,
        redis.asyncio.Redis,
        redis.asyncio.client.Pipeline,
        redis.RedisCluster,
        redis.cluster.ClusterPipeline,
        redis.asyncio.RedisCluster,
        redis.asyncio.cluster.ClusterPipeline,
    )
    before = [dict(vars(kind)) for kind in kinds]
    RedisCacheInstrumentor().instrument(layers=LAYERS, skip_dep_check=True)
    assert before != [dict(vars(kind)) for kind in kinds]
    RedisCacheInstrumentor().uninstrument()
    assert before == [dict(vars(kind)) for kind in kinds]


COMMANDS: list[tuple[Any, ...]] = [
    ("SET", "page:a", 1),
    ("get", "page:a"),
    ("GET", "page:a"),
    ("GET", b"page:\xff"),
    ("GET", 7),
    ("GET",),
    (),
    (b"GET", "page:a"),
    (7, "page:a"),
    ("GET", None),
    ("GET", "page:\ud800"),
    ("HGETALL", "page:a"),
    ("SET", "page:a", 2, "NX"),
    ("MSET", "page:b"),
    ("MGET", "page:a", "page:b"),
    ("DEL",),
    ("GETDEL", "page:a"),
    ("DEL", "page:a", 5),
    ("FLUSHDB", "ASYNC"),
    ("NONSENSE", "page:a"),
]


def test_every_command_gives_what_it_gives_without_us(client: Any, telemetry: Telemetry) -> None:
    def outcomes() -> list[Any]:
        client.flushall()
        found: list[Any] = []
        for command in COMMANDS:
            try:
                found.append(client.execute_command(*command))
            except Exception as error:
                found.append((type(error), str(error)))
        with client.pipeline() as pipeline:
            pipeline.set("page:a", 1).hgetall("page:a").get("page:a")
            with pytest.raises(redis.ResponseError) as failure:
                pipeline.execute()
            pipeline.get("page:a").hgetall("page:a")
            kept = pipeline.execute(raise_on_error=False)
        return [*found, str(failure.value), kept[0], type(kept[1])]

    without = outcomes()
    RedisCacheInstrumentor().instrument(layers=LAYERS, skip_dep_check=True)
    try:
        assert without == outcomes()
    finally:
        RedisCacheInstrumentor().uninstrument()
