from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

from bext_otel_instrumentors.cache.redis.instrumentor import RedisCacheInstrumentor
from tests.instrumentors.caching import cached_by, invalidations, lookups
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.redis_server import redis_cluster


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A cluster of this module's own."""
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


# Before 6.0, a cluster's pipeline is no transaction.
has_transactions = pytest.mark.skipif(
    not hasattr(redis.cluster, "PipelineStrategy"), reason="this redis-py has no transactions in a cluster"
)
TRANSACTIONS = [pytest.param(True, marks=has_transactions), False]

instrumented = cached_by(RedisCacheInstrumentor, layers={"page:*": "isr", "part:*": "fragment"})


@pytest.fixture
def cluster(port: int) -> Iterator[Any]:
    with redis.RedisCluster(host="127.0.0.1", port=port, decode_responses=True) as one:
        one.flushall()
        yield one


@pytest.fixture
def run(port: int, cluster: Any) -> Callable[[Callable[[Any], Awaitable[Any]]], Any]:
    """Runs what uses an asynchronous client of the cluster."""

    def run(use: Callable[[Any], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            async with redis.asyncio.RedisCluster(host="127.0.0.1", port=port, decode_responses=True) as one:
                return await use(one)

        return asyncio.run(main())

    return run


def test_commands_of_a_cluster_count(cluster: Any, instrumented: Telemetry) -> None:
    cluster.set("page:a", 1)
    assert ["1", None] == [cluster.get("page:a"), cluster.get("page:b")]
    assert (1, 1) == lookups(instrumented, "isr")


def test_deletes_of_a_cluster_are_invalidations_slot_by_slot(cluster: Any, instrumented: Telemetry) -> None:
    cluster.mset_nonatomic({"page:a": 1, "page:b": 2, "page:c": 3})
    assert 1 == cluster.delete("page:a")
    assert 2 == cluster.unlink("page:b", "page:c", "page:x")
    assert {"path": 3} == invalidations(instrumented)


def test_many_keys_of_different_slots_are_a_lookup_each(cluster: Any, instrumented: Telemetry) -> None:
    cluster.mset_nonatomic({"page:a": 1, "part:b": 2})
    assert ["1", None, "2", None] == cluster.mget_nonatomic("page:a", "page:x", "part:b", "queue:a")
    assert (1, 1) == lookups(instrumented, "isr")
    assert (1, 0) == lookups(instrumented, "fragment")


def test_pipelines_of_a_cluster_count_command_by_command(cluster: Any, instrumented: Telemetry) -> None:
    with cluster.pipeline() as pipeline:
        pipeline.set("page:a", 1).get("page:a").get("page:b").get("queue:a").delete("page:a")
        assert [True, "1", None, None, 1] == pipeline.execute()
    assert (1, 1) == lookups(instrumented, "isr")
    assert {"path": 1} == invalidations(instrumented)


@pytest.mark.parametrize("transaction", TRANSACTIONS)
def test_a_pipeline_of_a_cluster_that_raises_has_made_its_lookups(
    cluster: Any, instrumented: Telemetry, transaction: bool
) -> None:
    cluster.set("page:{1}a", 1)
    with cluster.pipeline(transaction=transaction) as pipeline:
        pipeline.get("page:{1}a").hget("page:{1}a", "x").get("page:{1}b")
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            pipeline.execute()
    assert (1, 1) == lookups(instrumented, "isr")


@has_transactions
def test_what_is_looked_up_in_a_cluster_while_keys_are_watched_counts(
    cluster: Any, instrumented: Telemetry
) -> None:
    cluster.set("page:{1}a", 1)
    with cluster.pipeline(transaction=True) as pipeline:
        pipeline.watch("page:{1}a")
        assert ["1", None] == [pipeline.get("page:{1}a"), pipeline.get("page:{1}b")]
        pipeline.multi()
        assert ["1"] == pipeline.get("page:{1}a").execute()
    assert (2, 1) == lookups(instrumented, "isr")


def test_a_pipeline_of_a_cluster_that_reaches_no_node_has_looked_nothing_up(
    cluster: Any, instrumented: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise redis.exceptions.RedisClusterException("no way")

    with cluster.pipeline() as pipeline:
        pipeline.get("page:a")
        sends = getattr(redis.cluster, "PipelineStrategy", redis.cluster.ClusterPipeline)
        monkeypatch.setattr(sends, "send_cluster_commands", refuse)
        with pytest.raises(redis.exceptions.RedisClusterException, match="no way"):
            pipeline.execute()
    assert (0, 0) == lookups(instrumented, "isr")


def test_the_asynchronous_cluster_too(run: Any, instrumented: Telemetry) -> None:
    async def use(one: Any) -> list[Any]:
        await one.mset_nonatomic({"page:a": 1, "page:b": 2, "page:c": 3})
        found = [await one.get("page:a"), *await one.mget_nonatomic("page:b", "page:x")]
        found.append(await one.delete("page:b"))
        async with one.pipeline() as pipeline:
            return [*found, await pipeline.get("page:a").get("page:b").delete("page:c").execute()]

    assert ["1", "2", None, 1, ["1", None, 1]] == run(use)
    assert (3, 2) == lookups(instrumented, "isr")
    assert {"path": 2} == invalidations(instrumented)


@pytest.mark.parametrize("transaction", TRANSACTIONS)
def test_an_asynchronous_pipeline_of_a_cluster_that_raises_has_made_its_lookups(
    run: Any, instrumented: Telemetry, transaction: bool
) -> None:
    async def use(one: Any) -> None:
        await one.set("page:{1}a", 1)
        async with one.pipeline(transaction=transaction) as pipeline:
            pipeline.get("page:{1}a")
            pipeline.hget("page:{1}a", "x")
            pipeline.get("page:{1}b")
            with pytest.raises(redis.ResponseError):
                await pipeline.execute()

    run(use)
    assert (1, 1) == lookups(instrumented, "isr")


def test_a_cluster_gives_what_it_gives_without_us(cluster: Any, telemetry: Telemetry) -> None:
    def outcomes() -> list[Any]:
        cluster.flushall()
        found: list[Any] = [
            cluster.set("page:{1}a", 1),
            cluster.mget_nonatomic("page:{1}a", "page:x"),
            cluster.delete("page:x"),
        ]
        for transaction in (True, False) if hasattr(redis.cluster, "PipelineStrategy") else (False,):
            with cluster.pipeline(transaction=transaction) as pipeline:
                pipeline.get("page:{1}a").hget("page:{1}a", "x").get("page:{1}b")
                with pytest.raises(redis.ResponseError) as failure:
                    pipeline.execute()
                found += [str(failure.value), pipeline.get("page:{1}a").hgetall("page:{1}b").execute()]
        with cluster.pipeline() as pipeline:
            found.append(
                [
                    str(reply)
                    for reply in pipeline.get("page:{1}a").hgetall("page:{1}a").execute(raise_on_error=False)
                ]
            )
        return found

    without = outcomes()
    RedisCacheInstrumentor().instrument(layers={"page:*": "isr"}, skip_dep_check=True)
    try:
        assert without == outcomes()
    finally:
        RedisCacheInstrumentor().uninstrument()
