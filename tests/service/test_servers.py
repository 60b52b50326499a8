"""Workers of real servers count together, whoever is asked, whoever is killed, however they came to be."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.launching import SCRIPTS, free_port
from tests.service.people import environment
from tests.waiting import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory files here"),
]

SERVERS = {
    "gunicorn-sync": "gunicorn -w 3 -b 127.0.0.1:{port} serving:wsgi",
    "gunicorn-preload": "gunicorn -w 3 --preload -b 127.0.0.1:{port} serving:wsgi",
    "gunicorn-threads": "gunicorn -w 2 --threads 4 -b 127.0.0.1:{port} serving:wsgi",
    "gunicorn-threads-preload": "gunicorn -w 2 --threads 4 --preload -b 127.0.0.1:{port} serving:wsgi",
    "gunicorn-uvicorn": "gunicorn -w 2 -k uvicorn.workers.UvicornWorker -b 127.0.0.1:{port} serving:asgi",
    "gunicorn-uvicorn-preload": (
        "gunicorn -w 2 --preload -k uvicorn.workers.UvicornWorker -b 127.0.0.1:{port} serving:asgi"
    ),
    "uvicorn": "uvicorn --workers 2 --port {port} serving:asgi",
    "hypercorn": "hypercorn -w 2 -b 127.0.0.1:{port} serving:asgi",
    "granian": "granian --interface wsgi --workers 2 --port {port} serving:wsgi",
}

# These end, or go on with fewer, when a worker is killed.
NOT_REPLACING = ("hypercorn", "granian")


@dataclass
class Service:
    """A server, and what it was asked so far."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    counted: int = 0
    pids: set[int] = field(default_factory=set)

    def ask(self, *, by: int = 0) -> dict | None:
        """One answer; None if nobody answers."""
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/?by={by}", trust_env=False, timeout=20).json()
        return None

    def count(self, requests: int = 20) -> None:
        """Count, and find each answer exact: it holds all that was counted before, by whomever."""
        for _ in range(requests):
            answer = until(lambda: self.ask(by=1), why=self.log.read_text())
            self.counted += 1
            assert {"pid": answer["pid"], "total": self.counted, "alone": False, "reason": ""} == answer
            self.pids.add(answer["pid"])

    def count_everywhere(self, workers: int) -> None:
        """Until that many workers have answered since."""
        self.pids = set()
        until(lambda: self.count(5) or len(self.pids) >= workers, why=f"{workers} workers to answer")


@contextmanager
def serving(tmp_path: Path, command: str, *, launched: bool = True) -> Iterator[Service]:
    port = free_port()
    program, *arguments = shlex.split(command.format(port=port))
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, f"{SCRIPTS}/{program}", *arguments],
            cwd=tmp_path,
            env=environment(launched=launched),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    service = Service(process, f"http://127.0.0.1:{port}", log)
    try:
        until(service.ask, why=f"{command} to answer")
        yield service
    finally:
        end(process.pid)
        process.wait()


def end(pid: int) -> None:
    """This process and all below it."""
    with suppress(psutil.NoSuchProcess):
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.mark.parametrize("launched", [True, False], ids=["launched", "in-code"])
@pytest.mark.parametrize("server", SERVERS)
def test_any_worker_knows_what_all_have_counted(tmp_path: Path, server: str, launched: bool) -> None:
    """Those killed among them, and whoever comes after."""
    with serving(tmp_path, SERVERS[server], launched=launched) as service:
        service.count_everywhere(2)
        if server in NOT_REPLACING:
            return
        victim = next(iter(service.pids))
        os.kill(victim, signal.SIGKILL)
        service.count_everywhere(2)
        assert victim not in service.pids


@pytest.mark.parametrize("launched", [True, False], ids=["launched", "in-code"])
@pytest.mark.parametrize("preload", ["", " --preload"])
def test_gunicorn_is_upgraded(tmp_path: Path, launched: bool, preload: str) -> None:
    """USR2 executes a new master beside the old one, and the count goes on when that one has gone with all
    its workers."""
    command = f"gunicorn -w 2 --pid {tmp_path}/pid{preload} -b 127.0.0.1:{{port}} serving:wsgi"
    with serving(tmp_path, command, launched=launched) as service:
        service.count_everywhere(2)
        service.process.send_signal(signal.SIGUSR2)
        second = tmp_path / "pid.2"
        pid = int(until(lambda: second.exists() and second.read_text(), why="a second master"))
        try:
            until(lambda: service.count(2) or len(psutil.Process(pid).children()) == 2)
            service.count_everywhere(3)
            service.process.send_signal(signal.SIGTERM)
            service.process.wait(20)
            service.count_everywhere(2)
            os.kill(next(iter(service.pids)), signal.SIGKILL)
            service.count_everywhere(2)
        finally:
            end(pid)


def test_gunicorn_reloads(tmp_path: Path) -> None:
    """HUP starts new workers and ends the old ones at once; the master has the file meanwhile."""
    with serving(tmp_path, SERVERS["gunicorn-sync"]) as service:
        service.count_everywhere(3)
        former = set(service.pids)
        service.process.send_signal(signal.SIGHUP)
        until(
            lambda: service.pids.clear() or service.count(4) or not service.pids & former,
            why="new workers",
        )
        service.count_everywhere(3)


def test_gunicorn_as_a_daemon_with_workers_that_retire(tmp_path: Path) -> None:
    command = f"gunicorn -D --pid {tmp_path}/pid -w 2 --max-requests 15 -b 127.0.0.1:{{port}} serving:wsgi"
    with serving(tmp_path, command) as service:
        pid = int((tmp_path / "pid").read_text())
        try:
            service.count_everywhere(2)
            service.count_everywhere(6)
        finally:
            end(pid)


@pytest.mark.quiet  # what others leave meanwhile is not ours
def test_nothing_is_left_when_all_are_killed(tmp_path: Path) -> None:
    """Nor does a server that is started again know of the one before."""
    places = ("/dev/shm", "/tmp", "/var/tmp")
    before = {place: {name for name in os.listdir(place) if "bext" in name} for place in places}
    for _ in range(2):
        with serving(tmp_path, SERVERS["gunicorn-sync"]) as service:
            service.count_everywhere(2)
    assert before == {place: {name for name in os.listdir(place) if "bext" in name} for place in places}


def test_two_servers_are_apart(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        serving(tmp_path / "one", SERVERS["gunicorn-sync"]) as one,
        serving(tmp_path / "two", SERVERS["uvicorn"]) as two,
    ):
        one.count_everywhere(2)
        two.count_everywhere(2)
        one.count(5)
