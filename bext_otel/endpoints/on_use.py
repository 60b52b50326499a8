"""What most processes never need, made when one does: the endpoints, their server, and what
`prometheus_client` is told.

A launcher is in front of every process, scripts and spawned workers included, and importing these takes
longer than a short one runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from bext_otel.endpoints.notice import Rank
from bext_otel.process import late_imports, on_import

if TYPE_CHECKING:
    from bext_otel.endpoints.server import StandaloneServer
    from bext_otel.metrics.snapshot import Snapshot

__all__ = ["ServerOnUse", "expose_on_use"]


class ServerOnUse:
    """A stand-alone server that `make` makes when it is started first, or is to be kept open. Its methods are
    the server's own."""

    def __init__(self, make: Callable[[], StandaloneServer]) -> None:
        self._make = make
        self._made: StandaloneServer | None = None
        self._rank = Rank.CANDIDATE

    @property
    def rank(self) -> Rank:
        """What this process has to show."""
        return self._rank

    def raise_rank(self, rank: Rank) -> None:
        """This process has so much to show."""
        if rank > self._rank:
            self._rank = rank
            if self._made is not None:
                self._made.raise_rank(rank)

    def _get(self) -> StandaloneServer:
        if self._made is None:
            with late_imports():
                made = self._make()
            made.raise_rank(self._rank)
            self._made = made
        return self._made

    def start(self) -> None:
        """Open the server."""
        self._get().start()

    def keep_open(self) -> None:
        """In a master that is about to fork a worker, which will need what this imports."""
        self._get().keep_open()

    def stop(self) -> None:
        """Close it, if it was ever opened."""
        if self._made is not None:
            self._made.stop()

    def close(self) -> None:
        """`stop`, and keep nothing open for others."""
        if self._made is not None:
            self._made.close()

    def forget(self) -> None:
        """Leave it to the parent, in a forked child."""
        self._rank = Rank.CANDIDATE
        if self._made is not None:
            self._made.forget()


def expose_on_use(read: Callable[[], Snapshot]) -> Callable[[], None]:
    """`prometheus_registry.expose`, once somebody has imported `prometheus_client`; call the answer to undo
    it."""
    undoing = ExitStack()

    def expose(_: Any) -> None:
        from bext_otel.endpoints import prometheus_registry

        undoing.callback(prometheus_registry.expose(read))

    undoing.callback(on_import("prometheus_client", expose))
    return undoing.close
