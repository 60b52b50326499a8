"""One connection: a request comes in, an answer goes out, and only then the next request is looked at."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from bext_otel.listener.answers import ask, environment, refusal
from bext_otel.listener.lanes import Job, Lane, Together
from bext_otel.listener.limits import Limits
from bext_otel.listener.requests import BadRequestError, Body, Head, parse

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["Connection", "Service", "Stage"]

Stage: TypeAlias = Literal["head", "body", "making", "taking", "leaving", "closed"]
"""What a connection is waiting for: the head of a request, its body, an answer that is being made, the client
to take it, the client to leave; or nothing any more."""

_RECEIVED_AT_ONCE = 64 * 1024
_SENT_AT_ONCE = 256 * 1024
_JOINED_BYTES = 64 * 1024
# Further ones are for the next turn, so that one client cannot keep the others waiting.
_SENDS_A_TURN = 4
_ADVANCES_A_TURN = 16
# Whoever is refused in the middle of sending would otherwise see a reset connection in place of the reason.
_LEAVING_SECONDS = 2.0
_ON_ITS_WAY_SECONDS = 0.25
# In front of a request; some clients send one behind a body.
_MAX_BLANK_LINES = 8
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True)
class Service:
    """What all connections of a listener have in common. `deliver` is called from any thread with what a lane
    has made; `wants` are the exceptions by which a socket says that it has nothing to read, or no room."""

    application: WSGIApplication
    lane_of: Callable[[str], Lane | None]
    deliver: Callable[[Connection, Job, list[bytes]], None]
    limits: Limits
    address: tuple[str, int]
    scheme: str
    wants_read: tuple[type[OSError], ...]
    wants_write: tuple[type[OSError], ...]


class Connection:
    """`since` is when the client's turn began, `deadline` when it is over (seconds of the monotonic clock).
    Used by one thread only, but for what a lane does."""

    def __init__(self, sock: socket.socket, client: str, service: Service, now: float) -> None:
        self.sock = sock
        self.stage: Stage = "head"
        self.since = now
        self.deadline = now + service.limits.head_seconds
        self.blocked_on_write = False
        self.is_hasty = False
        self._client = client
        self._service = service
        self._received = bytearray()
        self._searched = self._blank_lines = 0
        self._rests = False
        self._head: Head | None = None
        self._body: Body | None = None
        self._stays = self._is_last = False
        self._answer: list[memoryview] = []
        self._job: Job | None = None
        self._lane: Lane | None = None

    def step(self, now: float) -> None:
        """Go on as far as that is possible without waiting. `is_hasty` says that there is more to do at
        once."""
        self.is_hasty = False
        try:
            for _ in range(_ADVANCES_A_TURN):
                if not self._advance(now):
                    return
            self.is_hasty = True
        except BadRequestError as error:
            self._refuse(error.status, error.reason, now)
        except OSError:
            self.close()

    def take(self, job: Job, answer: list[bytes], now: float) -> None:
        """What a lane has made for this client; one that comes too late is dropped."""
        if self.stage == "making" and self._job is job:
            self._send(answer, now)
            self.step(now)

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        if self.stage == "making":
            self._refuse(503, "the answer takes too long: something that is asked for it hangs", now)
        elif self.stage in {"head", "body"} and not self._rests and (self._received or self._body):
            self._refuse(408, "the request takes too long", now)
        else:
            self.close()

    def close(self, *, ours: bool = True) -> None:
        """End it. Not `ours`: the descriptor belongs to somebody else by now, and is left alone."""
        self.stage = "closed"
        self._give_up_job()
        self._answer = []
        if ours:
            self.sock.close()
        else:
            self.sock.detach()

    def forget(self) -> None:
        """In a forked child: what is being made is the parent's."""
        self._lane = self._job = None

    def last_answer(self, now: float) -> None:
        """The listener ends: this request is the last one, and one that is on its way still comes in."""
        self._is_last, self._stays = True, False
        if self.stage == "leaving" or (
            self.stage in {"head", "body"} and (self._rests or now - self.since > _ON_ITS_WAY_SECONDS)
        ):
            self.close()

    def _advance(self, now: float) -> bool:
        """One step; whether there may be another."""
        if self.stage == "head":
            return self._take_head(now) or self._receive(now)
        if self.stage == "body":
            return self._take_body(now) or self._receive(now)
        if self.stage == "taking":
            return self._send_on(now)
        if self.stage == "leaving":
            self._received.clear()
            return self._receive(now)
        return False

    def _receive(self, now: float) -> bool:
        self.blocked_on_write = False
        try:
            data = self.sock.recv(_RECEIVED_AT_ONCE)
        except self._service.wants_read:
            return False
        except self._service.wants_write:
            self.blocked_on_write = True
            return False
        if not data:
            self.close()
            return False
        if self._rests:
            self._rests, self.since = False, now
            self.deadline = now + self._service.limits.head_seconds
        self._received += data
        return self.stage != "leaving"

    def _take_head(self, now: float) -> bool:
        received, limit = self._received, self._service.limits.head_bytes
        while not self._searched and received.startswith(b"\r\n"):  # RFC 9112, 2.2
            del received[:2]
            self._blank_lines += 1
            if self._blank_lines > _MAX_BLANK_LINES:
                raise BadRequestError(400, "this is no HTTP request")
        end = received.find(b"\r\n\r\n", max(0, self._searched - 3), limit)
        if end < 0:
            if len(received) >= limit:
                raise BadRequestError(431, f"at most {limit} bytes of a head are read")
            self._searched = len(received)
            return False
        self._head = parse(bytes(received[:end]))
        del received[: end + 4]
        self._searched = self._blank_lines = 0
        self._body = Body(self._head, self._service.limits.body_bytes)
        self._stays = self._head.stays and not self._is_last
        self.stage = "body"
        self.deadline = now + self._service.limits.for_body(self._body.announced)
        if self._head.expects_continue and not self._body.is_empty and not received:
            self.sock.send(_CONTINUE)
        return True

    def _take_body(self, now: float) -> bool:
        head, body = self._head, self._body
        assert head is not None
        assert body is not None
        if not body.feed(self._received):
            if not body.announced:  # who sends chunks has time for what has come so far
                self.deadline = self.since + self._service.limits.head_seconds
                self.deadline += self._service.limits.for_body(len(body.content))
            return False
        self._body = None
        environ = environment(
            head,
            bytes(body.content),
            client=self._client,
            server=self._service.address,
            scheme=self._service.scheme,
        )
        lane = self._service.lane_of(head.path)
        if lane is None:
            self._send(ask(self._service.application, environ, stays=self._stays), now)
            return True

        def job(together: Together) -> None:
            if self.stage == "making" and self._job is job:
                made = ask(self._service.application, environ, stays=self._stays, together=together)
                self._service.deliver(self, job, made)

        self.stage = "making"
        self.deadline = now + self._service.limits.making_seconds
        self._lane, self._job = lane, job
        lane.add(job)
        return False

    def _send(self, answer: list[bytes], now: float) -> None:
        self._job = self._lane = self._head = None
        if sum(map(len, answer)) <= _JOINED_BYTES:  # one call into the kernel, one packet
            answer = [b"".join(answer)]
        self._answer = [memoryview(part) for part in answer if part]
        self.stage, self.since = "taking", now
        self.deadline = now + self._service.limits.for_taking(sum(map(len, self._answer)))

    def _send_on(self, now: float) -> bool:
        """Send what there is room for; True once all of it has left and another request may follow."""
        for _ in range(_SENDS_A_TURN):
            if not self._answer:
                break
            part = self._answer[0]
            try:
                sent = self.sock.send(part[:_SENT_AT_ONCE])
            except (*self._service.wants_read, *self._service.wants_write):
                return False
            if sent < len(part):
                self._answer[0] = part[sent:]
            else:
                del self._answer[0]
        if self._answer:
            return False
        self.since = now
        if not self._stays:
            self._leave(now)
            return False
        self.stage, self._rests = "head", not self._received
        limits = self._service.limits
        self.deadline = now + (limits.idle_seconds if self._rests else limits.head_seconds)
        # What TLS has decrypted already wakes nobody.
        return bool(self._received) or self._service.scheme == "https"

    def _refuse(self, status: int, reason: str, now: float) -> None:
        self._give_up_job()
        self._stays, self._body = False, None
        self._send(refusal(status, reason), now)
        try:
            self._send_on(now)
        except OSError:
            self.close()

    def _leave(self, now: float) -> None:
        """Say that nothing more will come, and let the client read it."""
        self.stage, self.deadline = "leaving", now + _LEAVING_SECONDS
        self._received.clear()
        self.sock.shutdown(socket.SHUT_WR)

    def _give_up_job(self) -> None:
        if self._lane is not None and self._job is not None:
            self._lane.discard(self._job)
        self._lane = self._job = None
