"""What Celery does to a paid order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from bext_demo import shop
from bext_demo.database import Database
from bext_demo.fulfilment import Fulfilment
from bext_demo.settings import Settings
from tests.instrumentors.redis_server import redis_server
from tests.waiting import until


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(tmp_path)
    made.start()
    return made


@pytest.fixture
def fulfilment(database: Database) -> Iterator[Fulfilment]:
    made = Fulfilment(database, None, "orders")
    made.start()
    yield made
    made.close()


def held(database: Database) -> list[int]:
    """Orders whose bags are held."""
    return [
        row[0]
        for row in database.run(
            lambda cursor: cursor.execute("SELECT order_id FROM reservations ORDER BY 1").fetchall()
        )
    ]


def reserve(database: Database, *order_ids: int) -> None:
    for order_id in order_ids:
        order = database.run(lambda cursor: shop.order(cursor, order_id))  # noqa: B023 - called at once
        assert order is not None
        database.run(lambda cursor: shop.reserve(cursor, order))  # noqa: B023 - called at once


def test_each_task_hands_the_parcel_to_the_next(
    database: Database, fulfilment: Fulfilment, caplog: pytest.LogCaptureFixture
) -> None:
    reserve(database, 6, 8)
    with caplog.at_level(logging.INFO, "bext_demo.fulfilment"):
        fulfilment.begin(6)
        until(lambda: held(database) == [8])
        assert until(lambda: "order 6 is on its way: 900 g" in caplog.messages)


def test_an_order_that_is_gone_stops_at_its_first_task(
    database: Database, fulfilment: Fulfilment, caplog: pytest.LogCaptureFixture
) -> None:
    reserve(database, 6)
    fulfilment.begin(999)
    fulfilment.begin(6)
    until(lambda: held(database) == [])
    assert ["LookupError('no order 999')"] == [
        str(line.data["exc"]) for line in caplog.records if line.levelno >= logging.ERROR
    ]  # type: ignore[attr-defined]


def test_what_waits_when_it_is_closed_is_not_for_the_next_one(
    database: Database, fulfilment: Fulfilment, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All brokers in memory of a process are one."""
    other = Database(tmp_path_factory.mktemp("other"))
    other.start()
    reserve(other, 6, 8)
    closing = threading.Thread(target=fulfilment.close)
    with database.transaction() as cursor:
        cursor.execute("BEGIN EXCLUSIVE")  # so that no order can be picked
        for _ in range(20):
            fulfilment.begin(6)
        closing.start()
    closing.join(10)
    assert not closing.is_alive()
    following = Fulfilment(other, None, "orders")
    following.start()
    following.begin(8)
    until(lambda: 8 not in held(other))
    following.close()
    assert [6] == held(other)


def test_a_closed_worker_leaves_no_thread(fulfilment: Fulfilment) -> None:
    fulfilment.close()
    assert until(
        lambda: not [thread for thread in threading.enumerate() if thread.name == "fulfilment"],
        why="its thread to end",
    )


def test_over_a_redis_tasks_wait_for_a_worker_elsewhere_in_keys_that_go_with_the_platform(
    database: Database,
) -> None:
    with redis_server() as port, redis.Redis(port=port) as client:
        sent = Fulfilment(database, f"redis://127.0.0.1:{port}/0", "orders")
        sent.start()
        sent.begin(6)
        sent.begin(8)
        assert 2 == client.llen("orders:orders")
        assert all(key.startswith(b"orders:") for key in client.scan_iter("*"))
        sent.close()
        assert [] == client.keys("*")


def test_a_redis_that_has_gone_does_not_stop_the_end(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server() as port:
        sent = Fulfilment(database, f"redis://127.0.0.1:{port}/0", "orders")
        sent.start()
        sent.begin(6)
    sent.close()
    assert ["the queue is still there: ConnectionError"] == [
        line.getMessage() for line in caplog.records if line.name == "bext_demo.fulfilment"
    ]


def test_the_environment_names_the_broker_and_the_queue() -> None:
    chosen = Settings.from_environment({"DEMO_BROKER": "redis://127.0.0.1:7000/2", "DEMO_QUEUE": "mine"})
    assert ("redis://127.0.0.1:7000/2", "mine") == (chosen.broker_url, chosen.queue)
    assert (None, "bext-demo:tasks") == (
        Settings.from_environment({}).broker_url,
        Settings.from_environment({}).queue,
    )
    with pytest.raises(ValueError, match="DEMO_BROKER"):
        Settings.from_environment({"DEMO_BROKER": "here"})
