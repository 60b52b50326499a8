"""The database, alone and shared by workers."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from bext_demo import shop
from bext_demo.database import Database


def started(directory: Path | None) -> Database:
    database = Database(directory)
    database.start()
    return database


def test_a_temporary_database_is_gone_after_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    database = started(None)
    assert 1 == len(list(tmp_path.iterdir()))
    database.close()
    assert [] == list(tmp_path.iterdir())


def test_a_kept_database_is_found_again(tmp_path: Path) -> None:
    first = started(tmp_path / "new" / "folder")
    first.run(lambda cursor: shop.set_price(cursor, "cold-front", 999))
    first.close()
    again = started(tmp_path / "new" / "folder").run(lambda cursor: shop.product(cursor, "cold-front"))
    assert again is not None
    assert 999 == again["price_cents"]


def test_what_raises_changes_nothing(tmp_path: Path) -> None:
    database = started(tmp_path)

    def change_and_fail(cursor: sqlite3.Cursor) -> None:
        assert shop.set_price(cursor, "cold-front", 1)
        raise LookupError

    with pytest.raises(LookupError):
        database.run(change_and_fail)
    product = database.run(lambda cursor: shop.product(cursor, "cold-front"))
    assert product is not None
    assert 1320 == product["price_cents"]


def test_only_the_newest_orders_are_kept(tmp_path: Path) -> None:
    database = started(tmp_path)
    database.run(lambda cursor: cursor.execute("UPDATE sqlite_sequence SET seq = 6000 WHERE name = 'orders'"))
    database.run(lambda cursor: shop.place_order(cursor, "cold-front", 1))
    assert [6001] == [order["id"] for order in database.run(lambda cursor: shop.orders(cursor, limit=100))]


def work(directory: str, ready: Callable[[], object]) -> None:
    """A worker that starts together with others, and takes orders."""
    ready()
    database = started(Path(directory))
    for _ in range(20):
        database.run(lambda cursor: shop.place_order(cursor, "cold-front", 1))


def test_workers_that_start_at_once_share_a_database_and_lose_nothing(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(3)
    workers = [spawn.Process(target=work, args=(str(tmp_path), barrier.wait)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [0, 0, 0] == [worker.exitcode for worker in workers]
    assert 100 == sum(row["orders"] for row in started(tmp_path).run(shop.sales))
