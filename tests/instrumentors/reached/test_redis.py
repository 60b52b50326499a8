"""Clients of redis-py are asked by a connection of their pools."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from bext_otel import reached
from bext_otel.health.reaching import reaching
from bext_otel_instrumentors.reached.redis import RedisReached
from tests.instrumentors.conftest import instrumenting
from tests.instrumentors.redis_server import port_of_redis

port = port_of_redis()


@pytest.fixture(autouse=True)
def _instrumented() -> Iterator[None]:
    with instrumenting(RedisReached):
        yield
    reached._known["cache"].clear()


def test_a_client_is_asked(port: int) -> None:
    with redis.Redis(port=port) as client:
        found = reaching("cache", lambda: {"entries": 3})()
        assert ("healthy", ["redis"], 3) == (
            found.status,
            list(found.details["ping_ms"]),
            found.details["entries"],
        )
        assert client.ping()


def test_a_server_that_is_away_is_unhealthy() -> None:
    client = redis.Redis(port=1, password="hunter2")
    found = reaching("cache")()
    assert ("unhealthy", "redis: ConnectionError") == (found.status, found.details["reason"])
    assert "hunter2" not in str(found)
    client.close()
