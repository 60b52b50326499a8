"""This process among the workers of its service: publishing its part, and reading everybody's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple

from bext_otel.apps import Budgets
from bext_otel.metrics.merging.label_budgets import apply_budgets_for_good
from bext_otel.metrics.merging.sum import Shared, Tally, compacted
from bext_otel.metrics.merging.wire import Known, Publication, decode, encode
from bext_otel.service.board import Board, Peer

__all__ = ["Published", "Service"]

_log = logging.getLogger("bext_otel")


class Published(NamedTuple):
    """What this process has said, and the same as bytes."""

    contribution: Publication
    payload: bytes


class Service:
    """Publishes this process's part and reads the others'. `base` is what it took over from workers that are
    gone, and answers for."""

    def __init__(self, ledger: Board, monotonic: Callable[[], float], budgets: Budgets) -> None:
        self._ledger = ledger
        self._monotonic = monotonic
        self._budgets = budgets
        # Whoever made a ledger that never worked has told so.
        self._told = {"", ledger.reason}
        self.reset()

    def reset(self) -> None:
        """Start over without a place, as a forked child does."""
        self.base: Publication | None = None
        # The same as bytes, which are part of every publication.
        self._packed_base = b""
        # What is taken over must not be read as a peer's meanwhile: it would count twice.
        self._lock = Lock()
        self._placed = False
        self._decoded: dict[int, tuple[int, Publication | None]] = {}
        # The rows that each of the others said last, by slot.
        self._known: dict[int, Known] = {}

    @property
    def is_busy(self) -> bool:
        """Whether some thread publishes, or reads the others, now."""
        return self._lock.locked()

    def has_peers(self) -> bool:
        """Whether there is anybody else to speak to, or for."""
        return self.base is not None or self._ledger.has_peers()

    def publish(
        self, contribute: Callable[[Publication | None], Publication], *, wait: bool = True
    ) -> Published | None:
        """Say what this process has to say, now: `contribute` makes it, given the base; what was said is the
        answer.

        `wait=False` says nothing, and answers with nothing, if that is under way: it may be in this very
        thread.
        """
        if not wait and self._lock.locked():
            return None
        with self._lock:
            self._take_place()
            contribution = contribute(self.base)
            payload = encode(contribution, self._packed_base)
            if not self._ledger.publish(payload):
                self._complain()
            return Published(contribution, payload)

    def members(self) -> Sequence[int]:
        """Ids of the service's processes, also of those that have nothing to say."""
        return self._ledger.members()

    def _complain(self) -> None:
        """One line for each reason."""
        reason = self._ledger.reason
        if reason not in self._told:
            self._told.add(reason)
            _log.warning(
                "what this process has measured can't be shared with the other workers of the service (%s): "
                "their /metrics lack it",
                reason,
            )

    def others(self) -> list[Shared]:
        """What all other workers said last, those that are gone and not yet taken over among them."""
        with self._lock:
            return self._others()

    def _others(self) -> list[Shared]:
        before = self._decoded
        peers = self._ledger.peers({slot: sequence for slot, (sequence, _) in before.items()})
        self._decoded = {peer.slot: self._read(peer, before.get(peer.slot)) for peer in peers}
        return [
            Shared(contribution, alive=peer.alive)
            for peer in peers
            if (contribution := self._decoded[peer.slot][1]) is not None
        ]

    def _take_place(self) -> None:
        if self._placed:
            return
        self._placed = True
        taken_over = self._ledger.take()
        former = decode(taken_over) if taken_over is not None else None
        if former is not None:
            self.base = compacted([former], self._monotonic(), self._fold)
            self._packed_base = encode(self.base)

    def _fold(self, tally: Tally) -> None:
        apply_budgets_for_good(
            tally, self._budgets, lambda: [shared.contribution for shared in self._others()]
        )

    def _read(
        self, peer: Peer, known: tuple[int, Publication | None] | None
    ) -> tuple[int, Publication | None]:
        if known is not None and known[0] == peer.sequence:
            return known
        return peer.sequence, decode(peer.payload, self._known.setdefault(peer.slot, {}))
