"""Batches on their way out: a bounded queue, the sender's thread, and an end within one deadline.

A batch that fails for a reason that may pass is held and sent again, after pauses that grow, while others
queue up behind it; so an outage costs nothing as long as there is room. When there is none, the oldest in the
queue go: once the collector is back, what has happened last explains more.

Where no thread can be started, whoever adds an item sends now and then himself, for a moment; and all is sent
at the end.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from math import inf
from typing import Generic, Protocol, TypeVar

import msgspec
from opentelemetry.instrumentation.utils import suppress_instrumentation

from bext_otel.bounded import within
from bext_otel.export.delivery import Delivery
from bext_otel.export.packs import Pack, give_freed_memory_back
from bext_otel.export.queue import Queue
from bext_otel.export.sender import NO_TIME, Sender, sender

__all__ = ["INLINE_SECONDS", "MAX_ENCODED", "Batches", "Pauses", "QueueLimits"]

_log = logging.getLogger("bext_otel.export")

_random = random.SystemRandom()

MAX_ENCODED = 65_536
"""How many items wait that are bytes, and limited as such, unless a variable says otherwise."""

_served: ContextVar[frozenset[object]] = ContextVar("bext_otel_batches_served", default=frozenset())

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

INLINE_SECONDS = 0.25
"""How long sending may hold up the application's own thread, where there is no other."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 30.0
# At the end there is no time to lose, and nobody else to spare.
_LAST_PAUSE_SECONDS = 0.1
# Inline, a collector that does not answer costs the application `INLINE_SECONDS` each time.
_INLINE_PAUSE_SECONDS, _LONGEST_INLINE_PAUSE_SECONDS = 10.0, 300.0
# In an outage, whenever so many batches have queued up, what waits is packed.
_BATCHES_TO_PACK = 4
# What a collector may ask for at most (`Retry-After`); it may mistake its clock.
_MAX_ASKED_SECONDS = 600.0


class Exporter(Protocol[T_contra]):
    """Sends a batch. One of ours has a `delivery`, which tells how it went and how long it may take."""

    def export(self, batch: Sequence[T_contra], /) -> object: ...
    def shutdown(self) -> object: ...


class QueueLimits(msgspec.Struct, frozen=True):
    """Of a queue: how many items wait, how many are sent at once, and how long after the first one.

    Items that are bytes are also limited by these: `queue_bytes` of what waits, `batch_bytes` of what is sent
    at once, unless a single item has more.
    """

    queue_size: int = 2048
    batch_size: int = 512
    delay_seconds: float = 5.0
    queue_bytes: int = 32 << 20
    # Collectors take 4 MiB over gRPC, if nobody tells them otherwise.
    batch_bytes: int = 3 << 20

    @classmethod
    def from_environment(cls, kind: str, *, delay_ms: int, queue_size: int = 2048) -> QueueLimits:
        """As `OTEL_{kind}_*` say; the standard's defaults for what they don't, but for `queue_size`."""
        size = _whole(f"OTEL_{kind}_MAX_QUEUE_SIZE", queue_size)
        batch = _whole(f"OTEL_{kind}_MAX_EXPORT_BATCH_SIZE", 512)
        return cls(size, min(batch, size), _whole(f"OTEL_{kind}_SCHEDULE_DELAY", delay_ms) / 1e3)


def _whole(name: str, default: int) -> int:
    # What is no such number has been told, and taken out of the environment, when the settings were loaded.
    with suppress(ValueError):
        return max(int(os.environ.get(name) or default), 1)
    return default


class Pauses:
    """How long to wait after a failure: twice as long each time, within bounds, and never sooner than the
    other side asked for."""

    def __init__(
        self, first_seconds: float = _FIRST_PAUSE_SECONDS, longest_seconds: float = _LONGEST_PAUSE_SECONDS
    ) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self.reset()

    def reset(self) -> None:
        """It works again."""
        self._next = self._first

    def next(self, asked_seconds: float = 0.0) -> float:
        """After one more failure. Not the same for all processes, which would come back together."""
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return max(pause * _random.uniform(0.8, 1.2), min(asked_seconds, _MAX_ASKED_SECONDS))


class _Turn:
    """Somebody waits until what is queued now has been sent, `until` then at most. The last one is the
    end."""

    def __init__(self, seconds: float, *, is_last: bool = False) -> None:
        self.until = time.monotonic() + seconds
        self.is_last = is_last
        self.done = threading.Event()
        self.arrived = False

    @property
    def left(self) -> float:
        return self.until - time.monotonic()

    def wait(self) -> bool:
        """Whether everything arrived, in time."""
        return self.done.wait(max(self.left, 0.0)) and self.arrived


class Batches(Generic[T]):
    """What is added goes to `exporter`, in batches, from the thread of `through`, which is joined with the
    first item. What is let go is told to `queue`.

    `on_start` is called at the first item, in the thread that adds it. `weigh` tells how many bytes an item
    has, where it is bytes; `pack` makes one piece of memory of a batch that waits for a collector in vain.
    With packs, a queue that is full lets go of a whole one.
    """

    def __init__(
        self,
        exporter: Exporter[T],
        queue: Queue,
        limits: QueueLimits,
        *,
        weigh: Callable[[T], int] | None = None,
        pack: Callable[[Sequence[T]], Pack[T]] | None = None,
        through: Sender = sender,
    ) -> None:
        self.on_start: Callable[[], object] = _nothing
        self._exporter = exporter
        self._queue = queue
        self._limits = limits
        self._weigh = weigh
        self._pack = pack
        self._pack_at = _BATCHES_TO_PACK * limits.batch_size
        self._sender = through
        delivery = getattr(exporter, "delivery", None)
        self._delivery = delivery if isinstance(delivery, Delivery) else None
        if self._delivery is not None:
            self._delivery.keeps = True
        self._pauses = Pauses()
        self._inline_pauses = Pauses(_INLINE_PAUSE_SECONDS, _LONGEST_INLINE_PAUSE_SECONDS)
        self._told = False
        self.reset()

    def reset(self) -> None:
        """Start over without a thread, as a forked child does: what waits is the parent's to send."""
        self._items: deque[T] = deque()
        self._weight = self._sent = 0
        # Older than `items`; these have the room that is left.
        self._packs: deque[Pack[T]] = deque()
        self._packing = threading.Lock()
        self._room = self._limits.queue_size
        self._has_packed = False
        # What has been sent in vain, and is sent first next time.
        self._held: list[T] = []
        self._joined = False
        self._starting = threading.Lock()
        # The end, once it was asked for.
        self._last: _Turn | None = None
        self._is_handed_over = False
        # In the context of who serves, and so of what that calls in threads of its own.
        self._mark = object()
        self._pauses.reset()
        self._inline_pauses.reset()
        self._not_before = 0.0
        self._sent_at = time.monotonic()
        self.has_begun = self._closed = False
        self._make()

    def _make(self) -> None:
        # Anew when a thread is joined: gevent's workers patch these modules after the fork.
        self._rung = self._asleep = False
        self._turns: deque[_Turn] = deque()
        self._sending = threading.Lock()

    def add(self, item: T) -> None:
        """Have an item sent. Safe in a signal handler; never waits, unless no thread can be had."""
        if self._last is not None:
            self._queue.drop_items(1, "already_shutdown")
            return
        items = self._items
        items.append(item)
        if self._weigh is not None:
            # Threads may lose each other's sums; whoever empties the queue starts over.
            self._weight += self._weigh(item)
        if len(items) > self._room or self._weight > self._limits.queue_bytes:
            self._trim()
        if not self._joined and not self._start():
            self._send_now_and_then()
        elif self._asleep or (
            len(items) >= self._limits.batch_size and (not self._held or len(items) % self._pack_at == 0)
        ):
            self._ring()

    @property
    def _waiting(self) -> int:
        return len(self._items) + len(self._held) + self._limits.queue_size - self._room

    def _ring(self) -> None:
        # Again for each further batch, in case that who should serve this one hangs elsewhere.
        if not self._rung or len(self._items) % self._limits.batch_size == 0:
            self._rung = True
            self._sender.ring(self)

    def _start(self) -> bool:
        """Join a thread that sends; False where there can be none now."""
        if not self.has_begun:
            self.has_begun = True
            self._sent_at = time.monotonic()
            self._queue.attach(lambda: self._waiting, self._limits.queue_size)
            self.on_start()
        if not self._starting.acquire(blocking=False):  # another thread is at it
            return True
        try:
            if not self._joined and not self._sending.locked():
                self._make()
                self._joined = self._sender.join(self)
            return self._joined
        finally:
            self._starting.release()

    def _trim(self) -> None:
        """Let the oldest go, if there are too many."""
        with suppress(IndexError):  # whoever sends has just taken all of them
            while len(self._items) > self._room or self._weight > self._limits.queue_bytes:
                if not self._packs:
                    self._lift()
                    self._queue.drop_items(1)
                elif (pack := self._lift_pack()) is not None:
                    self._queue.drop_items(pack.count)
                else:  # another thread is at it
                    return

    def _lift(self) -> T:
        """Take the oldest item. Raises IndexError where there is none."""
        items = self._items
        item = items.popleft()
        if self._weigh is not None:
            self._weight = self._weight - self._weigh(item) if items or self._packs else 0
        return item

    def _lift_pack(self, *, waits: bool = False) -> Pack[T] | None:
        """Take the oldest pack; None where there is none, or another thread is at the packs. Only the thread
        that sends `waits`: another may be in a signal's handler, having been interrupted there."""
        if not self._packing.acquire(blocking=waits):
            return None
        try:
            if not self._packs:
                return None
            pack = self._packs.popleft()
            self._measure()
            self._weight = self._weight - pack.weight if self._items or self._packs else 0
            return pack
        finally:
            self._packing.release()

    def _measure(self) -> None:
        self._room = self._limits.queue_size - sum([pack.count for pack in self._packs])

    def _pack_up(self) -> None:
        """Make packs of what waits, but for the newest."""
        if self._pack is None or not self._sending.acquire(blocking=False):
            return
        size, most = self._limits.batch_size, self._limits.batch_bytes
        try:
            while len(self._items) >= 2 * size:
                weight = 0
                batch: list[T] = []
                with self._packing:
                    with suppress(IndexError):  # others let the oldest go
                        while len(batch) < size and weight < most:
                            batch.append(self._items.popleft())
                            weight += self._weigh(batch[-1]) if self._weigh is not None else 0
                    self._packs.append(self._pack(batch))
                    self._measure()
                self._has_packed = True
        finally:
            self._sending.release()

    def flush(self, seconds: float) -> bool:
        """Send what is queued, and have the exporter send what it holds; whether all of it arrived within
        `seconds`. Not from the thread that sends, which is told no."""
        if self._last is not None or self._mark in _served.get():
            return False
        turn = _Turn(seconds)
        arrived = True
        if self._waiting or self._sending.locked():
            if not self._hand_over(turn):
                self._serve(turn)
            arrived = turn.wait()
        return self._flush_exporter(max(turn.left, 0.0)) and arrived

    def _flush_exporter(self, seconds: float) -> bool:
        """One that is not ours may hold something back (specification, trace SDK, "ForceFlush")."""
        flush = getattr(self._exporter, "force_flush", None)
        if flush is None:
            return True
        (answer,) = within(seconds, [lambda: flush(int(seconds * 1e3))])
        return answer is not None and answer.value is not False

    def _hand_over(self, turn: _Turn) -> bool:
        """Have a thread serve a turn at once; False if none does."""
        if not self._joined:
            return False
        self._turns.append(turn)
        if self._sender.take(self):
            return True
        with suppress(ValueError):  # the thread was faster
            self._turns.remove(turn)
            return False
        return True

    def begin_end(self, seconds: float) -> bool:
        """Take nothing more, and send the rest until `seconds` are over; whether a thread is at it."""
        if self._last is None:
            if self._delivery is not None:
                self._delivery.is_ending = True
            self._last = _Turn(seconds, is_last=True)
            self._is_handed_over = self._hand_over(self._last)
        return self._is_handed_over

    def end(self, seconds: float) -> bool:
        """Send the rest and end, within `seconds`; whether it arrived. What does not is left where it is, and
        counted. Once."""
        is_handed_over = self.begin_end(seconds)
        last = self._last
        assert last is not None
        if not self._closed:
            self._closed = True
            last.until = min(last.until, time.monotonic() + seconds)
            if not is_handed_over:
                self._serve(last)
            last.wait()
            self._sender.leave(self)
            self._exporter.shutdown()
        return last.arrived

    def pause(self) -> float:
        """See `Member`."""
        if self._turns:
            return NO_TIME
        if not self._waiting:
            self._asleep = True
            # Sleepy before looking: what is added from here on rings.
            if not self._waiting and not self._turns:
                return inf
        if self._asleep:
            self._asleep = False
            self._sent_at = time.monotonic()
        ready = (
            0.0 if self._waiting >= self._limits.batch_size else self._sent_at + self._limits.delay_seconds
        )
        return max(max(ready, self._not_before) - time.monotonic(), NO_TIME)

    def work(self) -> None:
        """See `Member`."""
        self._rung = False
        token = _served.set(_served.get() | {self._mark})
        try:
            self._work()
        finally:
            _served.reset(token)

    def _work(self) -> None:
        """What is due now."""
        with suppress(IndexError):  # whoever waited serves his turn himself
            while self._turns:
                self._serve(self._turns.popleft())
        if self._asleep:
            return
        now = time.monotonic()
        if self._last is not None:
            return
        if now < self._not_before:
            self._pack_up()
            return
        due = self._waiting
        if now < self._sent_at + self._limits.delay_seconds:
            due -= due % self._limits.batch_size  # whole batches only
        else:
            self._sent_at = now
        while due > 0 and not self._turns and self._send(None):
            due -= self._sent
        if self._has_packed and not self._packs and not self._held:
            self._has_packed = False
            give_freed_memory_back()

    def _serve(self, turn: _Turn) -> None:
        """Send all that is queued. At the end again and again, as long as there is time; otherwise one
        failure is enough."""
        pauses = Pauses(_LAST_PAUSE_SECONDS, 1.0)
        due, arrived = self._waiting, True
        try:
            while (self._waiting if turn.is_last else due > 0) and turn.left > 0:
                if self._send(turn.left):
                    due -= self._sent
                    continue
                if not turn.is_last:
                    arrived = False
                    break
                if self._held:
                    time.sleep(max(min(pauses.next(), turn.left), 0.0))
                else:
                    arrived = False
            turn.arrived = arrived and not (turn.is_last and self._waiting)
        finally:
            turn.done.set()

    def _send(self, limit_seconds: float | None) -> bool:
        """Send one batch; False if it failed. One that may be sent again is held then."""
        if not self._sending.acquire(timeout=-1 if limit_seconds is None else max(limit_seconds, 0.0)):
            return False
        try:
            with suppress_instrumentation():
                batch = self._take()
                # Nothing left is all that was due: others may have taken it.
                self._sent = len(batch) or self._limits.queue_size
                if not batch:
                    return True
                if self._delivery is not None:
                    self._delivery.limit(limit_seconds)
                try:
                    self._exporter.export(batch)
                except Exception as error:  # of the application's own exporter; this thread must go on
                    self._complain(error)
                    return False
                return self._settle(batch)
        finally:
            self._sending.release()

    def _take(self) -> list[T]:
        batch: list[T] = []
        if self._held:
            batch, self._held = self._held, batch
            return batch
        if (pack := self._lift_pack(waits=True)) is not None:
            self._queue.finish_items(pack.count)
            return list(pack.items())
        most, before = self._limits.batch_bytes, self._weight
        with suppress(IndexError):
            while len(batch) < self._limits.batch_size and before - self._weight < most:
                batch.append(self._lift())
        self._queue.finish_items(len(batch))
        return batch

    def _settle(self, batch: list[T]) -> bool:
        delivery = self._delivery
        if delivery is not None and delivery.kept:
            self._held = batch
            self._not_before = time.monotonic() + self._pauses.next(delivery.pause_seconds)
            return False
        self._pauses.reset()
        self._not_before = 0.0
        return delivery is None or not delivery.failing

    def _complain(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "what is to be exported is lost: %s: %s; the application goes on", type(error).__name__, error
            )

    def _send_now_and_then(self) -> None:
        """Without a thread: one batch at most in `delay_seconds`, for a moment, and ever more seldom while
        that fails."""
        now = time.monotonic()
        if now < max(self._sent_at + self._limits.delay_seconds, self._not_before) or self._sending.locked():
            return
        self._sent_at = now
        if self._send(INLINE_SECONDS):
            self._inline_pauses.reset()
        else:
            self._not_before = max(self._not_before, time.monotonic() + self._inline_pauses.next())


def _nothing() -> None:
    pass
