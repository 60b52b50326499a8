"""What all processes of the service use together, also those that have measured nothing: asked of the system
when somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from threading import Lock

from bext_otel.metrics.lazy import Lazy
from bext_otel.metrics.usage import ProcessUsage

__all__ = ["ServiceProcesses", "service_usage"]

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
            with suppress(OSError):  # it is gone, or another user's
                system = known.get(pid)
                if system is None or not system.runs():
                    system = ProcessUsage(self._clock, pid)
                self._known[pid] = system
                for name, figure in system.figures().items():
                    found[name] = round(found.get(name, 0) + figure, 1)
        return found


def service_usage(processes: ServiceProcesses, said: Mapping[str, float]) -> Mapping[str, float]:
    """What the service uses: what the system says of all its processes, or what its workers have `said` of
    themselves, whoever knows of more."""

    def figures() -> Mapping[str, float]:
        seen = processes.figures()
        more = {name: max(it, seen.get(name, it)) for name, it in said.items() if name != "cpu_percent"}
        return {**said, **seen, **more}

    return Lazy(figures)
