"""What serves the endpoints, under clients that mean no good, and what a scrape through it costs: ours beside
others that could do it.

`python -m benchmarks.listener`. All serve the same WSGI application, in processes of their own. `waitress` is
set as it was when it served the endpoints; cheroot takes part where it is installed.
"""

from __future__ import annotations

import argparse
import http.client
import logging
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import psutil

SERIES = 20_000
_MIB = 2**20


def _application(series: int) -> Any:
    """The endpoints over as many counters, as the stand-alone server serves them."""
    from bext_otel import config
    from bext_otel.endpoints import wsgi
    from bext_otel.endpoints.endpoints import Endpoints
    from bext_otel.health.evaluation import Health
    from bext_otel.metrics.snapshot import Family, Numbers, Series, Snapshot

    names = [Series((("customer", f"customer-{number}"), ("region", "eu"))) for number in range(series)]
    family = Family("some_total", "counter", "Some.", "", Numbers(names, list(range(series))))
    endpoints = Endpoints(
        metrics=config.MetricsSettings(),
        health_settings=config.HealthSettings(),
        read=lambda: Snapshot(time.time(), 0, 1, (family,)),
        health=Health(),
    )

    def application(environ: Any, start_response: Any) -> Any:
        return wsgi.respond(wsgi.answer(endpoints, environ, trusted=True), start_response)

    return endpoints, application


def _ours(sock: socket.socket, endpoints: Any, application: Any) -> None:
    from bext_otel.listener.server import Listener

    listener = Listener(sock, application, lane_of=endpoints.lane, name="bench")
    while listener.turn():
        pass


def _waitress(sock: socket.socket, endpoints: Any, application: Any) -> None:
    from waitress import serve

    logging.getLogger("waitress").setLevel(logging.CRITICAL)
    serve(
        application,
        sockets=[sock],
        threads=3,
        connection_limit=32,
        channel_timeout=30,
        max_request_header_size=16 * 1024,
        outbuf_overflow=1 << 30,
        outbuf_high_watermark=1 << 30,
        _quiet=True,
    )


def _threads(sock: socket.socket, endpoints: Any, application: Any) -> None:
    """A thread for each connection, as `prometheus_client` does it."""
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

    class Handler(WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    server = Server(sock.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = sock
    server.server_name, server.server_port = "localhost", sock.getsockname()[1]
    server.setup_environ()
    server.set_app(application)
    server.serve_forever()


def _cheroot(sock: socket.socket, endpoints: Any, application: Any) -> None:
    from cheroot import wsgi

    server = wsgi.Server(sock.getsockname(), application, numthreads=4, timeout=10)
    server.socket = sock
    server.prepare = lambda: None  # it would bind
    from cheroot.connections import ConnectionManager

    server._connections = ConnectionManager(server)
    server.requests.start()
    server.ready = True
    server.serve()


SERVERS: dict[str, Callable[[socket.socket, Any, Any], None]] = {
    "ours": _ours,
    "waitress": _waitress,
    "threads": _threads,
    **({"cheroot": _cheroot} if find_spec("cheroot") else {}),
}


class Served:
    """One server in a process of its own."""

    def __init__(self, name: str, series: int) -> None:
        command = [sys.executable, "-m", "benchmarks.listener", "--serve", name, "--series", str(series)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self._seen = psutil.Process(self._process.pid)
        self.ask("/health/live", seconds=10)

    def ask(self, path: str, *, seconds: float) -> bytes | None:
        """The body of a good answer; None if there is none in time."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            return body if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    @property
    def cpu_seconds(self) -> float:
        times = self._seen.cpu_times()
        return times.user + times.system

    @property
    def rss_mib(self) -> float:
        return self._seen.memory_info().rss / _MIB

    @property
    def threads(self) -> int:
        return self._seen.num_threads()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def _answers_under_drips(server: Served, *, clients: int, probes: int) -> tuple[int, int]:
    """How many of so many probes are answered within a second while clients send a byte every half second;
    and how many threads the server has then. A client that is sent away comes again."""
    ending = threading.Event()

    def drip() -> None:
        held: list[socket.socket] = []
        while not ending.wait(0.5):
            for sock in list(held):
                try:
                    sock.send(b"a")
                except OSError:
                    held.remove(sock)
                    sock.close()
            while len(held) < clients and not ending.is_set():
                try:
                    sock = socket.create_connection(("127.0.0.1", server.port), 1)
                    sock.sendall(b"GET / HTTP/1.1\r\nX: ")
                except OSError:
                    break
                held.append(sock)
        for sock in held:
            sock.close()

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        time.sleep(2)
        answered, threads = 0, 0
        for _ in range(probes):
            answered += server.ask("/health/live", seconds=1) is not None
            threads = max(threads, server.threads)
            time.sleep(0.5)
        return answered, threads
    finally:
        ending.set()
        thread.join()


def _memory_under_pipelining(server: Served, *, clients: int, seconds: float) -> float:
    """MiB that clients cost who send 320 scrapes each at once, and read nothing."""
    server.ask("/metrics", seconds=30)
    before, most = server.rss_mib, 0.0
    held = []
    for _ in range(clients):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        with suppress(OSError):
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 320)
        held.append(sock)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.2)
        most = max(most, server.rss_mib)
    for sock in held:
        sock.close()
    return most - before


def _cpu_ms_of_scrapes(names: list[str], *, series: int, rounds: int, scrapes: int) -> dict[str, list[float]]:
    """CPU milliseconds of the server for a scrape, in rounds that are interleaved."""
    servers = {name: Served(name, series) for name in names}
    figures: dict[str, list[float]] = {name: [] for name in names}
    try:
        for _ in range(rounds):
            for name, server in servers.items():
                before = server.cpu_seconds
                for _ in range(scrapes):
                    assert server.ask("/metrics", seconds=30) is not None
                figures[name].append((server.cpu_seconds - before) / scrapes * 1000)
    finally:
        for server in servers.values():
            server.close()
    return figures


def _import_ms(module: str) -> float:
    """Least CPU milliseconds of nine for an import in a process that has our seams and what they need."""
    program = (
        "import bext_otel.threads, socket, time; began = time.process_time(); "
        f"import {module}; print((time.process_time() - began) * 1000)"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", program]
    return min(float(subprocess.check_output(command, env=environment)) for _ in range(9))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", choices=SERVERS)
    parser.add_argument("--series", type=int, default=SERIES)
    options = parser.parse_args()
    if options.serve:
        sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        print(sock.getsockname()[1], flush=True)
        SERVERS[options.serve](sock, *_application(options.series))
        return
    names = list(SERVERS)
    for series, scrapes in ((1, 400), (options.series, 20)):
        figures = _cpu_ms_of_scrapes(names, series=series, rounds=9, scrapes=scrapes)
        told = ", ".join(f"{name} {statistics.median(figures[name]):.2f}" for name in names)
        shares = sorted(
            mine / other for mine, other in zip(figures["ours"], figures["waitress"], strict=True)
        )
        print(f"a scrape of {series} series, CPU ms: {told}")
        print(
            f"  ours as a share of waitress: {shares[0]:.2f} {statistics.median(shares):.2f} {shares[-1]:.2f}"
        )
    for name in names:
        server = Served(name, options.series)
        try:
            answered, threads = _answers_under_drips(server, clients=200, probes=10)
            print(f"{name}: {answered} of 10 probes answered under 200 dripping clients; {threads} threads")
        finally:
            server.close()
        server = Served(name, options.series)
        try:
            grown = _memory_under_pipelining(server, clients=6, seconds=15)
            print(f"{name}: {grown:.0f} MiB more for 6 clients that pipeline scrapes and read nothing")
        finally:
            server.close()
    for module in ("bext_otel.listener.server", "waitress.server", "http.server"):
        print(f"import of {module}: {_import_ms(module):.1f} ms")


if __name__ == "__main__":
    main()
