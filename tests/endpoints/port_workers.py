"""A service of some workers that share a port, without an application: `python -m tests.endpoints.port_workers
PORT COUNT [apart | kept]`.

Each worker says who it is and what it logs; `/health` of the one that serves says its process id as version.
SIGTERM ends a worker in an orderly way, SIGUSR1 tells it that it measures, SIGUSR2 that it serves. A line on
standard input forks one more; its end ends all. `apart` has the first process execute this program once more,
as a service of its own; `kept` has it keep the port open.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from bext_otel.endpoints.notice import Rank
from bext_otel.endpoints.server import StandaloneServer
from bext_otel.health.evaluation import HealthReport
from bext_otel.service.board import Board
from bext_otel.service.joining import join_service
from tests.endpoints.parts import FixedHealth, endpoints


class Own(FixedHealth):
    def full(self) -> HealthReport:
        return HealthReport("healthy", {}, {}, str(os.getpid()), 0.0)


def say(*words: object) -> None:
    """A line, in one piece: others write to the same place."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def made(port: int, board: Board) -> StandaloneServer:
    return StandaloneServer(
        endpoints(health=Own()),
        "127.0.0.1",
        port,
        board=board,
        log=lambda line: say("LINE", os.getpid(), line),
    )


def work(server: StandaloneServer) -> None:
    server.forget()
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    signal.signal(signal.SIGUSR1, lambda *_: server.raise_rank(Rank.MEASURES))
    signal.signal(signal.SIGUSR2, lambda *_: server.raise_rank(Rank.SERVES))
    server.start()
    say("WORKER", os.getpid())
    while not end.wait(0.05):
        pass
    server.stop()


def main(port: int, count: int, *, apart: bool) -> None:
    server = made(port, join_service("shop"))
    if "kept" in sys.argv:
        server.keep_open()
    workers: set[int] = set()

    def fork() -> None:
        worker = os.fork()
        if worker:
            workers.add(worker)
            return
        try:
            os.close(0)
            work(server)
        finally:
            os._exit(0)

    for _ in range(count):
        fork()
    other = None
    if apart:
        program = [sys.executable, "-m", "tests.endpoints.port_workers", str(port), "1"]
        other = subprocess.Popen(program, stdin=subprocess.PIPE)
    for _ in sys.stdin:
        fork()
    if other is not None:
        other.communicate()
    for worker in workers:
        os.kill(worker, signal.SIGCONT)
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


if __name__ == "__main__":
    # Ended workers are nobody's to wait for until the end: their ids stay theirs.
    main(int(sys.argv[1]), int(sys.argv[2]), apart="apart" in sys.argv)
