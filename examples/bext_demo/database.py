"""The platform's SQLite database: one file, a connection for each transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import anyio.to_thread

from bext_demo.goods import GOODS

__all__ = ["Database"]

T = TypeVar("T")

_SCHEMA = Path(__file__).with_name("schema.sql")
_LOCK_TIMEOUT_SECONDS = 5.0
_FIRST_ORDERS = 40


class Database:
    """A file in `directory`, or in a temporary one that `close` removes. Safe from every thread between
    `start` and `close`."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._temporary: TemporaryDirectory[str] | None = None
        self._path = Path()

    def start(self) -> None:
        """Create the file and fill it where that has not been done."""
        if self._directory is None:
            self._temporary = TemporaryDirectory(prefix="bext-demo-")
            self._path = Path(self._temporary.name)
        else:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._path = self._directory
        self._path /= "shop.sqlite3"
        with self.transaction() as cursor:
            cursor.executescript(_SCHEMA.read_text(encoding="utf-8"))
        self.run(_fill)

    def close(self) -> None:
        """Remove a temporary database."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Cursor]:
        """A cursor whose changes are kept together if the body succeeds, and not at all if it raises."""
        with closing(sqlite3.connect(self._path, timeout=_LOCK_TIMEOUT_SECONDS)) as connection:
            connection.row_factory = sqlite3.Row
            with closing(connection.cursor()) as cursor:
                yield cursor
            connection.commit()

    def run(self, query: Callable[[sqlite3.Cursor], T]) -> T:
        """The answer of `query`, in a transaction; blocks."""
        with self.transaction() as cursor:
            return query(cursor)

    async def ask(self, query: Callable[[sqlite3.Cursor], T]) -> T:
        """The answer of `query`, in a transaction in a worker thread."""
        return await anyio.to_thread.run_sync(self.run, query)

    def check(self) -> None:
        """Raise if the database does not answer."""
        self.run(lambda cursor: cursor.execute("SELECT 1").fetchone())


def _fill(cursor: sqlite3.Cursor) -> None:
    # Several workers may start on one file at once: whoever comes first fills it.
    cursor.executemany("INSERT OR IGNORE INTO products VALUES (?, ?, ?, ?, ?, ?)", GOODS)
    cursor.executemany(
        "INSERT OR IGNORE INTO orders (id, slug, quantity, cents, state) VALUES (?, ?, ?, ?, ?)",
        [_first_order(number) for number in range(1, _FIRST_ORDERS + 1)],
    )


def _first_order(number: int) -> tuple[int, str, int, int, str]:
    good = GOODS[number * 5 % len(GOODS)]
    quantity = 1 + number % 4
    return number, good.slug, quantity, quantity * good.price_cents, "paid" if number % 3 else "placed"
