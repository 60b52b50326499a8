"""How much slower requests are while 100,000 series are scraped without a pause: a real uvicorn, asked 200
times a second, open loop.

`python -m benchmarks.quiet`. The application is launched by opentelemetry-instrument with its settings of
default, so that a process beside it scrapes the stand-alone endpoints, packed as Prometheus asks; `--mount`
scrapes the application's own port. Requests start by the clock whether others have been answered or not, and
their time counts from when they should have started. Quiet and busy times take turns, on one server.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

_TEXT = "text/plain;version=0.0.4"
_PROGRAMS = Path(sysconfig.get_path("scripts"))
_REQUEST = b"GET /hello HTTP/1.1\r\nhost: shop.example\r\n\r\n"


def application() -> object:
    """The application: one route, and many series from before it."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from bext_otel.catalogue import REQUESTS
    from bext_otel.operation import count

    async def hello(request: object) -> PlainTextResponse:
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/hello", hello)])
    for index in range(int(os.environ.get("QUIET_SERIES", "100000"))):
        method, status = ("GET", "POST")[index % 2], str(200 + index % 5)
        count(REQUESTS, app=f"app-{index % 50}", method=method, status=status, route=f"/route/{index // 50}")
    return app


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(port: int, endpoints: int, series: int, *, mount: bool) -> subprocess.Popen[bytes]:
    """The server, in a process of its own."""
    command = [
        _PROGRAMS / "opentelemetry-instrument",
        _PROGRAMS / "uvicorn",
        "--factory",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    command += ["--timeout-keep-alive", "120"]
    env = {
        **os.environ,
        "QUIET_SERIES": str(series),
        "OTEL_SERVICE_NAME": "quiet",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(endpoints),
        "BEXT_METRICS_MOUNT": str(mount).lower(),
        "BEXT_METRICS_BUDGETS": "app=1000,route=100000",
        "BEXT_LOGGING_OUTPUT": "none",
    }
    return subprocess.Popen([*map(str, command), "benchmarks.quiet:application"], env=env)


def wait_for(url: str, *, seconds: float = 40) -> bytes:
    """The first answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=20) as reply:
                return bytes(reply.read())
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit(f"{url} did not answer within {seconds:g} s")


class Connections:
    """Connections to a server, as many as are in use at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, due: float) -> float:
        """Seconds from when a request was due to its answer."""
        reader, writer = (
            self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self._port)
        )
        writer.write(_REQUEST)
        answer = await reader.readuntil(b"hello")
        taken = time.perf_counter() - due
        assert answer.startswith(b"HTTP/1.1 200"), answer
        self._free.append((reader, writer))
        return taken


async def open_loop(connections: Connections, rate: float, seconds: float) -> list[float]:
    """Times of answers, asked for at `rate` a second whatever happens."""
    began, asked = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        asked.append(asyncio.create_task(connections.ask(due)))
    return list(await asyncio.gather(*asked))


def scrape_forever(url: str) -> None:
    """Scrapes back to back until it is told to end; prints how many it made, and what the last one
    weighed."""
    ending = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    made, size = 0, 0
    while not ending:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers={"accept": _TEXT, "accept-encoding": "gzip"}), timeout=60
        ) as reply:
            size = len(reply.read())
        made += 1
    print(made, size)


@dataclass
class Turn:
    """Seconds that requests took while it was quiet and while scrapes were made, how many those were, and the
    bytes of one."""

    quiet: list[float]
    busy: list[float]
    scrapes: int
    size: int

    def ratio(self) -> float:
        """The p99 while scraped over the quiet one."""
        return quantile(self.busy, 0.99) / quantile(self.quiet, 0.99)


async def measure(port: int, url: str, *, rate: float, seconds: float, turns: int) -> list[Turn]:
    """Quiet and busy times in turn."""
    connections, found = Connections(port), []
    await open_loop(connections, rate, 2)
    for _ in range(turns):
        quiet = await open_loop(connections, rate, seconds)
        scraper = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.quiet", "--scrape", url, stdout=subprocess.PIPE
        )
        await open_loop(connections, rate, 1)  # until it runs
        busy = await open_loop(connections, rate, seconds)
        scraper.terminate()
        told, _ = await asyncio.wait_for(scraper.communicate(), 60)
        made, size = map(int, told.split())
        found.append(Turn(quiet, busy, made, size))
    return found


def quantile(values: list[float], q: float) -> float:
    """The `ceil(q * n)`-th smallest, in milliseconds."""
    return sorted(values)[math.ceil(q * len(values)) - 1] * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=4, help="length of each quiet and each busy time")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--mount", action="store_true", help="scrape the application's own port")
    parser.add_argument("--scrape", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.scrape:
        scrape_forever(arguments.scrape)
        return
    port, endpoints = free_port(), free_port()
    server = launch(port, endpoints, arguments.series, mount=arguments.mount)
    try:
        wait_for(f"http://127.0.0.1:{port}/hello")
        url = f"http://127.0.0.1:{port if arguments.mount else endpoints}/metrics"
        shown = wait_for(url).count(b"\nbext_requests_total{")
        turns = asyncio.run(
            measure(port, url, rate=arguments.rate, seconds=arguments.seconds, turns=arguments.turns)
        )
    finally:
        server.terminate()
        server.wait(timeout=20)
    made = sum(turn.scrapes for turn in turns)
    print(f"{shown} series, {made} scrapes of {turns[-1].size} bytes, {arguments.rate:g} requests/s")
    for name, values in (
        ("quiet", [one for turn in turns for one in turn.quiet]),
        ("scraped", [one for turn in turns for one in turn.busy]),
    ):
        told = "   ".join(
            f"{label} {quantile(values, q):7.2f} ms"
            for label, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
        )
        print(f"{name:8} {told}")
    ratios = sorted(turn.ratio() for turn in turns)
    told = (
        f"{statistics.median(ratios):.2f} of quiet (median of {len(turns)} turns; min {ratios[0]:.2f}, "
        f"max {ratios[-1]:.2f}; target 2)"
    )
    print(f"p99 while scraped: {told}")


if __name__ == "__main__":
    main()
