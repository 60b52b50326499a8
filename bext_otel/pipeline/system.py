"""What the process itself uses."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

__all__ = ["System"]


class System:
    """Memory, processor time and descriptors of this process."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call only sets the mark from which the next one counts

    def figures(self) -> Mapping[str, float]:
        """`memory_mb` (resident, MiB), `cpu_percent` (since the last call; 100 is one core), `open_fds`; without what the system hides."""
        known: dict[str, float] = {}
        for name, ask in (
            ("memory_mb", lambda: round(self._process.memory_info().rss / 2**20, 1)),
            ("cpu_percent", lambda: round(self._process.cpu_percent(), 1)),
            ("open_fds", self._process.num_fds),
        ):
            try:
                known[name] = ask()
            except (psutil.Error, OSError, AttributeError):  # hidden by the system, or not offered by it
                continue
        return known
