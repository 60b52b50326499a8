"""What comes after a payment: Celery has an order picked, packed and shipped, and the buyer does not wait for
it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from celery import Celery, chain

from bext_demo import shop
from bext_demo.database import Database

if TYPE_CHECKING:
    from celery.worker import WorkController

__all__ = ["Fulfilment"]

log = logging.getLogger(__name__)

_READY_SECONDS = 5.0
# A Redis that is gone before us does not hold up our end.
_LEAVE_SECONDS = 1.0
# How often a broker in memory is looked at; by itself Celery does so once a second.
_LOOK_SECONDS = 0.05
# Nobody asks this worker anything, and it has no others to wait for.
_ALONE = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}


class Fulfilment:
    """A chain of three tasks for each order.

    They go over the Redis at `broker_url`, in keys that begin with `queue`, to a `bext_demo.worker`; where
    that is None, over a broker in memory to a worker in threads of this process.

    Safe from every thread between `start` and `close`. What was not begun by then is lost: its bags stay
    held.
    """

    def __init__(self, database: Database, broker_url: str | None, queue: str) -> None:
        self._broker_url = broker_url
        self._queue = queue
        self._worker: WorkController | None = None
        self.celery = celery = Celery(
            "bext_demo", broker=broker_url or "memory://localhost/", set_as_current=False
        )
        celery.conf.update(
            broker_connection_retry_on_startup=True,
            broker_transport_options={"polling_interval": _LOOK_SECONDS}
            if broker_url is None
            else {"global_keyprefix": f"{queue}:"},
            task_default_queue=queue,
            task_ignore_result=True,
            worker_enable_remote_control=False,
        )

        def pick(order_id: int) -> shop.Parcel:
            return database.run(lambda cursor: shop.pick(cursor, order_id))

        def pack(parcel: shop.Parcel) -> shop.Parcel:
            return shop.pack(parcel)

        def ship(parcel: shop.Parcel) -> None:
            database.run(lambda cursor: shop.ship(cursor, parcel))
            log.info("order %d is on its way: %d g", parcel["order_id"], parcel["grams"])

        self._pick, self._pack, self._ship = (
            celery.task(name=f"fulfilment.{task.__name__}", shared=False)(task) for task in (pick, pack, ship)
        )

    def start(self) -> None:
        """Start the worker, if this process has one; takes a few hundredths of a second."""
        if self._broker_url is not None:
            return
        # Tasks in the worker's threads look for their application there.
        self.celery.set_default()
        ready = threading.Event()
        # Not `app.Worker`, which would take the process's signals and its logging.
        self._worker = self.celery.WorkController(
            pool="threads", concurrency=2, ready_callback=lambda _: ready.set(), **_ALONE
        )
        threading.Thread(target=self._worker.start, name="fulfilment", daemon=True).start()
        if not ready.wait(_READY_SECONDS):
            raise RuntimeError(f"the worker was not ready within {_READY_SECONDS:g} s")

    def close(self) -> None:
        """Stop the worker after the tasks that it executes, and remove the queue.

        The worker's thread sees that within two seconds; nobody need wait for it.
        """
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()
            self.celery.control.purge()
        if self._broker_url is not None:
            _remove(self._broker_url, f"{self._queue}:*")

    def begin(self, order_id: int) -> None:
        """Have a paid order picked, packed and shipped."""
        chain(self._pick.s(order_id), self._pack.s(), self._ship.s()).delay()


def _remove(url: str, keys: str) -> None:
    """Celery removes a queue, but not what it noted about it."""
    from redis import Redis, RedisError  # Celery has it for such a broker

    try:
        with Redis.from_url(
            url, socket_timeout=_LEAVE_SECONDS, socket_connect_timeout=_LEAVE_SECONDS
        ) as client:
            for key in client.scan_iter(keys):
                client.delete(key)
    except RedisError as error:
        log.warning("the queue is still there: %s", type(error).__name__)
