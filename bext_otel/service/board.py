"""What each process of a service has to say, where all the others can read it. Bytes: what they mean is the
owner's business."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from bext_otel.service.file_format import SLOTS
from bext_otel.service.members import members
from bext_otel.service.procfs import Proc
from bext_otel.service.shared_file import Copy, GoneError, SharedFile, TornError

__all__ = ["Board", "Peer", "change_orders"]

T = TypeVar("T")
_NONE: Mapping[int, int] = MappingProxyType({})
# Whoever replaces the orders holds their lock for some microseconds.
_ORDER_TRIES, _ORDER_PAUSE_SECONDS = 50, 0.004


class Peer(NamedTuple):
    """What another process said last.

    `slot` and `sequence` together name one payload for good. `payload` is empty if the caller knows that
    sequence. Of a process that is not `alive` the payload counts until somebody takes the slot, and answers
    for it.
    """

    slot: int
    sequence: int
    payload: bytes
    alive: bool


class _Own:
    """What belongs to one process and to no child of it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ordering = threading.Lock()
        self.slot: int | None = None
        self.sequence = 0


class Board:
    """One for a process, and for the forks that inherit it. Safe for threads; nothing raises, nothing waits
    for another process.

    Attributes:
        reason: why this process stands alone, or why its last publication failed; empty while all is well.
        closed: whether `close` was called.
    """

    def __init__(
        self,
        arena: SharedFile | None,
        reason: str = "",
        *,
        again: Callable[[], tuple[SharedFile | None, str]] | None = None,
    ) -> None:
        """`again` finds the arena anew if the descriptor was lost before this process took part, as daemons
        do that close everything."""
        self._arena = arena
        self._again = again
        self.reason = reason
        self.closed = False
        self._closing: Callable[[], None] = lambda: None
        # By process id: uWSGI forks without telling Python, so each call looks for itself whose child it is
        # in.
        self._owners = {os.getpid(): _Own()}

    @property
    def alone(self) -> bool:
        """Whether this process neither sees others nor is seen."""
        return self._arena is None

    def has_peers(self) -> bool:
        """Whether another process of the service takes part, or has. While there was none, nobody reads what
        is published."""
        self._own()
        return self._try(SharedFile.has_peers) or False

    def take(self) -> bytes | None:
        """Take a slot, if this process has none. Preferred is one whose owner is dead, and the answer is what
        that one published last.

        From now on it does not appear among the peers, and the caller answers for it: whatever it publishes
        must include that. It is told once. Until the first publication the slot still says it, so it is safe
        if this process is killed meanwhile. Let `take` and `peers` of one process not overlap: a reader might
        count it with the peers, and again with the caller.
        """
        own = self._own()
        with own.lock:
            if own.slot is not None:
                return None
            copy = self._try(lambda arena: self._place(own, arena, unused=False))
            return copy.payload if copy is not None else None

    def publish(self, payload: bytes) -> bool:
        """Replace what this process says; False if that failed, and what it said before stands. Without a
        `take` before, it gets a slot that nobody ever used, so that nothing is lost which it does not know
        of."""
        own = self._own()
        with own.lock:
            if own.slot is None:
                self._try(lambda arena: self._place(own, arena, unused=True))
            return self._try(lambda arena: self._write(own, arena, payload)) or False

    def peers(self, known: Mapping[int, int] = _NONE) -> list[Peer]:
        """What all others said last, dead ones among them. `known` are sequences by slot that the caller has
        read: their payloads are not read again, nor reported as gone when they can't be read."""
        own = self._own()
        return self._try(lambda arena: self._read(own, arena, known)) or []

    def read(self, slot: int) -> bytes:
        """What this slot says; empty if nothing, or nothing that can be read."""
        copy = self._try(lambda arena: self._copy(arena, slot))
        return copy.payload if copy is not None else b""

    def members(self) -> list[int]:
        """Ids of the processes that take part, or may: all that have the file."""
        return self._try(lambda arena: members(Proc(), arena.identity)) or []

    @property
    def secret(self) -> bytes:
        """Known to the processes of the service, and to whoever may look at what they have open; empty where
        this process stands alone."""
        return self._try(SharedFile.secret) or b""

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of what the service shares; zeros where this process stands alone."""
        arena = self._arena
        return arena.identity if arena is not None else (0, 0)

    def notice(self) -> bytes:
        """The one notice that all can read and replace; empty if there is none."""
        return self._try(SharedFile.notice) or b""

    def post(self, notice: bytes) -> None:
        """Replace the notice."""
        self._try(lambda arena: arena.post(notice))

    def hold(self, pid: int) -> None:
        """Say which process holds SIGTERM for the service."""
        self._try(lambda arena: arena.hold(pid))

    def holder(self) -> int:
        """Which process does; 0 if none, or if that cannot be read."""
        return self._try(SharedFile.holder) or 0

    def drain(self, pid: int, until: float) -> None:
        """Say that this process has been told to end, and serves until then (`time.monotonic`)."""
        self._try(lambda arena: arena.drain(pid, until))

    def drained(self) -> tuple[int, float]:
        """Which process was told so last, and until when it serves; zeros if none."""
        return self._try(SharedFile.drained) or (0, 0.0)

    def orders_mark(self) -> bytes:
        """Another one than before as soon as the orders are others; the same as long as they cannot be
        read."""
        return self._try(SharedFile.orders_mark) or b""

    def orders(self) -> bytes:
        """What somebody has asked of all processes of the service; empty if nothing."""
        return self._try(SharedFile.orders) or b""

    def change_orders(self, change: Callable[[bytes], bytes]) -> bytes | None:
        """Replace the orders by what `change` makes of them; the new ones, None where that is impossible.
        What `change` raises goes on."""
        with self._own().ordering:  # the lock is the process's, whichever thread asks
            return self._try(lambda arena: change_orders(arena, change))

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Whether no other process has its turn, to look at the notice and replace it. For one thread of a
        process. Ends with the process, if it is killed meanwhile."""
        ours = self._try(SharedFile.lock_notice) or False
        try:
            yield ours
        finally:
            if ours:
                self._try(SharedFile.unlock_notice)

    def in_child(self) -> None:
        """This process is a fork: it has the file, and neither slot nor lock of its parent."""
        self._owners = {os.getpid(): _Own()}
        self._try(SharedFile.join)

    def on_close(self, closing: Callable[[], None]) -> None:
        """What else to undo when it is closed."""
        self._closing = closing

    def close(self) -> None:
        """Take part no more. What was published stays, as from a process that ended."""
        self.closed = True
        self._closing()
        own = self._own()
        with own.lock:
            arena, self._arena, self._again = self._arena, None, None
            own.slot = None
            self.reason = self.reason or "closed"
            if arena is not None:
                arena.close()

    def _own(self) -> _Own:
        pid = os.getpid()
        own = self._owners.get(pid)
        if own is None:
            # Two threads may both come here first. They agree on one, which is what setdefault is for.
            own = self._owners.setdefault(pid, _Own())
            for other in [other for other in self._owners if other != pid]:
                self._owners.pop(other, None)
            self._try(SharedFile.join)
        return own

    def _try(self, do: Callable[[SharedFile], T]) -> T | None:
        """The answer, or None and the reason kept."""
        arena = self._arena
        if arena is None:
            return None
        try:
            try:
                arena.check()
            except GoneError as exc:
                arena = self._replace(arena, exc)
            return do(arena) if arena is not None else None
        except OSError as exc:
            self.reason = exc.strerror or str(exc)
            return None

    def _replace(self, gone: SharedFile, why: GoneError) -> SharedFile | None:
        """Another file, if this process took no part in the one that is gone: nobody counts on what it said
        there."""
        again, self._again = self._again, None
        own = self._owners.get(os.getpid())
        took_part = own is None or own.slot is not None
        found, reason = (None, str(why.strerror)) if again is None or took_part else again()
        if self._arena is gone:
            self._arena, self.reason = found, reason
        return self._arena

    def _place(self, own: _Own, arena: SharedFile, *, unused: bool) -> Copy | None:
        for slot in range(arena.used() if unused else 0, SLOTS):
            if not arena.lock(slot):
                continue
            arena.mark(slot)
            copy = self._copy(arena, slot)
            if unused and copy is not None:  # somebody used it meanwhile, and died
                arena.unlock(slot)
                continue
            own.slot, own.sequence = slot, copy.sequence if copy is not None else 0
            return copy
        self.reason = f"{SLOTS} workers take part already"
        return None

    def _write(self, own: _Own, arena: SharedFile, payload: bytes) -> bool:
        if own.slot is None:
            return False
        if not arena.lock(own.slot) or arena.sequence(own.slot) != own.sequence:
            # Our lock was dropped behind our back, somebody took the slot, and answers for what we said.
            # Going on would count it twice.
            self._arena, self.reason = (
                None,
                "the application closed a copy of the descriptor that the workers share",
            )
            arena.close()
            return False
        arena.write(own.slot, own.sequence + 1, payload)
        own.sequence += 1
        self.reason = ""
        return True

    def _read(self, own: _Own, arena: SharedFile, known: Mapping[int, int]) -> list[Peer]:
        peers: list[Peer] = []
        for slot, header in enumerate(arena.headers()):
            if slot == own.slot:
                continue
            sequence, payload = known.get(slot, 0), b""
            if header is None or header.sequence != sequence:
                copy = self._copy(arena, slot)
                if copy is not None:
                    sequence, payload = copy
            if sequence:
                peers.append(Peer(slot, sequence, payload, arena.owned(slot)))
        return peers

    def _copy(self, arena: SharedFile, slot: int) -> Copy | None:
        try:
            return arena.read(slot)
        except TornError:
            return None


def change_orders(arena: SharedFile, change: Callable[[bytes], bytes]) -> bytes | None:
    """See `Board.change_orders`; for who is no process of the service, but has its file."""
    for _ in range(_ORDER_TRIES):
        if arena.lock_orders():
            try:
                orders = change(arena.orders())
                arena.order(orders)
                return orders
            finally:
                arena.unlock_orders()
        time.sleep(_ORDER_PAUSE_SECONDS)
    return None
