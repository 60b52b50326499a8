"""uvicorn under full load: requests a second and the slowest hundredth, and the CPU time of the server, for a
bare Starlette application, ours, ours with its lines or without spans, upstream's, and what only counts.

`python -m benchmarks.load`. Each server is a process of its own, and all of them stand at once and are loaded
in turn, so that a machine whose speed drifts is unfair to nobody. A client keeps `--connections` open and
sends the next request when it has the answer to the last; it shares the machine with the server, which is why
rates are shares of the bare one's.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from benchmarks import requests, sides

_BARE = "bare"
_PATHS = ("/products/chair", "/products/table", "/products/lamp")
_CALIBRATION_SECONDS = 0.5


def _app(side: str) -> Any:
    if side.startswith("bext"):
        sides.ours(
            lines=side == "bext with lines", sampled=side != "bext, metrics only", export=side == "bext"
        )
        requests.instrument("asgi")
    elif side == "upstream":
        sides.upstream()
    app = requests.starlette()
    if side == "upstream":
        return requests.upstream("asgi", app)
    return sides.counted("asgi", app) if side == "counting only" else app


def _serve(side: str) -> None:
    """Serve on a free port, which standard output tells, until standard input ends."""
    import socket

    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(_app(side), log_level="warning", access_log=False)).run(sockets=[listener])


class _Client(asyncio.Protocol):
    """Sends a request, and the next one when the answer is there, until told to stop."""

    def __init__(self, paths: tuple[bytes, ...], until: float, seconds: list[float]) -> None:
        self._paths = paths
        self._until = until
        self._seconds = seconds
        self._sent = 0.0
        self._count = 0
        self._got = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._paths[self._count % len(self._paths)])
        self._count += 1

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        assert head.startswith(b"HTTP/1.1 200"), head
        self._got = b""
        now = time.perf_counter()
        self._seconds.append(now - self._sent)
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None) if exc is None else self.done.set_exception(exc)


async def _load(port: int, seconds: float, connections: int) -> list[float]:
    """How long each request took that was sent within this time."""
    paths = tuple(
        f"GET {path} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n".encode()
        for path in _PATHS
    )
    taken: list[float] = []
    until = time.perf_counter() + seconds
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: _Client(paths, until, taken), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(client.done for client in clients))
    return taken


@dataclass(frozen=True)
class Round:
    """One load of one server: requests a second, the 99th percentile in seconds, and the server's CPU seconds
    a request."""

    rate: float
    p99: float
    cpu: float


class Server:
    """A server of one side, in a process of its own."""

    def __init__(self, side: str) -> None:
        command = [sys.executable, "-m", "benchmarks.load", "--serve", side]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        self._seen = psutil.Process(self._process.pid)

    def load(self, seconds: float, connections: int) -> Round:
        """Load it for so long."""
        before = self._seen.cpu_times()
        began = time.perf_counter()
        taken = asyncio.run(_load(self._port, seconds, connections))
        passed = time.perf_counter() - began
        after = self._seen.cpu_times()
        spent = after.user + after.system - before.user - before.system
        return Round(len(taken) / passed, sorted(taken)[int(len(taken) * 0.99)], spent / len(taken))

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=30)


def measure(
    names: tuple[str, ...], *, rounds: int, seconds: float, connections: int
) -> Mapping[str, list[Round]]:
    """What the rounds found, of each side."""
    servers = {name: Server(name) for name in names}
    found: dict[str, list[Round]] = {name: [] for name in names}
    try:
        for server in servers.values():
            server.load(_CALIBRATION_SECONDS, connections)  # warm
        for _ in range(rounds):
            for name, server in servers.items():
                found[name].append(server.load(seconds, connections))
    finally:
        for server in servers.values():
            server.close()
    return found


def _median(rounds: list[Round], what: str) -> float:
    return statistics.median(getattr(each, what) for each in rounds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load, a round and side")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        _serve(given.serve)
        return
    peer = sides.peer_of("asgi")
    names = (
        _BARE,
        "bext",
        "bext with lines",
        "bext, metrics only",
        "upstream",
        *(["counting only"] if peer else []),
    )
    found = measure(names, rounds=given.rounds, seconds=given.seconds, connections=given.connections)
    bare = found[_BARE]
    for name in names:
        rates = [mine.rate / other.rate for mine, other in zip(found[name], bare, strict=True)]
        slow = [mine.p99 / other.p99 for mine, other in zip(found[name], bare, strict=True)]
        above = [(mine.cpu - other.cpu) * 1e6 for mine, other in zip(found[name], bare, strict=True)]
        print(
            f"{name:20} {_median(found[name], 'rate'):8.0f} requests a second, "
            f"{statistics.median(rates):.2f} of bare (min {min(rates):.2f}, max {max(rates):.2f}); "
            f"p99 {_median(found[name], 'p99') * 1e3:6.2f} ms, {statistics.median(slow):.1f} x bare; "
            f"server CPU {statistics.median(above):6.1f} us above bare"
        )


if __name__ == "__main__":
    main()
