"""What the operating system tells of a process: by /proc on Linux, elsewhere by psutil where that is
installed.

psutil is no requirement: `opentelemetry-bootstrap` and other libraries do more where they find it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from bext_otel.service.procfs import Proc

__all__ = ["OwnFigures", "ProcFigures", "ProcessFigures", "PsutilFigures", "figures_of"]


class ProcessFigures(Protocol):
    """One process. Each raises OSError where the system hides it, or the process is gone."""

    def cpu_seconds(self) -> float:
        """Processor time, its own and the kernel's for it."""

    def memory_bytes(self) -> int:
        """Resident memory."""

    def open_fds(self) -> int:
        """Open descriptors; with the one that looks, where one is needed to look at one's own."""

    def age_seconds(self) -> float:
        """How long ago it began."""

    def runs(self) -> bool:
        """Whether it still is there, and no other one has its id."""


def figures_of(pid: int | None = None) -> ProcessFigures:
    """Of this process, or of another one. Raises OSError if there is no such process, or nobody here can tell
    of it."""
    system: str = sys.platform  # a checker takes what is compared itself for the only one there is
    if system == "linux":
        return ProcFigures(os.getpid() if pid is None else pid)
    try:
        return PsutilFigures(os.getpid() if pid is None else pid)
    except ImportError:
        if pid is None or pid == os.getpid():
            return OwnFigures()
        raise OSError(f"process {pid}: without psutil, nobody here can tell of another one") from None


class ProcFigures:
    """By /proc, on Linux."""

    def __init__(self, pid: int, proc: Proc | None = None) -> None:
        """Raises ProcessLookupError if there is no such process, or no /proc."""
        self._pid = pid
        self._proc = proc or Proc()
        stat = self._proc.stat(pid)
        if stat is None:
            raise ProcessLookupError(pid)
        self._started = stat.started

    def cpu_seconds(self) -> float:
        stat = self._proc.stat(self._pid)
        if stat is None:
            raise ProcessLookupError(self._pid)
        return stat.cpu_ticks / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        return self._proc.resident_pages(self._pid) * os.sysconf("SC_PAGE_SIZE")

    def open_fds(self) -> int:
        return self._proc.open_count(self._pid)

    def age_seconds(self) -> float:
        # Ticks since the machine was started, its sleep included (proc_pid_stat(5)).
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self._started / os.sysconf("SC_CLK_TCK")

    def runs(self) -> bool:
        stat = self._proc.stat(self._pid)
        return stat is not None and stat.started == self._started


class PsutilFigures:
    """By psutil."""

    def __init__(self, pid: int) -> None:
        """Raises ImportError without psutil, OSError if there is no such process."""
        import psutil

        self._failures: type[Exception] = psutil.Error
        self._process = self._ask(lambda: psutil.Process(pid))

    def cpu_seconds(self) -> float:
        times = self._ask(self._process.cpu_times)
        return float(times.user + times.system)

    def memory_bytes(self) -> int:
        return int(self._ask(self._process.memory_info).rss)

    def open_fds(self) -> int:
        if not hasattr(self._process, "num_fds"):  # Windows has handles
            raise OSError("descriptors are not offered here")
        return int(self._ask(self._process.num_fds))

    def age_seconds(self) -> float:
        return time.time() - float(self._ask(self._process.create_time))

    def runs(self) -> bool:
        return bool(self._process.is_running())

    def _ask(self, question: Any) -> Any:
        try:
            return question()
        except self._failures as error:
            raise OSError(str(error)) from error


class OwnFigures:
    """Of this process alone, by what Python itself knows: not its memory, which has no portable answer."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def cpu_seconds(self) -> float:
        return time.process_time()

    def memory_bytes(self) -> int:
        raise OSError("memory: psutil is not installed")

    def open_fds(self) -> int:
        return len(list(Path("/dev/fd").iterdir()))

    def age_seconds(self) -> float:
        return time.monotonic() - self._began

    def runs(self) -> bool:
        return True
