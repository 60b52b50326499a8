"""This process among the workers of its service: publishing its part, and reading everybody's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bext_otel.pipeline.contribution import Contribution, decode
from bext_otel.pipeline.merge import Shared, compacted

__all__ = ["LedgerLike", "PeerLike", "Service"]


class PeerLike(Protocol):
    """What another worker published last."""

    @property
    def slot(self) -> int:
        """Its place."""
        ...

    @property
    def sequence(self) -> int:
        """Which of its publications this is."""
        ...

    @property
    def payload(self) -> bytes:
        """What it said."""
        ...

    @property
    def alive(self) -> bool:
        """Whether its process still runs."""
        ...


class LedgerLike(Protocol):
    """Where workers publish."""

    def company(self) -> bool:
        """Whether any other process of the service takes part, or has."""
        ...

    def take(self) -> bytes | None:
        """Take a place; what its former owner, who is gone, had published last, and this process answers for from now on."""
        ...

    def publish(self, payload: bytes) -> bool:
        """Replace what this process says; False if that was not possible."""
        ...

    def peers(self) -> Sequence[PeerLike]:
        """What the others say."""
        ...


class Service:
    """Publishes this process's part and reads the others'. `base` is what it took over from workers that are gone, and answers for."""

    def __init__(self, ledger: LedgerLike, monotonic: Callable[[], float]) -> None:
        self._ledger = ledger
        self._monotonic = monotonic
        self.unreadable = 0
        self.reset()

    def reset(self) -> None:
        """Start over without a place, as a forked child does."""
        self.base: Contribution | None = None
        self._placed = False
        self._decoded: dict[int, tuple[int, Contribution | None]] = {}

    def company(self) -> bool:
        """Whether there is anybody else to speak to. A process that is alone publishes nothing."""
        return self._placed or self._ledger.company()

    def publish(self, contribute: Callable[[Contribution | None], bytes]) -> bool:
        """Say what this process has to say, now: `contribute` makes it of the base."""
        if not self._placed:
            self._placed = True
            taken_over = self._ledger.take()
            former = decode(taken_over) if taken_over is not None else None
            if former is not None:
                self.base = compacted([former], self._monotonic())
        return self._ledger.publish(contribute(self.base))

    def others(self) -> list[Shared]:
        """What all other workers said last, those that are gone and not yet taken over among them."""
        shared, seen = [], {}
        for peer in self._ledger.peers():
            held = self._decoded.get(peer.slot)
            if held is None or held[0] != peer.sequence:
                held = (peer.sequence, decode(peer.payload))
                self.unreadable += held[1] is None
            seen[peer.slot] = held
            if held[1] is not None:
                shared.append(Shared(held[1], alive=peer.alive))
        self._decoded = seen
        return shared
