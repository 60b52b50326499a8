"""When a process opens the stand-alone server: as soon as it shows that it serves, and never in a master that only forks."""

from __future__ import annotations

import multiprocessing
import threading
from typing import Protocol

from bext_otel.workers.forks import on_fork

__all__ = ["Serving"]

# Long enough for a master that loads the application to begin forking, short enough that nobody waits for /metrics.
_DELAY_SECONDS = 0.3


class _Server(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def forget(self) -> None: ...


class Serving:
    """Starts `server` once there is evidence that this process serves.

    Evidence is an application object, a request, or a measurement. Before a fork the server closes, so that the port is free for the
    children and no thread runs across the fork; a forked worker opens it again, the parent only on new evidence.
    """

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._timer: threading.Timer | None = None
        self._candidate = False
        self._forks = on_fork(before=self._before_fork, in_child=self._in_child)

    def evidence(self) -> None:
        """This process serves, or has something to show. Cheap when it is known."""
        if not self._candidate:
            self._schedule()

    def close(self) -> None:
        """Serve no more."""
        self._forks.close()
        self._stand_down()

    def _schedule(self) -> None:
        self._candidate = True
        try:
            self._timer = threading.Timer(_DELAY_SECONDS, self._server.start)
            self._timer.daemon = True
            self._timer.name = "bext-otel-serving"
            self._timer.start()
        except RuntimeError:  # no thread can be started any more while the interpreter ends
            self._timer = None

    def _stand_down(self) -> None:
        self._candidate = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
            self._timer = None
        self._server.stop()

    def _before_fork(self) -> None:
        self._was_candidate = self._candidate
        if self._candidate:
            self._stand_down()

    def _in_child(self) -> None:
        self._server.forget()
        self._candidate = False
        if self._was_candidate:
            self._candidate = True
            self._timer = threading.Timer(_DELAY_SECONDS, self._start_unless_helper)
            self._timer.daemon = True
            self._timer.start()

    def _start_unless_helper(self) -> None:
        # A child of `multiprocessing` computes something for its parent more often than it serves: it has to show evidence of its own.
        if multiprocessing.parent_process() is None:
            self._server.start()
        else:
            self._candidate = False
