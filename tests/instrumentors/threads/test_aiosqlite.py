"""aiosqlite: a query on a connection that many share is work of who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aiosqlite
import pytest
from opentelemetry import trace

from bext_otel_instrumentors.threads.aiosqlite import AiosqliteInstrumentor
from bext_otel_instrumentors.threads.threading import ThreadingInstrumentor
from tests.instrumentors.conftest import Telemetry


@pytest.fixture(autouse=True)
def instrumented(telemetry: Telemetry) -> Iterator[None]:
    ThreadingInstrumentor().instrument()
    AiosqliteInstrumentor().instrument()
    yield
    AiosqliteInstrumentor().uninstrument()
    ThreadingInstrumentor().uninstrument()


def seen() -> str:
    """In the thread of the connection: the trace of what asks."""
    return f"{trace.get_current_span().get_span_context().trace_id:032x}"


async def query(connection: Any) -> str:
    async with connection.execute("SELECT seen()") as cursor:
        row = await cursor.fetchone()
    return str(row[0])


async def requests(count: int) -> tuple[list[str], list[str], str]:
    """The traces of requests that share a connection, which the first one makes; those that their queries
    saw, and that of one outside of any."""
    tracer = trace.get_tracer_provider().get_tracer("test")
    connection: Any = None
    expected, found = [], []
    for _ in range(count):
        with tracer.start_as_current_span("request"):
            expected.append(seen())
            if connection is None:
                connection = await aiosqlite.connect(":memory:")
                await connection.create_function("seen", 0, seen)
            found.append(await query(connection))
    outside = await query(connection)
    await connection.close()
    return expected, found, outside


def test_queries_are_work_of_the_requests_that_ask() -> None:
    expected, found, outside = asyncio.run(requests(3))
    assert expected == found
    assert "0" * 32 == outside


def test_what_a_query_raises_is_the_librarys() -> None:
    async def fail() -> None:
        async with aiosqlite.connect(":memory:") as connection:
            with trace.get_tracer_provider().get_tracer("test").start_as_current_span("request"):
                await connection.execute("SELECT FROM nothing")

    with pytest.raises(aiosqlite.OperationalError, match="near"):
        asyncio.run(fail())


def test_undone_queries_carry_nothing() -> None:
    AiosqliteInstrumentor().uninstrument()
    assert ["0" * 32] * 2 == asyncio.run(requests(2))[1]
