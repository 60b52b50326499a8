"""What can be asked of a pool, to be compared with and without an instrumentor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from tests.instrumentors import tasks
from tests.instrumentors.outcomes import outcome

__all__ = ["PROCESSES", "THREADS", "Named", "answer", "without_traceback"]


class Named(ThreadPoolExecutor):
    """A pool of the application's own."""

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        return super().submit(*args, **kwargs)


def shut(pool: Executor) -> Executor:
    pool.shutdown()
    return pool


def cancelled(pool: Executor) -> bool:
    started, release = threading.Event(), threading.Event()
    pool.submit(lambda: (started.set(), release.wait()))
    started.wait()
    waiting = pool.submit(tasks.double, 1)
    answer = waiting.cancel()
    release.set()
    return answer and waiting.cancelled()


ANY: dict[str, Callable[[Executor], Any]] = {
    "result": lambda pool: pool.submit(tasks.double, 2, add=1).result(),
    "error": lambda pool: pool.submit(tasks.fail, LookupError("x")).result(),
    "exit": lambda pool: pool.submit(tasks.fail, SystemExit(3)).result(),
    "map": lambda pool: list(pool.map(tasks.double, [1, 2, 3])),
    "nothing": lambda pool: pool.submit(),  # type: ignore[call-arg]
    "no function": lambda pool: pool.submit(5).result(),  # type: ignore[arg-type]
    "keyword": lambda pool: pool.submit(fn=tasks.double).result(),  # type: ignore[call-arg]
    "wrong arguments": lambda pool: pool.submit(tasks.double).result(),
    "shut": lambda pool: shut(pool).submit(tasks.double, 1).result(),
    "type": lambda pool: type(pool.submit(tasks.double, 1)).__name__,
}
THREADS: dict[str, Callable[[Executor], Any]] = {**ANY, "cancelled": cancelled}
PROCESSES: dict[str, Callable[[Executor], Any]] = {
    **ANY,
    "chunks": lambda pool: list(pool.map(tasks.double, range(10), chunksize=4)),
    "unsendable function": lambda pool: pool.submit(lambda: 1).result(),
    "unsendable result": lambda pool: pool.submit(tasks.unsendable).result(),
    "dies": lambda pool: pool.submit(tasks.die).result(),
}


def answer(make: Callable[[], Executor], use: Callable[[Executor], Any]) -> tuple[str, str]:
    """What comes of a use of a new pool."""
    with make() as pool:
        return outcome(lambda: use(pool))


def without_traceback(came: tuple[str, str]) -> tuple[str, str]:
    """The cause is the worker's traceback as text, which has our frame in it."""
    return came[0], came[1].partition(" cause=")[0]
