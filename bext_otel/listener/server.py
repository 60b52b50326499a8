"""The listener: one thread that accepts, reads and writes for all connections, and waits for nobody."""

from __future__ import annotations

import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bext_otel.listener.connection import Connection, Service
from bext_otel.listener.lanes import Job, Lane
from bext_otel.listener.limits import Limits

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from bext_otel.listener.tls import TLS

__all__ = ["Listener"]

_LONGEST_WAIT_SECONDS = 5.0
_PAUSE_SECONDS = 0.5
_GRACE_SECONDS = 0.5
_GRACE_TURN_SECONDS = 0.05

# Who goes first where there is no room: whoever has not asked yet, then whoever does not take what he asked
# for.
_RANK = {"closed": 0, "leaving": 0, "head": 1, "body": 1, "taking": 2, "making": 3}


class Listener:
    """Serves a WSGI application on one listening socket, until `close`; by calls of `turn` from one thread.

    `lane_of` names, for a path, the lane in which its answer is made, one after the other in a thread of its
    own; with None it is made at once, and may not wait for anything. `name` is what the threads are called.
    """

    def __init__(
        self,
        sock: socket.socket,
        application: WSGIApplication,
        *,
        lane_of: Callable[[str], str | None],
        name: str,
        limits: Limits | None = None,
        tls: TLS | None = None,
    ) -> None:
        sock.setblocking(False)
        self.port: int = sock.getsockname()[1]
        self._sock = sock
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._own = {one: _identity(one) for one in (sock, self._woken)}
        self._lanes: dict[str, Lane] = {}
        self._lane_of = lane_of
        self._name = name
        self._limits = limits or Limits()
        self._tls = tls
        self._service = Service(
            application,
            self._lane,
            self._deliver,
            self._limits,
            (str(sock.getsockname()[0]), self.port),
            "http" if tls is None else "https",
            (BlockingIOError, InterruptedError) if tls is None else tls.wants_read,
            () if tls is None else tls.wants_write,
        )
        self._connections: dict[int, Connection] = {}
        self._made: deque[tuple[Connection, Job, list[bytes]]] = deque()
        self._accepts_from = 0.0

    def turn(self, longest_wait: float = _LONGEST_WAIT_SECONDS) -> bool:
        """Serve what there is to serve, waiting up to some seconds for it; False once a descriptor was closed
        under us."""
        now = time.monotonic()
        ready = _ready(*self._wanted(now), self._wait_seconds(now, longest_wait))
        if not self._holds():
            return False
        now = time.monotonic()
        if self._woken.fileno() in ready:
            self._hear()
        while self._made:
            connection, job, answer = self._made.popleft()
            connection.take(job, answer, now)
        known = list(self._connections.items())
        if self._sock.fileno() in ready:
            self._accept(now)
        for number, connection in known:
            if connection.stage == "closed":
                continue
            if number in ready or connection.is_hasty:
                if connection.stage == "making":  # it was only asked whether the client is still there
                    connection.close()
                else:
                    connection.step(now)
            elif connection.deadline <= now:
                connection.expire(now)
        self._forget_closed()
        return True

    def wake(self) -> None:
        """End a `turn` that waits; from any thread."""
        with suppress(OSError):  # it is woken already, or closed meanwhile
            self._waker.send(b"x")

    def release(self) -> None:
        """Give the port back, whatever else may still be under way; a `turn` that waits has to be woken for
        that."""
        identity = self._own.pop(self._sock, None)
        _let_go(self._sock, ours=_identity(self._sock) == identity)

    def close(self) -> None:
        """Release the port and end each connection; what has been asked for gets half a second."""
        ours = self._holds()
        self.release()
        if ours:
            self._finish()
        for lane in self._lanes.values():
            lane.close()
        self._let_go(ours=ours)

    def forget(self) -> None:
        """Close every descriptor and touch no thread or lock, as a forked child has to: both stay with the
        parent."""
        ours = self._holds()
        self.release()
        self._lanes.clear()
        for connection in list(self._connections.values()):
            connection.forget()
        self._let_go(ours=ours)

    def _finish(self) -> None:
        until = time.monotonic() + _GRACE_SECONDS
        while (now := time.monotonic()) < until:
            for connection in self._connections.values():
                connection.last_answer(now)
            self._forget_closed()
            if not self._connections or not self.turn(min(until - now, _GRACE_TURN_SECONDS)):
                return

    def _holds(self) -> bool:
        """Whether our descriptors are still ours: an application that closes them soon has files of its own
        under these numbers."""
        return all(_identity(sock) == identity for sock, identity in list(self._own.items()))

    def _let_go(self, *, ours: bool) -> None:
        for connection in self._connections.values():
            connection.close(ours=ours)
        self._connections.clear()
        self._made.clear()
        for sock in (self._waker, self._woken):
            _let_go(sock, ours=ours)

    def _wanted(self, now: float) -> tuple[list[int], list[int], list[int]]:
        """Descriptors to read from, to write to, and to be told of when they break."""
        reading, writing, watching = [self._woken.fileno()], [], []
        if self._sock.fileno() >= 0 and now >= self._accepts_from:
            reading.append(self._sock.fileno())
        for number, connection in self._connections.items():
            if connection.stage == "making":
                watching.append(number)
            elif connection.stage == "taking" or connection.blocked_on_write:
                writing.append(number)
            else:
                reading.append(number)
        return reading, writing, watching

    def _wait_seconds(self, now: float, longest: float) -> float:
        if self._made or any(connection.is_hasty for connection in self._connections.values()):
            return 0.0
        due = [connection.deadline for connection in self._connections.values()]
        if now < self._accepts_from:
            due.append(self._accepts_from)
        return max(0.0, min([longest, *(moment - now for moment in due)]))

    def _accept(self, now: float) -> None:
        """Let in who waits, and serve him at once if his request has come along."""
        for _ in range(self._limits.connections):
            try:
                sock, client = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError:  # no descriptor is left, or no memory
                self._accepts_from = now + _PAUSE_SECONDS
                return
            if len(self._connections) >= self._limits.connections:
                self._make_room(now)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock = sock if self._tls is None else self._tls.wrap(sock)
            except OSError:
                sock.close()
                continue
            number = sock.fileno()
            connection = self._connections[number] = Connection(sock, str(client[0]), self._service, now)
            connection.step(now)
            if connection.stage == "closed":
                del self._connections[number]

    def _make_room(self, now: float) -> None:
        while True:
            number, victim = min(
                self._connections.items(), key=lambda item: (_RANK[item[1].stage], item[1].since)
            )
            if victim.stage not in {"head", "body"}:
                break
            victim.step(now)  # its request may have come meanwhile
            if _RANK[victim.stage] <= _RANK["head"]:
                break
        victim.close()
        del self._connections[number]

    def _forget_closed(self) -> None:
        self._connections = {
            number: one for number, one in self._connections.items() if one.stage != "closed"
        }

    def _hear(self) -> None:
        with suppress(OSError):
            while len(self._woken.recv(4096)) == 4096:
                pass

    def _lane(self, path: str) -> Lane | None:
        name = self._lane_of(path)
        if name is None:
            return None
        if name not in self._lanes:
            self._lanes[name] = Lane(f"{self._name}-{name}")
        return self._lanes[name]

    def _deliver(self, connection: Connection, job: Job, answer: list[bytes]) -> None:
        self._made.append((connection, job, answer))
        self.wake()


def _ready(reading: list[int], writing: list[int], watching: list[int], seconds: float) -> set[int]:
    """Descriptors of which there is news, after so many seconds at most."""
    # Looked up now: under gevent they let other greenlets run.
    poll: Any = getattr(select, "poll", None)
    if poll is None:  # Windows
        return set().union(*select.select(reading, writing, reading + writing, seconds))
    # An application may have more than the 1024 descriptors that select can take.
    waiting = poll()
    for numbers, events in ((reading, select.POLLIN), (writing, select.POLLOUT), (watching, 0)):
        for number in numbers:
            waiting.register(number, events)
    try:
        return {number for number, _ in waiting.poll(seconds * 1000)}
    except InterruptedError:
        return set()


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
