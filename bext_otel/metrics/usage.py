"""What a process uses."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import psutil

__all__ = ["ProcessUsage"]

# The kernel counts processor time in hundredths of a second: of less than this there is little to say.
_SHORTEST_SECONDS = 1.0


class ProcessUsage:
    """Memory, processor time and descriptors of this process, or of another one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, pid: int | None = None) -> None:
        """Raises psutil.Error if there is no such other process. Of this one nothing is told where the system
        tells nothing: a chroot without /proc."""
        self._process = _this_process() if pid is None else psutil.Process(pid)
        self._clock = clock
        self._marked = clock()
        self._used_before = self._used() if self._process is not None else 0.0
        self._percent: float | None = None
        if pid is not None and self._process is not None:
            # Of another one nobody has asked before: the first share is that of its life.
            self._marked -= max(time.time() - self._process.create_time(), 0.0)
            self._used_before = 0.0

    def runs(self) -> bool:
        """Whether the process still is there, and no other one has its id."""
        return self._process is not None and self._process.is_running()

    def figures(self) -> Mapping[str, float]:
        """`memory_mb` (resident, MiB), `cpu_percent` (since it was asked for last, a second at least; 100 is
        one core), `open_fds`; without what the system hides."""
        known: dict[str, float] = {}
        if (process := self._process) is None:
            return known
        for name, ask in (
            ("memory_mb", lambda: round(process.memory_info().rss / 2**20, 1)),
            ("cpu_percent", self._cpu_percent),
            ("open_fds", lambda: process.num_fds()),  # noqa: PLW0108  Windows has none to look up
        ):
            try:
                known[name] = ask()
            except (psutil.Error, OSError, AttributeError):  # hidden by the system, or not offered by it
                continue
        return known

    def _cpu_percent(self) -> float:
        # Who asks twice at once, as a tick and a scrape do, must not make it a share of nothing.
        elapsed = self._clock() - self._marked
        if self._percent is not None and elapsed < _SHORTEST_SECONDS:
            return self._percent
        used = self._used()
        percent = round(100 * (used - self._used_before) / max(elapsed, _SHORTEST_SECONDS), 1)
        if elapsed >= _SHORTEST_SECONDS:
            self._percent, self._marked, self._used_before = percent, self._clock(), used
        return percent

    def _used(self) -> float:
        assert self._process is not None
        times = self._process.cpu_times()
        return float(times.user + times.system)


def _this_process() -> psutil.Process | None:
    try:
        process = psutil.Process()
        process.cpu_times()
    except (psutil.Error, OSError):
        return None
    return process
