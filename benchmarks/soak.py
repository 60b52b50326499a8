"""What a service holds while it runs: memory, objects, descriptors and threads by the minute, of one that is
watched beside a bare one; with its collector away in the middle, and workers recycled all the time.

`python -m benchmarks.soak --minutes 25`. Both are gunicorn with a Uvicorn worker, and get the same requests.
The collector answers but for five minutes (a fifth of the time, where that is less), from a third of the time
on. A third service recycles its workers, and what they share is weighed. Prints a line for each minute, and
at the end what stayed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil

SCRIPTS = Path(sysconfig.get_path("scripts"))
PER_SECOND = 100.0
RECYCLED_AFTER = 40
"""Requests that a worker of the third service serves."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Collector:
    """Takes whatever is sent over OTLP and HTTP, while it is there."""

    def __init__(self) -> None:
        self.port = free_port()
        self.taken = 0
        self._server: ThreadingHTTPServer | None = None

    def come(self) -> None:
        """Listen."""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                collector.taken += 1
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def go(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@dataclass
class Service:
    """A service under load: what is started, and what it held each minute."""

    name: str
    command: Sequence[str]
    environ: dict[str, str]
    port: int
    endpoints_port: int | None
    process: subprocess.Popen[bytes] | None = None
    answered: int = 0
    held: list[dict[str, float]] = field(default_factory=list)

    def ask(self, path: str, port: int | None = None) -> bytes:
        """A request of its own connection, so that workers take turns; b"" where none answers."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return b""
        finally:
            connection.close()

    def look(self) -> dict[str, float]:
        """What it holds now: megabytes, descriptors and threads of the worker that has most, objects of one,
        kilobytes of the file that they share, and milliseconds of a scrape."""
        assert self.process is not None
        found: dict[str, float] = {}
        told = self.ask("/objects")
        if told:
            found["objects"] = json.loads(told)["objects"]
        with suppress(psutil.Error):
            worker = max(psutil.Process(self.process.pid).children(), key=lambda each: each.memory_info().rss)
            found |= {
                "MB": worker.memory_info().rss / 2**20,
                "descriptors": worker.num_fds(),
                "threads": worker.num_threads(),
            }
            found["shared kB"] = shared_kilobytes(worker.pid)
        if self.endpoints_port is not None:
            began = time.perf_counter()
            if self.ask("/metrics", self.endpoints_port):
                found["scrape ms"] = (time.perf_counter() - began) * 1e3
        self.held.append(found)
        return found


def shared_kilobytes(pid: int) -> float:
    """The memory that the service's workers share, by the file that this one has open."""
    with suppress(OSError):
        for name in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if "memfd:bext-otel" in str(name.readlink()):
                    return name.stat().st_blocks / 2
    return 0.0


@contextmanager
def running(service: Service, folder: Path) -> Iterator[None]:
    """It runs, and a client asks it for pages, until the body ends."""
    ending = threading.Event()
    with (folder / f"{service.name}.log").open("wb") as log:
        service.process = subprocess.Popen(
            service.command,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "HOME": str(folder), **service.environ},
        )

    def load() -> None:
        asked = 0
        while not ending.wait(1 / PER_SECOND):
            asked += 1
            service.answered += bool(service.ask(f"/items/{asked % 50}"))

    client = threading.Thread(target=load, daemon=True)
    client.start()
    try:
        yield
    finally:
        ending.set()
        client.join(30)
        service.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            service.process.wait(20)
        service.process.kill()


def services(collector: Collector) -> list[Service]:
    """The bare one, the watched one, and the one whose workers are recycled."""

    def made(name: str, *options: str, watched: bool = True) -> Service:
        port, endpoints_port = free_port(), free_port()
        command = [str(SCRIPTS / "gunicorn"), "-b", f"127.0.0.1:{port}", "-k", "uvicorn_worker.UvicornWorker"]
        command += [*options, "benchmarks.soak_app:app"]
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(endpoints_port),
            "OTEL_SERVICE_NAME": name,
        }
        launcher = [str(SCRIPTS / "bext-otel"), "run"] if watched else []
        return Service(name, [*launcher, *command], environ, port, endpoints_port if watched else None)

    recycled = ("-w", "2", "--max-requests", str(RECYCLED_AFTER))
    return [made("bare", watched=False), made("watched"), made("recycled", *recycled)]


def told(service: Service, found: dict[str, float]) -> str:
    """A line's part about a service."""
    return f"{service.name}: " + ", ".join(f"{value:,.1f} {name}" for name, value in found.items())


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--every", type=float, default=60.0, metavar="SECONDS", help="between two lines")
    arguments = parser.parse_args()
    whole = arguments.minutes * 60
    away_from, away = whole / 3, min(300.0, whole / 5)
    collector = Collector()
    collector.come()
    with tempfile.TemporaryDirectory(prefix="bext-soak-") as folder, ExitStack() as stack:
        under_load = services(collector)
        for service in under_load:
            stack.enter_context(running(service, Path(folder)))
        began, is_away, before, after = time.monotonic(), False, -1, -1
        while (elapsed := time.monotonic() - began) < whole:
            time.sleep(min(arguments.every, whole - elapsed))
            elapsed = time.monotonic() - began
            print(f"{elapsed / 60:5.1f} min" + (", collector away" if is_away else ""))
            for service in under_load:
                print("    " + told(service, service.look()), flush=True)
            minute = len(under_load[0].held) - 1
            if not is_away and before < 0 and elapsed >= away_from:
                collector.go()
                is_away, before = True, minute
            elif is_away and elapsed >= away_from + away:
                collector.come()
                is_away, after = False, minute
    print(f"{collector.taken:,} exports taken; " + summary(under_load, before, after))


def summary(under_load: Sequence[Service], before: int, after: int) -> str:
    """What stayed of the outage, and how the shared file of recycled workers grew in each half."""
    lines = []
    for service in under_load[:2]:
        if 0 <= before < len(service.held) and after >= 0:
            first, last = service.held[before].get("MB", 0.0), service.held[-1].get("MB", 0.0)
            lines.append(f"{service.name} has {last - first:+.1f} MB since before the outage")
    shared = [held.get("shared kB", 0.0) for held in under_load[2].held]
    half = len(shared) // 2
    lines.append(
        f"the file of recycled workers grew by {shared[half] - shared[0]:.0f} kB, then by "
        f"{shared[-1] - shared[half]:.0f} kB ({under_load[2].answered // RECYCLED_AFTER} workers)"
    )
    return "; ".join(lines)


if __name__ == "__main__":
    main()
