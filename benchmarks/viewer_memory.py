"""What the viewer's memory comes to under bodies that were made to fill it, and how long others wait.

`python -m benchmarks.viewer_memory [--at-once N]`. A viewer is started, sent each body (`N` of each at once),
asked for its pages meanwhile, and its resident memory is read; it must stay below its budget plus 100 MiB.
"""

from __future__ import annotations

import argparse
import http.client
import re
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.hostile_bodies import BODIES, Body
from bext_otel.viewer.limits import Limits

__all__ = ["BUDGET_MIB", "Result", "Watched", "watched"]

_MIB = 1024 * 1024
BUDGET_MIB = (Limits.span_bytes + Limits.log_bytes + Limits.metric_bytes) // _MIB
"""What the viewer says it keeps at most."""


@dataclass(frozen=True)
class Result:
    """What came of a body: the statuses of its requests, the memory at its highest (MiB), and how long
    another client waited at most (s)."""

    name: str
    statuses: tuple[int, ...]
    peak_mib: int
    waited_seconds: float


class Watched:
    """A viewer in a process of its own."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port

    def memory_mib(self) -> int:
        """Resident memory now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096 // _MIB

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
        """The status of an answer, 0 for none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def take(self, body: Body, at_once: int = 1) -> Result:
        """Send a body, `at_once` times at once."""
        statuses: list[int] = []
        peak, waited = [self.memory_mib()], [0.0]
        headers = {"Content-Type": body.content_type}
        if body.encoding:
            headers["Content-Encoding"] = body.encoding
        sent = list(body.sent())

        def send() -> None:
            statuses.extend(self.ask("POST", f"/v1/{body.signal}", one, headers) for one in sent)

        senders = [threading.Thread(target=send) for _ in range(at_once)]
        for sender in senders:
            sender.start()
        while any(sender.is_alive() for sender in senders):
            began = time.monotonic()
            self.ask("GET", "/api/summary")
            waited.append(time.monotonic() - began)
            peak.append(self.memory_mib())
            time.sleep(0.02)
        for path in ("traces?limit=1000", "logs?limit=1000", "metrics", f"traces/{1:032x}"):
            self.ask("GET", f"/api/{path}")
            peak.append(self.memory_mib())
        return Result(body.name, tuple(statuses), max(peak), max(waited))


@contextmanager
def watched() -> Iterator[Watched]:
    """A viewer, for as long as the block lasts."""
    script = Path(sysconfig.get_path("scripts")) / "bext-otel"
    argv = [sys.executable, str(script), "view", "--port", "0", "--no-token"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = re.search(r":(\d+)/", process.stdout.readline() if process.stdout else "")
            if found is None:
                raise RuntimeError("the viewer did not say where it is")
            yield Watched(process.pid, int(found[1]))
        finally:
            process.terminate()


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--at-once", type=int, default=1)
    at_once = arguments.parse_args().at_once
    worst = 0
    with watched() as viewer:
        print(f"{viewer.memory_mib():6} MiB  at the start; budget {BUDGET_MIB} MiB", flush=True)
        for body in BODIES:
            began = time.monotonic()
            result = viewer.take(body, at_once)
            worst = max(worst, result.peak_mib)
            statuses = ", ".join(f"{n} x {s}" for s, n in _counted(result.statuses))
            print(
                f"{result.peak_mib:6} MiB  {time.monotonic() - began:6.1f} s  "
                f"waited {result.waited_seconds:.2f} s  {statuses:12}  {body.name}",
                flush=True,
            )
    if worst >= BUDGET_MIB + 100:
        sys.exit(f"{worst} MiB is more than the budget and 100 MiB")


def _counted(statuses: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(status, statuses.count(status)) for status in sorted(set(statuses))]


if __name__ == "__main__":
    main()
