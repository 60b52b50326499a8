"""Waitress, made quiet and small: bounded threads, connections and sizes, nothing on disk, nothing in
anybody's log."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask

from bext_otel.threads import start

__all__ = ["NoThread", "WaitressServer"]

# An application may use waitress itself, so its loggers are not ours to silence; ours is one that nobody else
# has.
_SILENT = logging.Logger("bext_otel.endpoints", logging.CRITICAL + 1)
_SILENT.addHandler(logging.NullHandler())

_THREADS = 3
# Scrapers who come together wait for one collection together, each in a thread, which takes no processor.
_MOST_THREADS = 18
_POLL_SECONDS = 5
_SHUTDOWN_SECONDS = 0.5
_MAX_PAGE = 1 << 30

_SETTINGS: dict[str, Any] = {
    "threads": _THREADS,
    "connection_limit": 32,
    "channel_timeout": 30,
    "cleanup_interval": 10,
    "max_request_header_size": 16 * 1024,
    "max_request_body_size": 16 * 1024,
    # A page larger than these would be written to a temporary file, or hold its thread until the client has
    # read it.
    "outbuf_overflow": _MAX_PAGE,
    "outbuf_high_watermark": _MAX_PAGE,
    # They tell that somebody forwards to us, and who does is not trusted: the application must see them.
    "clear_untrusted_proxy_headers": False,
    "log_socket_errors": False,
    "ident": "bext-otel",
}


class WaitressServer:
    """One listening socket, served until `close`. `is_quick` says of a path that its answer never waits: it
    has a thread of its own."""

    def __init__(
        self, sock: socket.socket, application: Callable[..., Any], *, is_quick: Callable[[str], bool]
    ) -> None:
        self.port: int = sock.getsockname()[1]
        self._sock = sock
        self._map: dict[int, Any] = {}
        try:
            self._lanes = _Lanes(is_quick)
        except NoThread:
            sock.close()
            raise
        self._server = _Server(
            application,
            self._map,
            True,
            sock,
            dispatcher=cast("Any", self._lanes),  # it has what waitress calls of one
            adj=Adjustments(sockets=[sock], **_SETTINGS),
            sockinfo=(sock.family, sock.type, sock.proto, sock.getsockname()),
            bind_socket=False,
        )
        self._trigger = cast("Any", self._server.trigger)  # typed as a number
        self._trigger.logger = _SILENT
        self._identity, self._trigger_identity = _identity(sock), _identity(self._trigger.socket)
        self._server.holds = self._holds

    def turn(self) -> bool:
        """Serve what there is to serve, waiting up to some seconds for it; False once a descriptor was closed
        under us."""
        # poll, not select: an application may have more than 1024 descriptors.
        wasyncore.loop(timeout=_POLL_SECONDS, use_poll=True, map=self._map, count=1)
        return self._holds()

    def wake(self) -> None:
        """End a `turn` that waits; from any thread."""
        with suppress(OSError):  # closed meanwhile
            self._server.pull_trigger()

    def release(self) -> None:
        """Give the port back, whatever else may still be under way."""
        _let_go(self._sock, ours=_identity(self._sock) == self._identity)

    def close(self) -> None:
        """Release the port and end the threads; those that are busy get half a second."""
        ours = self._holds()
        if ours:
            self._finish()
        self.release()
        self._lanes.shutdown()
        self._let_go(ours=ours)

    def _finish(self) -> None:
        """Answer those who have been let in, for half a second; whoever comes now is let in by another
        process."""
        self._map.pop(self._sock.fileno(), None)
        deadline = time.monotonic() + _SHUTDOWN_SECONDS
        while time.monotonic() < deadline and any(
            owner.requests or owner.total_outbufs_len or not owner.answered
            for owner in self._map.values()
            if owner is not self._trigger
        ):
            wasyncore.loop(timeout=0.05, use_poll=True, map=self._map, count=1)

    def forget(self) -> None:
        """Close every descriptor and touch no thread or lock, as a forked child has to: both stay with the
        parent."""
        ours = self._holds()
        self.release()
        self._let_go(ours=ours)

    def _holds(self) -> bool:
        """Whether our descriptors are still ours: an application that closes them soon has files of its own
        under these numbers."""
        return (
            _identity(self._sock) == self._identity
            and _identity(self._trigger.socket) == self._trigger_identity
        )

    def _let_go(self, *, ours: bool) -> None:
        for owner in list(self._map.values()):
            if owner is not self._trigger and owner.socket is not None:
                _let_go(owner.socket, ours=ours)
        if not ours:
            self._trigger.socket.fd, self._trigger._fds = -1, []
        self._trigger.close()
        self._map.clear()


def _identity(file: Any) -> tuple[int, int] | None:
    """What stands behind a descriptor now; None for a closed one."""
    try:
        found = os.fstat(file.fileno())
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _let_go(sock: socket.socket, *, ours: bool) -> None:
    if ours:
        sock.close()
    else:
        sock.detach()


class _Channel(HTTPChannel):
    logger = _SILENT
    answered = False

    def service(self) -> None:
        super().service()
        self.answered = True

    class task_class(WSGITask):  # noqa: N801  # waitress' own name for it
        logger = _SILENT

    class error_task_class(ErrorTask):  # noqa: N801  # waitress' own name for it
        logger = _SILENT


class _Server(TcpWSGIServer):
    logger = _SILENT
    channel_class = _Channel
    holds: Callable[[], bool]

    def handle_accept(self) -> None:
        if self.holds():
            super().handle_accept()


class NoThread(RuntimeError):  # noqa: N818  # `threads` has told it
    """The system, or an interpreter that ends, gives no thread that could answer."""


class _Tasks(ThreadedTaskDispatcher):
    logger = _SILENT
    queue_logger = _SILENT

    def start_new_thread(self, target: Callable[[int], object], thread_no: int) -> None:
        if start(target, thread_no, name=f"bext-otel-endpoints-{thread_no}") is None:
            self.threads.discard(thread_no)
            raise NoThread("no thread can be started")


class _Lanes:
    """Two task dispatchers, so that what never waits does not queue behind what may."""

    def __init__(self, is_quick: Callable[[str], bool]) -> None:
        self._is_quick = is_quick
        self._quick, self._other = _Tasks(), _Tasks()
        try:
            self._quick.set_thread_count(1)
            self._other.set_thread_count(_THREADS)
        except RuntimeError:
            self.shutdown()
            raise

    def add_task(self, channel: Any) -> None:
        path = getattr(channel.requests[0], "path", "") if channel.requests else ""
        if self._is_quick(path):
            self._quick.add_task(channel)
            return
        waiting, threads = len(self._other.queue), len(self._other.threads)
        if waiting + self._other.active_count >= threads and 0 < threads < _MOST_THREADS:
            with suppress(RuntimeError):  # no more than there are, then
                self._other.set_thread_count(threads + 1)
        self._other.add_task(channel)

    def shutdown(self) -> None:
        for lane in (self._quick, self._other):
            lane.set_thread_count(0)
        for lane in (self._quick, self._other):
            lane.shutdown(timeout=_SHUTDOWN_SECONDS)  # type: ignore[arg-type]  # any number of seconds
