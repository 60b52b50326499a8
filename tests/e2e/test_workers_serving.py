"""The stand-alone endpoints of a service of several workers: one of them serves, another takes over, masters
only fork."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.e2e.launching import Launched, launched
from tests.waiting import until

pytestmark = pytest.mark.e2e

WORKERS = {
    "gunicorn": "gunicorn -w 3 -b 127.0.0.1:{port} flask_app:app",
    "gunicorn-preload": "gunicorn -w 3 --preload -b 127.0.0.1:{port} flask_app:app",
    "gunicorn-asgi": "gunicorn -w 2 -k asgi -b 127.0.0.1:{port} starlette_app:app",
    "uvicorn": "uvicorn --port {port} --workers 2 starlette_app:app",
}
ONE = "uvicorn --port {port} starlette_app:app"


@dataclass(frozen=True)
class Service:
    """A service of several workers, and the command that started it."""

    command: str
    program: Launched


@pytest.fixture(scope="module", params=WORKERS.values(), ids=WORKERS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with launched(tmp_path_factory.mktemp("workers"), request.param) as program:
        until(program.holder, why="a worker to serve the endpoints")
        yield Service(request.param, program)


def workers(program: Launched) -> set[int]:
    """Processes that answer the application's requests; those seen in twenty."""
    return {program.get("/items/1").json()["pid"] for _ in range(20)}


def threads(program: Launched) -> int:
    """How many threads the first process has."""
    return len(list(Path(f"/proc/{program.process.pid}/task").iterdir()))


def test_a_worker_serves_the_endpoints_and_the_master_does_not(service: Service) -> None:
    program = service.program
    holder = until(program.holder)
    assert holder.pid != program.process.pid
    assert 200 == program.endpoint("/health/live").status_code


def test_another_worker_takes_over_when_that_one_is_killed(service: Service) -> None:
    program = service.program
    killed = until(program.holder)
    os.kill(killed.pid, signal.SIGKILL)

    def successor() -> psutil.Process | None:
        holder = program.holder()
        return holder if holder is not None and holder.pid != killed.pid else None

    until(successor, why="another worker to hold the port")
    assert 200 == program.endpoint("/metrics").status_code
    assert program.get("/items/1").json()["pid"] != killed.pid


@pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="threads of another process are counted in /proc"
)
def test_a_master_that_only_forks_has_no_thread_of_ours(service: Service, tmp_path: Path) -> None:
    """It has as many as without us: gunicorn's own control socket has one."""
    assert workers(service.program), "requests were served"
    with launched(tmp_path, service.command, instrument=False) as bare:
        assert workers(bare)
        # Gunicorn's begins when its workers answer already.
        until(lambda: threads(bare) == threads(service.program), why="as many threads as bare")


def test_workers_wait_for_the_port_in_silence(service: Service) -> None:
    program = service.program
    assert 200 == program.endpoint("/health").status_code
    assert [] == [
        line for line in program.lines(target="bext_otel") if str(program.endpoints_port) in line["message"]
    ]


@dataclass
class Holder:
    """Somebody else at a port; `asked` counts the connections that were made to it, with or without an
    answer."""

    port: int
    asked: int = 0


@contextmanager
def holding(answer: bytes) -> Iterator[Holder]:
    """Somebody who takes connections and answers this to each."""
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        holder = Holder(listener.getsockname()[1])

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connections.append(listener.accept()[0])
                    connections[-1].sendall(answer)
                    if answer:
                        connections[-1].shutdown(socket.SHUT_WR)
                    holder.asked += 1

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield holder
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


STRANGER = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SILENT = b""


def told(program: Launched, port: int) -> list[str]:
    """Lines that name the port."""
    return [line["message"] for line in program.lines(level="warn") if f"127.0.0.1:{port}" in line["message"]]


def workers_of(program: Launched, count: int) -> set[int]:
    """Ids of the processes that answer, once so many have."""
    seen: set[int] = set()

    def all_seen() -> bool:
        seen.add(program.get("/items/1").json()["pid"])
        return len(seen) >= count

    until(all_seen)
    return seen


@pytest.mark.parametrize("answer", [STRANGER, SILENT], ids=["stranger", "silent"])
@pytest.mark.parametrize(("command", "workers"), [(ONE, 1), (WORKERS["gunicorn"], 3)], ids=["one", "workers"])
def test_a_port_that_somebody_else_holds_is_one_line(
    tmp_path: Path, answer: bytes, command: str, workers: int
) -> None:
    with (
        holding(answer) as holder,
        launched(tmp_path, command, env={"OTEL_EXPORTER_PROMETHEUS_PORT": str(holder.port)}) as program,
    ):
        until(
            lambda: told(program, holder.port),
            why=f"a line about the port in:\n{program.output()}",
        )
        assert len(workers_of(program, workers)) == workers, "all of them wait for it"
        (line,) = told(program, holder.port)
        assert "OTEL_EXPORTER_PROMETHEUS_HOST" in line
        assert "OTEL_EXPORTER_PROMETHEUS_PORT" in line
        assert 200 == program.get("/items/1").status_code
        assert program.end() in {0, -signal.SIGTERM}
        assert ([line], 0) == (told(program, holder.port), holder.asked)


def test_a_port_that_becomes_free_is_taken(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with holding(STRANGER) as holder:
            program = stack.enter_context(
                launched(tmp_path, ONE, env={"OTEL_EXPORTER_PROMETHEUS_PORT": str(holder.port)})
            )
            until(lambda: told(program, holder.port))
        process = psutil.Process(program.process.pid)
        until(lambda: any(found.laddr.port == holder.port for found in process.net_connections()))


def test_a_reloader_leaves_the_port_to_the_process_that_serves(tmp_path: Path) -> None:
    """`flask run --debug` loads the application, starts itself again in a child, and waits for that."""
    with launched(tmp_path, "flask --app flask_app run --debug --port {port}") as program:
        serving = program.get("/items/1").json()["pid"]
        assert serving != program.process.pid
        until(lambda: (holder := program.holder()) is not None and holder.pid == serving)
        assert (
            program.metrics()[
                'bext_requests_total{app="unknown",method="GET",status="200",route="/items/<item>"}'
            ]
            >= 1
        )


def test_a_server_that_forks_helpers_goes_on_serving(tmp_path: Path) -> None:
    with launched(tmp_path, "uvicorn --port {port} forking_app:app") as program:
        helpers = program.get("/compute").json()["helpers"]
        serving = program.get("/items/1").json()["pid"]
        assert serving not in helpers
        until(lambda: (holder := program.holder()) is not None and holder.pid == serving)
        assert (
            program.metrics()['bext_requests_total{app="unknown",method="GET",status="200",route="/compute"}']
            == 1
        )
