"""When a process opens the stand-alone server: as soon as it shows that it serves, and never in a master that
only forks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Protocol

from bext_otel.endpoints.notice import Rank
from bext_otel.late_patching import on_patching
from bext_otel.process import on_fork
from bext_otel.threads import begin

__all__ = ["ServerStart"]

# Long enough for a master that loads the application to begin forking, short enough that nobody waits for
# /metrics.
_DELAY_SECONDS = 0.3

# A process that has this forks workers, and goes on as long as there is to be a server. A script that forks
# one may not: its port would stay open with nobody behind it.
_MASTER = "gunicorn.arbiter"


class _Server(Protocol):
    @property
    def rank(self) -> Rank: ...
    def start(self) -> None: ...
    def raise_rank(self, rank: Rank) -> None: ...
    def stop(self) -> None: ...
    def forget(self) -> None: ...
    def keep_open(self) -> None: ...
    def close(self) -> None: ...


class ServerStart:
    """Starts `server` once there is evidence that this process serves.

    An application object is evidence that this process, or one that it forks, may serve: before a fork the
    server closes, so that the port is free for the children and no thread runs across the fork; each forked
    worker opens it again, the parent only on new evidence. A measurement is evidence of work: such a process
    keeps its server when it forks helpers, and gets the port from one that has none; and one that serves gets
    it from one that only measures. The first request, or an ASGI server's lifespan, is certainty: nobody is
    waited for any more, so that the endpoints are there for whoever has got the first answer.

    Where gevent patches threads, it closes before, and opens again after.
    """

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._opening: _Opening | None = None
        self._candidate = False
        self._shown = False
        self._closed = False
        self._patched_away = False
        # Evidence may come from any thread, while another forks or closes.
        self._lock = threading.RLock()
        self._forget_forks = on_fork(before=self._before_fork, in_child=self._in_child)
        self._forget_patching = on_patching(before=self._before_patching, after=self._after_patching)

    def on_serving(self) -> None:
        """This process may serve. Cheap when it is known."""
        self._shown = True
        if not self._candidate:
            with self._lock:
                if not (self._candidate or self._closed):
                    self._schedule(self._server.start)

    def on_measuring(self) -> None:
        """This process has something to show."""
        self._server.raise_rank(Rank.MEASURES)
        self.on_serving()

    def on_request(self) -> None:
        """This process serves: requests come, or tasks."""
        self._server.raise_rank(Rank.SERVES)
        self.on_serving()
        if (opening := self._opening) is not None:
            opening.hurry.set()

    def close(self) -> None:
        """Serve no more."""
        self._forget_forks()
        self._forget_patching()
        with self._lock:
            self._closed = True
            self._stand_down()
            self._server.close()

    def _schedule(self, start: Callable[[], None], *, delay_seconds: float = _DELAY_SECONDS) -> None:
        self._candidate = True
        opening = _Opening(self._server, start, delay_seconds)
        if begin(opening.thread):
            self._opening = opening
        else:  # the next evidence tries again
            self._candidate = False

    def _stand_down(self) -> None:
        self._candidate = False
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        self._server.stop()

    def _before_fork(self) -> None:
        with self._lock:
            if _MASTER in sys.modules and not self._closed:
                self._server.keep_open()
            if self._candidate and self._server.rank < Rank.MEASURES:
                self._stand_down()

    def _before_patching(self) -> None:
        with self._lock:
            if self._candidate:
                self._stand_down()
                self._patched_away = True

    def _after_patching(self) -> None:
        if not self._patched_away:
            return
        self._patched_away = False
        self._lock = threading.RLock()  # whoever waited for one of the system's would hold up all greenlets
        self.on_serving()

    def _in_child(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may hold it
        self._server.forget()
        self._candidate = False
        self._opening = None
        if self._shown and not self._closed:
            # A worker of such a master forks no further ones.
            delay = 0.0 if _MASTER in sys.modules else _DELAY_SECONDS
            self._schedule(self._start_unless_helper, delay_seconds=delay)

    def _start_unless_helper(self) -> None:
        # A child of `multiprocessing` computes something for its parent more often than it serves: it has to
        # show evidence of its own.
        processes = sys.modules.get("multiprocessing.process")  # which a child of its has
        if processes is None or processes.parent_process() is None:
            self._server.start()
        else:
            self._candidate = False


class _Opening:
    """A thread that opens the server after a while; at once, if that is cut short by `hurry`."""

    def __init__(self, server: _Server, start: Callable[[], None], delay_seconds: float) -> None:
        self._server = server
        self._start = start
        self._delay_seconds = delay_seconds
        self._cancelled = False
        self.hurry = threading.Event()
        self.thread = threading.Thread(target=self._run, name="bext-otel-serving", daemon=True)

    def cancel(self) -> None:
        """Open nothing, and have the thread end."""
        self._cancelled = True
        self.hurry.set()
        self.thread.join()

    def _run(self) -> None:
        # What is imported is so after that: a master that is not Python's own forks its workers meanwhile.
        self.hurry.wait(self._delay_seconds)
        if not self._cancelled:
            self._start()
