"""A service goes on through upgrades and retiring workers; what is another one stays apart, and none leaves
anything behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.e2e.launching import launched
from tests.e2e.services import FLASK, GUNICORN, ON_LINUX, STARLETTE, both_answer, kill_one, port_of, serving
from tests.e2e.traffic import Scrapes, Traffic, fetch, items_of, page, settled
from tests.waiting import until

pytestmark = [pytest.mark.e2e, ON_LINUX]

PLACES = ("/dev/shm", "/tmp", "/var/tmp")


def left() -> set[str]:
    """What lies about that could be ours."""
    return {f"{place}/{name}" for place in PLACES for name in os.listdir(place) if "bext-otel" in name}


def shared(pid: int) -> int | None:
    """The inode of the memory that this process shares with other workers."""
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if os.readlink(file).startswith("/memfd:bext-otel"):
                return file.stat().st_ino
    return None


def holders(inode: int | None) -> set[int]:
    """Processes of this host that have it open."""
    found = set()
    for process in psutil.process_iter():
        with suppress(OSError):
            if shared(process.pid) == inode:
                found.add(process.pid)
    return found


@contextmanager
def ended_by_file(file: Path) -> Iterator[None]:
    """The process whose id is in the file in the end, and those below it, are ended."""
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ValueError):
            first = psutil.Process(int(file.read_text()))
            for process in [first, *first.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


@pytest.mark.parametrize("options", ["", "--threads 4 --preload"], ids=["sync", "gthread-preload"])
def test_an_upgraded_gunicorn_goes_on_counting(tmp_path: Path, options: str) -> None:
    """USR2 executes a new master beside the old one; workers of both answer for a while."""
    new = tmp_path / "pid.2"
    command = f"{GUNICORN} --pid {tmp_path}/pid {options} {FLASK}"
    with ended_by_file(tmp_path / "pid"), ended_by_file(new), serving(tmp_path, command) as program:
        port = port_of(program)
        traffic = Traffic(port)
        scrapes = Scrapes(port, traffic)
        with scrapes.going_on():
            with traffic.flowing():
                both_answer(traffic)
                former = traffic.pids()
                program.process.send_signal(signal.SIGUSR2)
                until(lambda: new.exists() and new.read_text(), why=program.output())
                both_answer(traffic, without=former)
            settled(port, *traffic.bounds)
            with traffic.flowing():
                program.process.send_signal(signal.SIGTERM)
                program.wait()
                both_answer(traffic, without=former)
            settled(port, *traffic.bounds)
            kill_one(port, traffic)
        assert [] == scrapes.wrong


def test_workers_that_retire_leave_their_counts(tmp_path: Path) -> None:
    with serving(tmp_path, f"{GUNICORN} --threads 2 --max-requests 60 {FLASK}") as program:
        port = port_of(program)
        traffic = Traffic(port)
        scrapes = Scrapes(port, traffic)
        with scrapes.going_on(1), traffic.flowing(2):
            until(lambda: len(traffic.pids()) >= 6, why="six workers, one after the other")
        settled(port, *traffic.bounds)
        assert [] == scrapes.wrong


def test_the_stand_alone_server_shows_the_whole_service_and_the_next_one_too(tmp_path: Path) -> None:
    """Whichever worker holds the port, and when that one is killed, whichever takes over."""
    with launched(tmp_path, f"{GUNICORN} {FLASK}", env={"BEXT_LOGGING_REQUESTS": "false"}) as program:
        traffic = Traffic(port_of(program), known=1)
        scrapes = Scrapes(program.endpoints_port, traffic)
        holder = until(program.holder)
        with scrapes.going_on():
            with traffic.flowing():
                both_answer(traffic)
                until(lambda: len(scrapes.totals) >= 100)
            settled(program.endpoints_port, *traffic.bounds)
            traffic.known, traffic.sent = settled(program.endpoints_port, *traffic.bounds), 0
            traffic.answers.clear()
            holder.kill()
            until(
                lambda: (found := program.holder()) is not None and found.pid != holder.pid,
                why="another worker to serve",
            )
            with traffic.flowing():
                both_answer(traffic)
            settled(program.endpoints_port, *traffic.bounds)
        assert [] == scrapes.wrong


def test_two_services_on_one_host_are_apart_and_so_is_a_script_that_one_runs(tmp_path: Path) -> None:
    """Also of one name, started by one process; each shows its own and nothing else, and the script knows
    nothing of the service."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        serving(tmp_path / "one", f"{GUNICORN} {FLASK}") as one,
        serving(tmp_path / "two", f"uvicorn --workers 2 --port {{port}} {STARLETTE}") as two,
    ):
        services = [Traffic(port_of(program)) for program in (one, two)]
        for number, traffic in enumerate(services):
            for _ in range(20 + number):
                assert traffic.ask() is not None
        status, body = fetch(services[0].port, "/nested")
        assert 200 == status
        assert b"bext_cache_hits_total" in body
        assert b'"exit": 0' in body.replace(b'"exit":0', b'"exit": 0')
        assert b"bext_requests_total" not in body
        for number, traffic in enumerate(services):
            assert 20 + number == settled(traffic.port, 20 + number, 20 + number)
            assert not [name for name in page(traffic.port) if name.startswith("bext_cache_hits_total")]


def test_a_service_that_is_started_again_begins_at_nothing_and_nothing_is_left_of_the_one_before(
    tmp_path: Path,
) -> None:
    """Master and workers are killed with SIGKILL, all at once."""
    before = left()
    for _ in range(2):
        with serving(tmp_path, f"{GUNICORN} {FLASK}") as program:
            traffic = Traffic(port_of(program))
            for _ in range(20):
                assert traffic.ask() is not None
            settled(traffic.port, 20, 20)
            inode = shared(program.process.pid)
            assert inode is not None
            assert {process.pid for process in program.processes()} == holders(inode)
            os.killpg(program.process.pid, signal.SIGKILL)
        until(lambda inode=inode: not holders(inode), why="nobody to hold it any more")  # type: ignore[misc]
    assert before == left()


def test_a_gevent_worker_that_has_nothing_to_tell_any_more_answers(tmp_path: Path) -> None:
    """Its ticker rests then, and waits as a greenlet does."""
    soon = {
        "BEXT_METRICS_TICK_SECONDS": "0.05",
        "BEXT_METRICS_WINDOW_SECONDS": "0.2",
        "BEXT_METRICS_RATE_WINDOW_SECONDS": "0.2",
    }
    with serving(tmp_path, f"gunicorn -w 1 -k gevent -b 127.0.0.1:{{port}} {FLASK}", **soon) as program:
        port = port_of(program)
        assert 200 == fetch(port, "/items/1")[0]
        answers: list[int] = []
        until(lambda: answers.append(items_of(page(port))) or len(answers) >= 30)
        assert [1] * 30 == answers
