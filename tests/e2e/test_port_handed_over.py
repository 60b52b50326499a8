"""The endpoints' port goes from one process to another without a refused connection."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.launching import Launched, launched, listened_on
from tests.scraping import scraping
from tests.waiting import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="workers find each other on Linux only"),
]
RECYCLINGS = int(os.environ.get("BEXT_RECYCLINGS", "3"))
"""How often each server recycles its workers; `make faults` has it do so 20 times."""

LIVE = "/health/live"


@contextmanager
def scraped(program: Launched) -> Iterator[Counter[str]]:
    """Somebody who asks 20 times a second, each time anew; how often each outcome was met."""

    def scrape() -> str:
        try:
            return str(httpx.get(program.endpoints_url + LIVE, trust_env=False, timeout=20).status_code)
        except httpx.TransportError as error:
            return f"{type(error).__name__}: {error}"

    program.endpoint(LIVE)
    with scraping(scrape, every=0.05) as met:
        yield met


def test_workers_that_reach_max_requests_hand_it_over(tmp_path: Path) -> None:
    """Also when both end at once, and the next ones are only starting."""
    command = "gunicorn -w 2 --max-requests 15 --max-requests-jitter 10 -b 127.0.0.1:{port} flask_app:app"
    with launched(tmp_path, command) as program, scraped(program) as met:
        seen: set[int] = set()
        while len(seen) < 2 + RECYCLINGS:
            seen.add(program.get("/items/1").json()["pid"])
    assert {"200"} == set(met), met


def test_a_reload_of_gunicorns_hands_it_over(tmp_path: Path) -> None:
    with (
        launched(tmp_path, "gunicorn -w 2 -b 127.0.0.1:{port} flask_app:app") as program,
        scraped(program) as met,
    ):
        for _ in range(RECYCLINGS):
            former = {program.get("/items/1").json()["pid"] for _ in range(10)}
            program.process.send_signal(signal.SIGHUP)
            until(lambda former=former: program.get("/items/1").json()["pid"] not in former)
            until(
                lambda former=former: not former & {process.pid for process in program.processes()},
            )
    assert {"200"} == set(met), met


def test_workers_of_uvicorns_hand_it_over(tmp_path: Path) -> None:
    command = "uvicorn --port {port} --workers 2 starlette_app:app"
    with launched(tmp_path, command) as program, scraped(program) as met:
        for _ in range(RECYCLINGS):
            holder = until(program.holder)
            others_share(program, holder.pid)
            holder.send_signal(signal.SIGTERM)
            until(lambda holder=holder: not holder.is_running())
            until(lambda: len(program.processes()) >= 4)  # with multiprocessing's helper
    assert {"200"} == set(met), met


def others_share(program: Launched, holder: int) -> None:
    """Wait until another worker has a copy of the listening socket."""

    until(
        lambda: any(
            process.pid != holder and program.endpoints_port in listened_on(process)
            for process in program.processes()
        ),
    )


def test_a_server_gets_it_from_the_launcher_that_started_it(tmp_path: Path) -> None:
    """Both are services of their own; the launcher has counted something, and serves nothing."""
    with launched(tmp_path, "python -m launcher {port}") as program:
        until(program.holder)
        with scraped(program) as met:
            for _ in range(5):
                assert 200 == program.get("/items/1").status_code
            until(lambda: (holder := program.holder()) is not None and holder.pid != program.process.pid)
            requests = 'bext_requests_total{app="unknown",method="GET",status="200",route="/items/<item>"}'
            until(lambda: program.metrics().get(requests, 0) >= 5)
            page = program.endpoint("/").text
        assert (
            f"<dt>python -m launcher<dd>unknown_service:python, process {program.process.pid}: has no port"
            in page
        )
        assert {"200"} == set(met), met
        assert [] == program.lines(level="warn", target="bext_otel")


def test_a_second_server_says_where_its_requests_are_not_shown(tmp_path: Path) -> None:
    """Two servers that one script starts are two services, of which the first one has the port."""
    with launched(tmp_path, "python -m two_servers {port}") as program:
        until(program.holder)
        told = until(lambda: [line for line in program.output().split("\n") if "serves as well" in line])
        assert 1 == len(told)
        assert f"the endpoints at 127.0.0.1:{program.endpoints_port} are those of process" in told[0]
        assert 2 == program.endpoint("/").text.count("<dd>unknown_service:python, process")
