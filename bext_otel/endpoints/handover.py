"""How a listening socket goes from one process to another without a refused connection: by a local socket of
the kernel's, whose random name stands on the board of the service.

Whoever leads a service's endpoints keeps an `Offer`; everybody else has a `Link` to it. A process of the same
service is given a copy of the listening socket to keep: as long as anybody has one the kernel queues
connections, so whoever sees the leader end goes on with his. A process that outranks the leader is given the
socket for itself, also one of another service that has read the secret from the board.

A packet is one message: from the link `KIND RANK SECRET` first, then `RANK` whenever it rises; from the offer
one of the answers below and the rank that it is for, some with the socket.
"""

from __future__ import annotations

import hmac
import secrets
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bext_otel.endpoints.notice import Notice
from bext_otel.endpoints.passing import receive, send
from bext_otel.threads import start

__all__ = ["KEEP", "MOVED", "SILENT", "WAIT", "YOURS", "Link", "Offer"]

KEEP, YOURS, WAIT, MOVED = b"K", b"Y", b"W", b"M"
"""Answers: keep this socket until I end; you have it now; there is nothing for you; it went on."""
SILENT = b"?"
"""What a link finds that is not answered, as by a process that was stopped."""

_SIBLING, _KEEPER, _RELATIVE = b"s", b"k", b"r"
_ANSWER_SECONDS = 2.0
_PROOF_SECONDS = 1.0
_BACKLOG = 64
# Of those who have not yet shown the secret, which any user of the machine can be.
_MOST_UNPROVEN = 16
_POLL_SECONDS = 60.0
_CREDENTIALS = struct.Struct("3i")
_LONGEST = 64


class Link:
    """From a process that does not lead to the one that does. `say` and `close` may be called from any
    thread."""

    def __init__(self, sock: socket.socket, rank: int) -> None:
        self._sock = sock
        self._said = rank
        self._answered = False
        self._told_rank = b""

    @classmethod
    def to(
        cls, notice: Notice, secret: bytes, *, rank: int, sibling: bool, keeps: bool = False
    ) -> Link | None:
        """A link to whoever posted this; None if that process is gone. `keeps` says that this process has a
        copy of the socket already: a leader without one gives way to it."""
        try:
            sock = _local()
        except OSError:
            return None
        try:
            sock.settimeout(_ANSWER_SECONDS)
            sock.connect(f"\0{notice.name}")
            # Names can be seen, and taken by anybody once their owner is gone. The kernel says who listens.
            if _peer(sock) != (notice.pid, notice.uid):
                raise PermissionError("somebody else's")
            kind = (_KEEPER if keeps else _SIBLING) if sibling else _RELATIVE
            sock.send(kind + _rank(rank) + secret)
        except OSError:
            sock.close()
            return None
        return cls(sock, rank)

    def hear(self) -> tuple[bytes, socket.socket | None]:
        """The next answer, and the socket that comes with it; waits for it. Empty at the end of the other
        side, or of this one."""
        try:
            if not self._answered:
                self._sock.settimeout(_ANSWER_SECONDS)
            message, sock = receive(self._sock)
            if not self._answered:
                self._answered = True
                self._sock.settimeout(None)
        except TimeoutError:
            return SILENT, None
        except OSError:
            return b"", None
        self._told_rank = message[1:2]
        return message[:1], sock

    def was_told_at(self, rank: int) -> bool:
        """Whether the last answer was to this rank, and not to what this process said before."""
        return self._told_rank == _rank(rank)

    def say(self, rank: int) -> None:
        """This is how the process ranks now."""
        if rank != self._said:
            self._said = rank
            with suppress(OSError):
                self._sock.send(_rank(rank), socket.MSG_DONTWAIT)

    def wake(self) -> None:
        """Have whoever hears find the end."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it, in a forked child without ending the parent's."""
        self._sock.close()


class Offer:
    """Of the process that leads: answers links in a thread of its own, until it is closed or has handed over.

    `rank` tells how this process ranks; one that ranks higher is given the socket, after a call of
    `handing_over`. A link that does not prove itself within a second is closed.
    """

    def __init__(self, secret: bytes, rank: Callable[[], int], handing_over: Callable[[], None]) -> None:
        """Raises OSError where the system has no such sockets."""
        self._secret = secret
        self._own_rank = rank
        self._handing_over = handing_over
        self._shared: socket.socket | None = None
        self._links: dict[int, _Linked] = {}
        self._closed = threading.Event()
        self._started = False
        self.name = f"bext-otel-{secrets.token_hex(16)}"
        self._listener = _local()
        try:
            self._listener.bind(f"\0{self.name}")
            self._listener.listen(_BACKLOG)
            self._listener.setblocking(False)
            self._waker, self._woken = socket.socketpair()
        except OSError:
            self._listener.close()
            raise

    def start(self) -> bool:
        """Answer from now on; False where no thread can be had, and links are not answered."""
        self._started = start(self._run, name="bext-otel-port") is not None
        return self._started

    def share(self, sock: socket.socket | None) -> None:
        """This is the listening socket now, or there is none. It stays the caller's."""
        self._shared = sock
        self._wake()

    def close(self) -> None:
        """End all links: of those who keep the socket one goes on with it. From any thread."""
        self._closed.set()
        self._wake()
        if not self._started:
            self.forget()

    def forget(self) -> None:
        """Close every descriptor, as a forked child has to."""
        for sock in (self._listener, self._waker, self._woken, *(link.sock for link in self._links.values())):
            sock.close()

    def _wake(self) -> None:
        with suppress(OSError):  # it has ended
            self._waker.send(b"x", socket.MSG_DONTWAIT)

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                self._turn(self._ready())
        except Exception:  # noqa: S110  # links end, and whoever keeps the socket goes on with it
            pass
        finally:
            # A process that was forked by somebody who told nobody may have these too: for it as well.
            for link in self._links.values():
                with suppress(OSError):
                    link.sock.shutdown(socket.SHUT_RDWR)
            self.forget()

    def _ready(self) -> set[int]:
        # Looked up now: under gevent it lets other greenlets run.
        poll: Any = select.poll()
        for number in (self._listener.fileno(), self._woken.fileno(), *self._links):
            poll.register(number, select.POLLIN)
        unproven = any(link.kind is None for link in self._links.values())
        return {number for number, _ in poll.poll((_PROOF_SECONDS if unproven else _POLL_SECONDS) * 1000)}

    def _turn(self, ready: set[int]) -> None:
        if self._woken.fileno() in ready:
            self._woken.recv(4096)
        if self._closed.is_set():
            return
        if self._listener.fileno() in ready:
            self._accept()
        for number, link in list(self._links.items()):
            if number in ready and not self._listen(link):
                self._drop(number)
                continue
            if link.kind is None:
                if time.monotonic() > link.until:
                    self._drop(number)
            elif not self._answer(link):
                self._drop(number)
            if self._closed.is_set():
                return

    def _accept(self) -> None:
        with suppress(OSError):  # nobody any more; no descriptor left
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            unproven = [number for number, link in self._links.items() if link.kind is None]
            if len(unproven) >= _MOST_UNPROVEN:
                self._drop(unproven[0])
            self._links[sock.fileno()] = _Linked(sock, time.monotonic() + _PROOF_SECONDS)

    def _listen(self, link: _Linked) -> bool:
        """Take what a link says; False at its end, or if it does not prove itself."""
        try:
            message = link.sock.recv(_LONGEST)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if link.kind is None:
            kind, link.rank, proof = message[:1], message[1:2], message[2:]
            if kind not in (_SIBLING, _KEEPER, _RELATIVE) or not hmac.compare_digest(proof, self._secret):
                return False
            link.kind = kind
        elif message:
            link.rank, link.told = message[:1], False
        return bool(message)

    def _answer(self, link: _Linked) -> bool:
        """Tell a link what it does not know yet; whether it takes it."""
        shared, sibling = self._shared, link.kind != _RELATIVE
        outranked = link.rank > _rank(self._own_rank()) and (sibling or shared is not None)
        if outranked or (link.kind == _KEEPER and shared is None):
            return self._hand_over(link)
        if sibling and shared is not None:
            return link.kept is shared or _send(link, KEEP, shared)
        return link.told or _send(link, WAIT, None)

    def _hand_over(self, link: _Linked) -> bool:
        """Give it to this one, and tell the others; whether it takes it."""
        self._handing_over()
        self._closed.set()
        if not _send(link, YOURS, self._shared):
            return False
        for other in self._links.values():
            if other is not link and other.kind is not None:
                _send(other, MOVED, None)
        return True

    def _drop(self, number: int) -> None:
        self._links.pop(number).sock.close()


@dataclass
class _Linked:
    """A link as its offer sees it: `kind` once it has proven itself, what it `kept` of ours, whether it was
    `told` to wait."""

    sock: socket.socket
    until: float
    kind: bytes | None = None
    rank: bytes = b""
    kept: socket.socket | None = None
    told: bool = False


def _send(link: _Linked, answer: bytes, shared: socket.socket | None) -> bool:
    try:
        send(link.sock, answer + link.rank, shared)
    except OSError:  # its buffer is full, or it is gone
        return False
    link.told, link.kept = True, shared
    return True


def _local() -> socket.socket:
    if not hasattr(socket, "SO_PEERCRED") or not hasattr(socket, "AF_UNIX"):
        raise OSError("this system's local sockets tell nobody who is at the other end")
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _peer(sock: socket.socket) -> tuple[int, int]:
    """Process and user at the other end."""
    pid, uid, _ = _CREDENTIALS.unpack(
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return pid, uid


def _rank(rank: int) -> bytes:
    return b"%d" % rank  # an IntEnum is shown by its name before 3.11
