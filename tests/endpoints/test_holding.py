"""One port for the processes of a service, and of those around it: who has it, who gets it, and that nobody who
connects is refused meanwhile."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.e2e.launching import free_port, listened_on
from tests.scraping import scraping
from tests.waiting import until

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="workers find each other on Linux only"
)
ROOT = Path(__file__).parents[2]


class Workers:
    """A program of `port_workers`, and what it has said."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self._said: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.append(line.rstrip("\n"))

    @property
    def pids(self) -> list[int]:
        return [int(line.split()[1]) for line in tuple(self._said) if line.startswith("WORKER")]

    @property
    def lines(self) -> list[str]:
        """What was logged, without the process ids before it."""
        return [line.split(" ", 2)[2] for line in tuple(self._said) if line.startswith("LINE")]

    def holder(self) -> int | None:
        """Which process answers; None if none does."""
        with suppress(OSError, http.client.HTTPException):
            return answered_by(self.port)
        return None

    def holds(self, *, but: int = 0) -> int:
        return until(lambda: (found := self.holder()) and found != but and found, why=self._said)

    def all_share(self, *ended: int) -> None:
        """Wait until each worker but these has a copy of the listening socket."""
        for pid in self.pids:
            if pid not in ended:
                until(
                    lambda pid=pid: self.port in listened_on(psutil.Process(pid)), why="a copy of the socket"
                )

    def fork(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(10)
            assert self.process.stdout is not None
            self.process.stdout.close()


def answered_by(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/health")
        return int(json.loads(connection.getresponse().read())["version"])
    finally:
        connection.close()


@contextmanager
def workers(count: int, *option: str, port: int = 0) -> Iterator[Workers]:
    port = port or free_port()
    command = [sys.executable, "-m", "tests.endpoints.port_workers", str(port), str(count)]
    process = subprocess.Popen(
        [*command, *option],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    running = Workers(process, port)
    try:
        until(lambda: len(running.pids) == count + ("apart" in option), why="all workers started")
        yield running
    finally:
        running.end()


@contextmanager
def scraped(port: int) -> Iterator[Counter[str]]:
    """Somebody who asks all the time, each time anew; how often each outcome was met."""

    def scrape() -> str:
        try:
            answered_by(port)
        except Exception as error:
            return type(error).__name__
        return "answered"

    with scraping(scrape, every=0.01) as met:
        yield met


def test_one_serves_and_the_others_wait_in_silence() -> None:
    with workers(3) as service:
        holder = service.holds()
        assert holder in service.pids
        assert {holder} == {answered_by(service.port) for _ in range(5)}
    assert [] == service.lines


def test_a_worker_that_ends_in_an_orderly_way_hands_the_port_over_and_nobody_is_refused() -> None:
    """Each time, the one that serves ends, and another is forked."""
    with workers(2) as service:
        ended: list[int] = []
        with scraped(service.port) as met:
            for number in range(8):
                until(lambda number=number: len(service.pids) == 2 + number)
                service.all_share(*ended)
                ended.append(service.holds())
                os.kill(ended[-1], signal.SIGTERM)
                service.fork()
                service.holds(but=ended[-1])
        assert {"answered"} == set(met), met
        assert 8 == len(set(ended))
    assert [] == service.lines


def test_a_master_keeps_the_port_open_while_no_worker_lives() -> None:
    """Whoever connects meanwhile is answered by the next one."""
    with workers(1, "kept") as service:
        killed = service.holds()
        os.kill(killed, signal.SIGKILL)
        until(lambda: psutil.Process(killed).status() == psutil.STATUS_ZOMBIE)
        with scraped(service.port) as met:
            service.fork()
            until(lambda: service.holder() in service.pids[1:])
        assert {"answered"} == set(met), met
    assert [] == service.lines


def test_a_worker_that_is_killed_leaves_the_port_open() -> None:
    """What it was just answering is lost; nobody is refused."""
    with workers(3) as service:
        killed = service.holds()
        service.all_share()
        with scraped(service.port) as met:
            os.kill(killed, signal.SIGKILL)
            holder = service.holds(but=killed)
            os.kill(holder, signal.SIGKILL)
            service.holds(but=holder)
        assert 0 == met["ConnectionRefusedError"], met
        assert met["answered"] > 10
    assert [] == service.lines


def test_a_process_that_has_more_to_show_gets_the_port_and_nobody_is_refused() -> None:
    with workers(3) as service:
        idle = service.holds()
        with scraped(service.port) as met:
            for sent in (signal.SIGUSR1, signal.SIGUSR2):
                holder = service.holds()
                chosen = next(pid for pid in service.pids if pid not in (holder, idle))
                os.kill(chosen, sent)
                until(lambda chosen=chosen: service.holder() == chosen)
                # One that has as much keeps it.
                os.kill(idle, sent)
                time.sleep(0.2)
                assert chosen == service.holder()
        assert {"answered"} == set(met), met
    assert [] == service.lines


def test_a_service_around_ours_gives_the_port_to_the_one_that_serves() -> None:
    """It is apart: neither takes over when the other ends, but tries again, as with any program."""
    with workers(1, "apart") as service:
        holder = service.holds()
        [other] = [pid for pid in service.pids if pid != holder]
        with scraped(service.port) as met:
            os.kill(other, signal.SIGUSR2)
            until(lambda: service.holder() == other)
        assert {"answered"} == set(met), met
        assert [] == service.lines, "nothing that serves is hidden"
        os.kill(holder, signal.SIGUSR2)
        line = until(lambda: service.lines)[0]
        assert (
            f"those of process {other} (python -m tests.endpoints.port_workers), which serves as well" in line
        )
        assert f"this process ({holder})" in line
        os.kill(other, signal.SIGTERM)
        until(lambda: service.holder() == holder)
        assert [line] == service.lines


def test_a_port_of_somebody_else_is_one_line_for_all_and_taken_when_it_is_free() -> None:
    """A holder that drips, or says nothing, is not even asked."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with workers(3, port=port) as service:
            [line] = until(lambda: service.lines)
            assert "another program holds it" in line
            assert f"127.0.0.1:{port}" in line
            assert "OTEL_EXPORTER_PROMETHEUS_HOST" in line
            assert "OTEL_EXPORTER_PROMETHEUS_PORT" in line
            stranger.settimeout(2.5)
            with pytest.raises(TimeoutError):
                stranger.accept()
            stranger.close()
            assert service.holds() in service.pids
            # Whoever waited for it has shared it since.
            service.all_share()
            killed = service.holds()
            os.kill(killed, signal.SIGKILL)
            assert killed != service.holds(but=killed)
        assert [line] == service.lines


def test_a_leader_that_was_stopped_is_one_line() -> None:
    with workers(3) as service:
        stopped = service.holds()
        os.kill(stopped, signal.SIGSTOP)
        service.fork()
        service.fork()
        line = until(lambda: service.lines)[0]
        assert "does not answer" in line
        os.kill(stopped, signal.SIGCONT)
        assert stopped == service.holds()
    assert [line] == service.lines
