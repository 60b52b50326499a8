"""What comes after a payment: Celery has an order picked, packed and shipped, and the buyer does not wait for it."""

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
# How often a broker in memory is looked at; by itself Celery does so once a second.
_LOOK_SECONDS = 0.05
# Nobody asks this worker anything, and it has no others to wait for.
_ALONE = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}


class Fulfilment:
    """A chain of three tasks for each order, over a broker in memory, with a worker in threads of this process.

    Safe from every thread between `start` and `close`. What was not begun by then is lost with the memory: its bags stay held.
    """

    def __init__(self, database: Database) -> None:
        self._worker: WorkController | None = None
        self._celery = celery = Celery("bext_demo", broker="memory://localhost/", set_as_current=False)
        celery.conf.update(
            broker_connection_retry_on_startup=True,
            broker_transport_options={"polling_interval": _LOOK_SECONDS},
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
        """Start the worker; takes a few hundredths of a second."""
        # Tasks in the worker's threads look for their application there.
        self._celery.set_default()
        ready = threading.Event()
        # Not `app.Worker`, which would take the process's signals and its logging.
        self._worker = self._celery.WorkController(pool="threads", concurrency=2, ready_callback=lambda _: ready.set(), **_ALONE)
        threading.Thread(target=self._worker.start, name="fulfilment", daemon=True).start()
        if not ready.wait(_READY_SECONDS):
            raise RuntimeError(f"the worker was not ready within {_READY_SECONDS:g} s")

    def close(self) -> None:
        """Stop the worker after the tasks that it executes. Its thread sees that within two seconds; nobody need wait for it."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()
            self._celery.control.purge()

    def begin(self, order_id: int) -> None:
        """Have a paid order picked, packed and shipped."""
        chain(self._pick.s(order_id), self._pack.s(), self._ship.s()).delay()
