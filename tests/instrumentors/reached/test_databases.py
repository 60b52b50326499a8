"""Databases that the process uses are asked by a connection of their pools, whichever library made them."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bext_otel import reached
from bext_otel.health.checks import Check
from bext_otel.health.reaching import reaching
from bext_otel_instrumentors.reached.asyncpg import AsyncpgReached
from bext_otel_instrumentors.reached.psycopg_pool import PsycopgPoolReached
from bext_otel_instrumentors.reached.sqlalchemy import SQLAlchemyReached
from tests.instrumentors.conftest import instrumenting
from tests.instrumentors.postgres_server import postgres_server

asyncpg = pytest.importorskip("asyncpg")
sqlalchemy = pytest.importorskip("sqlalchemy")
ConnectionPool = pytest.importorskip("psycopg_pool").ConnectionPool

LONG_S = 60.0


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with postgres_server() as made:
        yield made


@pytest.fixture(autouse=True)
def _instrumented() -> Iterator[None]:
    with instrumenting(SQLAlchemyReached, PsycopgPoolReached, AsyncpgReached):
        yield
    reached._known["database"].clear()


def asked() -> tuple[str, list[str]]:
    """The status of the check, and the libraries that answered."""
    check = reaching("database")()
    return check.status, list(check.details.get("ping_ms", {}))


def engine_of(port: int, **pool: Any) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres", **pool)


def sessions(engine: sqlalchemy.Engine) -> list[str]:
    """What the server's sessions other than this one are doing."""
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT state FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return [state for (state,) in found]


def test_an_engine_is_asked_by_its_pool_and_leaves_nothing_open(port: int) -> None:
    engine, observer = engine_of(port), engine_of(port, poolclass=sqlalchemy.NullPool)
    assert ("healthy", ["sqlalchemy"]) == asked()
    assert ("healthy", ["sqlalchemy"]) == asked()
    assert (1, ["idle"]) == (engine.pool.checkedin(), sessions(observer))  # type: ignore[attr-defined]
    engine.dispose()


def test_a_transaction_of_the_application_s_is_never_entered(port: int) -> None:
    engine = engine_of(port, pool_size=2, max_overflow=0)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE kept (value integer)")
        assert "healthy" == asked()[0]
        connection.exec_driver_sql("INSERT INTO kept VALUES (1)")
        assert 1 == connection.exec_driver_sql("SELECT count(*) FROM kept").scalar()
    engine.dispose()


def test_a_pool_whose_connections_are_all_in_use_is_degraded_and_nobody_waits(port: int) -> None:
    engine = engine_of(port, pool_size=1, max_overflow=0)
    with engine.connect():
        assert (
            Check.degraded(reason="all connections of a pool are in use").details["reason"]
            == ((found := reaching("database")()).details["reason"])
        )
        assert "degraded" == found.status
    assert "healthy" == asked()[0]
    engine.dispose()


def test_a_server_that_is_away_is_told_by_the_exception_s_type_only() -> None:
    engine = sqlalchemy.create_engine("postgresql+psycopg://shop:hunter2@127.0.0.1:1/orders")
    found = reaching("database")()
    assert ("unhealthy", "sqlalchemy: OperationalError") == (found.status, found.details["reason"])
    assert "hunter2" not in str(found)
    del engine


def test_an_engine_that_is_gone_is_asked_no_more(port: int) -> None:
    engine = sqlalchemy.create_engine("postgresql+psycopg://127.0.0.1:1/orders")
    assert "unhealthy" == asked()[0]
    del engine
    gc.collect()
    assert ("healthy", []) == asked()


def test_a_database_in_memory_is_left_alone() -> None:
    """A connection of ours would be to another one, or in the application's transaction."""
    engines = [
        sqlalchemy.create_engine("sqlite://"),
        sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.StaticPool),
    ]
    assert [] == list(reached.reached("database"))
    assert 2 == len(engines)


def test_a_pool_of_psycopg_is_asked(port: int) -> None:
    address = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
    with ConnectionPool(address, min_size=1, max_size=1, open=False) as pool:
        pool.wait()
        assert ("healthy", ["psycopg"]) == asked()
        with pool.connection():
            assert "degraded" == asked()[0]
    assert ("healthy", []) == asked()


def test_a_pool_of_asyncpg_is_asked_in_its_loop(port: int) -> None:
    async def served() -> list[tuple[str, list[str]]]:
        pool = await asyncpg.create_pool(
            host="127.0.0.1", port=port, user="postgres", database="postgres", min_size=1, max_size=1
        )
        found = [await asyncio.to_thread(asked)]
        async with pool.acquire():
            found.append(await asyncio.to_thread(asked))
        await pool.close()
        return found

    assert [("healthy", ["asyncpg"]), ("degraded", ["asyncpg"])] == asyncio.run(served())
    assert ("healthy", []) == asked()


def test_an_engine_for_event_loops_is_asked_in_the_loop_that_uses_it(port: int) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine

    async def served() -> tuple[str, list[str]]:
        engine = create_async_engine(f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres")
        async with engine.connect() as connection:
            await connection.execute(sqlalchemy.text("SELECT 1"))
        found = await asyncio.to_thread(asked)
        await engine.dispose()
        return found

    assert ("healthy", ["sqlalchemy"]) == asyncio.run(served())


def test_what_is_reached_is_told_and_bounded() -> None:
    kinds: list[str] = []
    undo = reached.on_reaching(kinds.append)
    owners = [threading.Event() for _ in range(40)]
    for owner in owners:
        reached.reach("database", "shop", owner, lambda _: None)
        reached.reach("database", "shop", owner, lambda _: None)
    undo()
    assert (["database"] * 40, 16) == (kinds, len(list(reached.reached("database"))))
