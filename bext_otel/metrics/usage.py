"""What a process uses."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from bext_otel.metrics.process_figures import ProcessFigures, figures_of

__all__ = ["ProcessUsage"]

# The kernel counts processor time in hundredths of a second: of less than this there is little to say.
_SHORTEST_SECONDS = 1.0


class ProcessUsage:
    """Memory, processor time and descriptors of this process, or of another one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, pid: int | None = None) -> None:
        """Raises OSError if there is no such process, or nobody can tell of it; of this one, nothing is told
        then."""
        self._process: ProcessFigures | None = None
        self._clock = clock
        self._marked = clock()
        self._used_before = 0.0
        self._percent: float | None = None
        try:
            self._process = figures_of(pid)
            if pid is None:
                self._used_before = self._process.cpu_seconds()
            else:  # of another one nobody has asked before: the first share is that of its life
                self._marked -= max(self._process.age_seconds(), 0.0)
        except OSError:
            if pid is not None:
                raise
            self._process = None  # such as Linux without /proc

    def runs(self) -> bool:
        """Whether the process still is there, and no other one has its id."""
        return self._process is not None and self._process.runs()

    def figures(self) -> Mapping[str, float]:
        """`memory_mb` (resident, MiB), `cpu_percent` (since it was asked for last, a second at least; 100 is
        one core), `open_fds`; without what the system hides."""
        known: dict[str, float] = {}
        if (process := self._process) is None:
            return known
        for name, ask in (
            ("memory_mb", lambda: round(process.memory_bytes() / 2**20, 1)),
            ("cpu_percent", lambda: self._cpu_percent(process)),
            ("open_fds", process.open_fds),
        ):
            try:
                known[name] = ask()
            except OSError:  # hidden by the system, or not offered by it
                continue
        return known

    def _cpu_percent(self, process: ProcessFigures) -> float:
        # Who asks twice at once, as a tick and a scrape do, must not make it a share of nothing.
        elapsed = self._clock() - self._marked
        if self._percent is not None and elapsed < _SHORTEST_SECONDS:
            return self._percent
        used = process.cpu_seconds()
        percent = round(100 * (used - self._used_before) / max(elapsed, _SHORTEST_SECONDS), 1)
        if elapsed >= _SHORTEST_SECONDS:
            self._percent, self._marked, self._used_before = percent, self._clock(), used
        return percent
