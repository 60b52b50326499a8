"""What all processes of the service use together, also those that have measured nothing: asked of the system
when somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from threading import Lock

import psutil

from bext_otel.metrics.usage import ProcessUsage

__all__ = ["ServiceProcesses", "ServiceUsage"]

# Who asks more often gets the same answer.
_KEPT_SECONDS = 1.0

# A service has more processes than this seldom, and asking one takes a fifth of a millisecond.
_MOST = 256


class ServiceProcesses:
    """The processes of the service, `members` by their ids, and what they use."""

    def __init__(
        self, members: Callable[[], Iterable[int]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._members = members
        self._clock = clock
        self._known: dict[int, ProcessUsage] = {}
        self._figures: dict[str, float] = {}
        self._until = -1.0
        self._lock = Lock()

    def figures(self) -> Mapping[str, float]:
        """Sums of what `ProcessUsage` tells of each, a second old at most; nothing where the system does not
        tell who they are."""
        with self._lock:
            if self._clock() >= self._until:
                self._figures, self._until = self._asked(), self._clock() + _KEPT_SECONDS
            return self._figures

    def _asked(self) -> dict[str, float]:
        known, self._known = self._known, {}
        found: dict[str, float] = {}
        for pid in list(self._members())[:_MOST]:
            with suppress(psutil.Error, OSError):  # it is gone, or another user's
                system = known.get(pid)
                if system is None or not system.runs():
                    system = ProcessUsage(self._clock, pid)
                self._known[pid] = system
                for name, figure in system.figures().items():
                    found[name] = round(found.get(name, 0) + figure, 1)
        return found


class ServiceUsage(Mapping[str, float]):
    """What the service uses: what the system says of all its processes, or what its workers have said of
    themselves, whoever knows of more. Looked up when somebody looks, since most scrapers don't."""

    def __init__(self, processes: ServiceProcesses, said: Mapping[str, float]) -> None:
        self._processes = processes
        self._said = said
        self._found: Mapping[str, float] | None = None

    def _figures(self) -> Mapping[str, float]:
        if self._found is None:
            seen = self._processes.figures()
            more = {
                name: max(figure, seen.get(name, figure))
                for name, figure in self._said.items()
                if name != "cpu_percent"
            }
            self._found = {**self._said, **seen, **more}
        return self._found

    def __getitem__(self, name: str) -> float:
        return self._figures()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures())

    def __len__(self) -> int:
        return len(self._figures())

    def __repr__(self) -> str:
        return repr(self._figures())
