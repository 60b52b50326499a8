"""How much a real Redis holds of a cache, by what its keys begin with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from bext_otel.catalogue import CACHE_BYTES, CACHE_ENTRIES, UNKNOWN
from bext_otel_instrumentors.cache.redis.instrumentor import RedisCacheInstrumentor
from tests.e2e.backends import free_port
from tests.e2e.launching import launched, samples
from tests.e2e.services import GUNICORN, MOUNTED, ON_LINUX, port_of
from tests.e2e.traffic import fetch
from tests.instrumentors.caching import app, gauges
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.redis_server import lookers, port_of_redis
from tests.waiting import until

LAYERS = {"page:*": "isr", "part:*": "fragment"}
ISR, FRAGMENT = ("shop", "isr"), ("shop", "fragment")


port = port_of_redis()


@pytest.fixture
def client(port: int) -> Iterator[Any]:
    with redis.Redis(port=port) as one:
        one.flushall()
        yield one


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[Telemetry]:
    RedisCacheInstrumentor().instrument(layers=LAYERS, redis_seconds=0.02, skip_dep_check=True)
    with app():
        yield telemetry
    RedisCacheInstrumentor().uninstrument()
    until(lambda: not lookers())


def held(telemetry: Telemetry) -> tuple[dict[Any, float], dict[Any, float]]:
    return gauges(telemetry, CACHE_ENTRIES), gauges(telemetry, CACHE_BYTES)


def test_entries_and_bytes_are_the_servers_by_what_keys_begin_with(
    client: Any, instrumented: Telemetry
) -> None:
    for number in range(30):
        client.set(f"page:{number}", "x" * 10 * number)
    client.hset("part:a", mapping={"x": 1})
    client.set("queue:a", "of no cache")
    expected = {
        ISR: sum(client.memory_usage(f"page:{number}") for number in range(30)),
        FRAGMENT: client.memory_usage("part:a"),
    }
    until(
        lambda: ({ISR: 30, FRAGMENT: 1}, expected) == held(instrumented),
        why=f"{expected}, not {held(instrumented)}",
    )
    client.delete("part:a", "page:0")
    until(lambda: {ISR: 29} == held(instrumented)[0])
    assert not {"SCAN", "DBSIZE", "MEMORY USAGE"} & {span.name for span in instrumented.spans()}


def test_a_part_of_a_large_database_stands_for_all_of_it(client: Any, instrumented: Telemetry) -> None:
    for begins, many in (("page", 30_000), ("queue", 10_000)):
        with client.pipeline(transaction=False) as pipeline:
            for number in range(many):
                pipeline.execute_command("SET", f"{begins}:{number}", "x" * 100)
            pipeline.execute()
    client.get("page:1")
    # The first look may come when not all of them are there.
    until(
        lambda: held(instrumented)[0].get(ISR) == pytest.approx(30_000, rel=0.05), why="a look at all of them"
    )
    (entries, size) = (found[ISR] for found in held(instrumented))
    assert entries * client.memory_usage("page:1") == pytest.approx(size, rel=0.05)


def test_the_asynchronous_client_s_server_too(port: int, client: Any, instrumented: Telemetry) -> None:
    async def use() -> None:
        async with redis.asyncio.Redis(port=port) as one:
            await one.set("page:a", 1)

    asyncio.run(use())
    assert until(lambda: {ISR: 1} == held(instrumented)[0])


def test_entries_that_several_apps_use_are_nobodys(client: Any, instrumented: Telemetry) -> None:
    client.set("page:a", 1)
    with app("dashboard"):
        client.get("page:a")
    assert until(lambda: {(UNKNOWN, "isr"): 1} == held(instrumented)[0])


def test_a_server_that_refuses_is_asked_once_and_the_application_goes_on(
    port: int, client: Any, instrumented: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    client.acl_setuser(
        "shop",
        enabled=True,
        passwords=["+secret"],
        keys=["*"],
        commands=["+get", "+set", "+auth", "+client", "+hello"],
    )
    with (
        caplog.at_level(logging.INFO, "bext_otel_instrumentors"),
        redis.Redis(port=port, username="shop", password="secret") as limited,
    ):
        limited.set("page:a", 1)
        (line,) = until(
            lambda: [
                record.getMessage()
                for record in caplog.records
                if "does not tell what it holds" in record.getMessage()
            ]
        )
        asked = client.info("commandstats").get("cmdstat_scan", {}).get("rejected_calls", 0)
        until(lambda: b"1" == limited.get("page:a"))
    assert f"redis://localhost:{port}/0" in line
    assert "secret" not in line
    assert 1 == asked
    assert ({}, {}) == held(instrumented)
    client.acl_deluser("shop")


def test_a_server_that_is_gone_is_no_line_and_holds_what_it_held(
    instrumented: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, "bext_otel_instrumentors"),
        redis.Redis(port=free_port(), retry=None) as gone,
    ):
        with pytest.raises(redis.ConnectionError):
            gone.get("page:a")
        until(lookers)
    assert [] == caplog.records


@pytest.mark.parametrize("seconds", [0, 60])
def test_it_can_be_turned_off_and_ends_with_the_instrumentation(
    client: Any, telemetry: Telemetry, seconds: float
) -> None:
    RedisCacheInstrumentor().instrument(layers=LAYERS, redis_seconds=seconds, skip_dep_check=True)
    try:
        with app():
            client.set("page:a", 1)
        if seconds:
            until(lambda: {ISR: 1} == held(telemetry)[0])
        else:
            assert [] == lookers()
    finally:
        RedisCacheInstrumentor().uninstrument()
    until(lambda: not lookers())
    assert ({}, {}) == held(telemetry)


@ON_LINUX
@pytest.mark.e2e
def test_what_two_workers_share_counts_once(port: int, client: Any, tmp_path: Path) -> None:
    (tmp_path / "bext.config.toml").write_text(
        '[cache]\nredis_seconds = 0.2\n[cache.layers]\n"page:*" = "isr"\n'
    )
    env = {**MOUNTED, "REDIS_PORT": str(port)}
    with launched(tmp_path, f"{GUNICORN} redis_wsgi:app", env=env, path="/health/live") as program:
        own, answered = port_of(program), set()
        for number in range(40):
            answered.add(fetch(own, f"/items/{number}")[1])
        until(
            lambda: answered.add(fetch(own, "/items/0")[1]) or len(answered) == 2,
            why="both workers to answer",
        )
        name = 'bext_cache_entries{app="shop",layer="isr"}'
        until(
            lambda: [40.0] * 10 == [program_metrics(own).get(name) for _ in range(10)],
            why=str(program_metrics(own)),
        )
        expected = sum(client.memory_usage(f"page:{number}") for number in range(40))
        assert expected == program_metrics(own)[name.replace("entries", "bytes")]


def program_metrics(port: int) -> dict[str, float]:
    return samples(fetch(port, "/metrics")[1].decode())
