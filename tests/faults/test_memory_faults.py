"""The memory that workers share is full, forbidden, or taken away: the application is served, and who stands
alone says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.launching import SCRIPTS, Launched, launched
from tests.e2e.services import FLASK, GUNICORN, MOUNTED, ON_LINUX, both_answer, port_of, serving
from tests.e2e.traffic import Scrapes, Traffic, fetch, items_of, page, settled
from tests.waiting import until

pytestmark = [pytest.mark.e2e, ON_LINUX]

PROGRAMS = Path(__file__).parent / "programs"
TOKEN = "let-me-see"
SEEN = {**MOUNTED, "BEXT_TELEMETRY_TOKEN": TOKEN}


def telemetry_check(port: int) -> dict[str, Any]:
    """The health check of telemetry in the worker that answers."""
    _, body = fetch(port, "/health", headers={"Authorization": f"Bearer {TOKEN}"})
    check: dict[str, Any] = json.loads(body)["checks"]["telemetry"]
    return check


def warnings(program: Launched, *words: str) -> list[str]:
    """Lines of ours that hold these words."""
    return [
        line["message"]
        for line in program.lines(target="bext_otel", level="warn")
        if all(word in line["message"] for word in words)
    ]


@contextmanager
def limited(folder: Path, limit: int) -> Iterator[Launched]:
    """A service whose files may not become larger than so many bytes."""
    command = (
        f"python {PROGRAMS}/limited.py {limit} {SCRIPTS}/opentelemetry-instrument {sys.executable} "
        f"{SCRIPTS}/{GUNICORN} {FLASK}"
    )
    with launched(folder, command, env=SEEN, path="/health/live", instrument=False) as program:
        yield program


def test_where_no_memory_can_be_had_each_worker_stands_alone_and_one_line_says_so(tmp_path: Path) -> None:
    """No file may be larger than ten bytes, a memory file neither."""
    with limited(tmp_path, 10) as program:
        port = port_of(program)
        traffic = Traffic(port)
        with traffic.flowing(1):
            both_answer(traffic)
        expected = sorted(sum(answer.pid == pid for answer in traffic.answers) for pid in traffic.pids())
        seen: set[int] = set()
        until(
            lambda: seen.add(items_of(page(port))) or len(seen) >= 2,
            why="both workers to show their own part",
        )
        assert expected == sorted(seen)
        check = telemetry_check(port)
        assert "degraded" == check["status"]
        assert "File too large" in check["workers_alone"]
        (line,) = warnings(program, "can't share its metrics")
        assert "/metrics shows its own part only" in line
        program.end()


def test_memory_that_becomes_too_small_harms_nobody(tmp_path: Path) -> None:
    """It can be had, and holds not all that there is to say: each worker says so once, and is degraded while
    it lasts."""
    with limited(tmp_path, 128 * 1024 + 100) as program:
        port = port_of(program)
        traffic = Traffic(port)
        with traffic.flowing(2):
            both_answer(traffic)
            until(lambda: traffic.answered > 100)
        assert 0 == traffic.unsure
        check = until(lambda: found if "workers_unshared" in (found := telemetry_check(port)) else None)
        assert "degraded" == check["status"]
        assert "File too large" in check["workers_unshared"]
        until(
            lambda: len(warnings(program, "can't be shared", "File too large")) == 2,
            why=program.output(),
        )
        until(
            lambda: (
                items_of(page(port)) in {sum(a.pid == pid for a in traffic.answers) for pid in traffic.pids()}
            ),
        )
        assert 2 == len(warnings(program))
        program.end()


FULL = """
mount -t tmpfs -o size=16k none /dev/shm && mount -t tmpfs -o ro none /var/tmp || exit 3
cat /dev/zero > /dev/shm/full 2>/dev/null
exec "$@"
"""


@pytest.mark.skipif(
    not shutil.which("unshare")
    or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="mounting a full /dev/shm wants root",
)
def test_a_full_dev_shm_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "full.sh").write_text(FULL)
    (tmp_path / "in_namespace.py").write_text(
        "import os, sys\nos.execvp('unshare', ['unshare', '-m', 'sh', 'full.sh', *sys.argv[1:]])\n"
    )
    command = (
        f"python in_namespace.py {SCRIPTS}/opentelemetry-instrument {sys.executable} "
        f"{SCRIPTS}/{GUNICORN} {FLASK}"
    )
    with launched(tmp_path, command, env=SEEN, path="/health/live", instrument=False) as program:
        port = port_of(program)
        traffic = Traffic(port)
        scrapes = Scrapes(port, traffic)
        with scrapes.going_on(1), traffic.flowing(2):
            both_answer(traffic)
            until(lambda: len(scrapes.totals) > 50)
        settled(port, *traffic.bounds)
        assert [] == scrapes.wrong
        assert "healthy" == telemetry_check(port)["status"]
        program.end()


@pytest.mark.parametrize("replaced", [False, True], ids=["closed", "replaced"])
def test_a_worker_whose_descriptor_the_application_closed_stands_alone_and_writes_into_nothing_else(
    tmp_path: Path, replaced: bool
) -> None:
    file = tmp_path / "theirs"
    with serving(
        tmp_path, f"{GUNICORN} closing_wsgi:app", first=(str(PROGRAMS),), BEXT_TELEMETRY_TOKEN=TOKEN
    ) as program:
        port = port_of(program)
        traffic = Traffic(port)
        with traffic.flowing(2):
            both_answer(traffic)
        settled(port, *traffic.bounds)
        told = json.loads(fetch(port, f"/close?file={file}" if replaced else "/close")[1])
        assert 1 == len(told["closed"])
        with traffic.flowing(2):
            both_answer(traffic)
        # Each answers by turns: the one that lost it is degraded and shows its own, the other goes on as
        # before.
        until(lambda: telemetry_check(port)["status"] == "degraded")
        until(lambda: telemetry_check(port)["status"] == "healthy")
        own = sum(answer.pid == told["pid"] for answer in traffic.answers)
        until(lambda: items_of(page(port)) == own, why=f"the lone worker to show its own {own}")
        until(lambda: items_of(page(port)) > own, why="the other one to show what it knows of both")
        (line,) = until(lambda: warnings(program, "can't be shared"))
        assert "closed or replaced" in line
        if replaced:
            assert 0 == file.stat().st_size
