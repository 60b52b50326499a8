"""The runs that the main process of a Celery worker knows of."""

from __future__ import annotations

import os
import sys
from typing import Any
from weakref import WeakSet, WeakValueDictionary

from bext_otel.catalogue import FLOW_FAILED
from bext_otel.operation import count
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.celery.messages import RUN

__all__ = ["ActiveRuns", "received"]

received: WeakValueDictionary[str, Any] = WeakValueDictionary()
"""What this process received and is not done with, by task id: a task that was lost is told of in its own
trace."""

# How long a process whose gauges change goes on telling the others of it without having measured something:
# longer than this.
_SHOW_SECONDS = 60.0


def _show() -> None:
    """Have other processes of the service see what this one observes: the main process of a worker measures
    next to nothing itself."""
    count(FLOW_FAILED, by=0)


class ActiveRuns:
    """The runs that the main process of a worker knows of: their tasks are executed, or have begun before and
    wait for their turn here.

    So a run that waits to be tried again is active. One whose next task still lies in the broker is nobody's.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._received: WeakSet[Any] = WeakSet()
        self._timed = False

    def received(self, sender: Any = None, request: Any = None, **_: Any) -> None:
        """The signal `task_received`, from the consumer."""
        try:
            received[request.id] = request
            if request.request_dict.get("retries") or _run(request) != request.id:
                self._received.add(request)
            _show()
            if not self._timed:
                self._timed = True
                sender.timer.call_after(_SHOW_SECONDS, self._again, (sender.timer,))
        except Exception as error:  # the worker goes on all the same
            report("the receipt of a task", error)

    def _again(self, timer: Any) -> None:
        """While there is something to show, and once more when there is nothing any more."""
        self._timed = self() > 0
        _show()
        if self._timed:
            timer.call_after(_SHOW_SECONDS, self._again, (timer,))

    def __call__(self) -> int:
        """How many there are; 0 in the processes that execute tasks, which have a copy of this."""
        state = sys.modules.get("celery.worker.state")
        if os.getpid() != self._pid or state is None:
            return 0
        found = {_run(request) for request in tuple(state.active_requests)}
        found |= {_run(request) for request in tuple(self._received) if _waits(request)}
        return len(found)


def _run(request: Any) -> str:
    return str(request.request_dict.get(RUN) or request.root_id or request.id)


def _waits(request: Any) -> bool:
    # What has begun is among the active ones until it is done; a request that was revoked stays until nobody
    # refers to it.
    return request.time_start is None and not getattr(request, "_already_revoked", False)
