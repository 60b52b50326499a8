"""From SIGTERM on a service is not ready, alive, and serves, for as long as it was told to; then its server ends
as ever."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.launching import Launched, launched
from tests.waiting import until

pytestmark = pytest.mark.e2e

SECONDS = 3.0
SERVERS = {
    "uvicorn": "uvicorn --port {port} starlette_app:app",
    "uvicorn-workers": "uvicorn --port {port} --workers 2 starlette_app:app",
    "gunicorn": "gunicorn -w 2 -b 127.0.0.1:{port} flask_app:app",
    "gunicorn-preload": "gunicorn -w 2 --preload -b 127.0.0.1:{port} flask_app:app",
    "gunicorn-uvicorn": "gunicorn -w 2 -k uvicorn_worker.UvicornWorker -b 127.0.0.1:{port} starlette_app:app",
    "hypercorn": "hypercorn -w 2 -b 127.0.0.1:{port} starlette_app:app",
    "hypercorn-alone": "hypercorn -w 0 -b 127.0.0.1:{port} starlette_app:app",
}
DRAINS = {"BEXT_HEALTH_DRAIN_SECONDS": str(SECONDS), "BEXT_METRICS_MOUNT": "true"}


def statuses(program: Launched) -> dict[str, set[int]]:
    """What ten requests each are answered, by whichever worker."""
    paths = {"live": "/health/live", "ready": "/health/ready", "work": "/items/1"}
    return {name: {program.get(path).status_code for _ in range(10)} for name, path in paths.items()}


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_a_service_that_is_told_to_end_serves_and_is_not_ready(command: str, tmp_path: Path) -> None:
    with launched(tmp_path / "bare", command, env={"BEXT_HEALTH_DRAIN_SECONDS": "0"}) as program:
        expected = program.end(seconds=30)
    with launched(tmp_path / "drains", command, env=DRAINS) as program:
        until(lambda: program.get("/health/ready").status_code == 200)
        told = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        until(lambda: program.get("/health/ready").status_code == 503)
        assert {"live": {200}, "ready": {503}, "work": {200}} == statuses(program)
        assert expected == program.wait(seconds=30)
        assert SECONDS <= time.monotonic() - told


@pytest.mark.parametrize("name", ["uvicorn", "gunicorn", "hypercorn"])
def test_a_second_signal_ends_the_waiting(name: str, tmp_path: Path) -> None:
    env = {**DRAINS, "BEXT_HEALTH_DRAIN_SECONDS": "300"}
    with launched(tmp_path, SERVERS[name], env=env) as program:
        program.process.send_signal(signal.SIGTERM)
        until(lambda: program.get("/health/ready").status_code == 503)
        program.end(seconds=30)


def test_workers_that_a_server_recycles_do_not_drain(tmp_path: Path) -> None:
    """gunicorn ends its old workers by SIGTERM when it reloads: the service goes on."""
    env = {**DRAINS, "BEXT_HEALTH_DRAIN_SECONDS": "300"}
    with launched(tmp_path, SERVERS["gunicorn"], env=env) as program:
        until(lambda: program.get("/health/ready").status_code == 200)
        old = {process.pid for process in program.processes()[1:]}
        program.process.send_signal(signal.SIGHUP)
        until(lambda: not any(psutil.pid_exists(pid) for pid in old), seconds=30)
        assert {200} == statuses(program)["ready"]


def test_a_service_whose_processes_are_all_told_at_once_drains(tmp_path: Path) -> None:
    """As systemd does by default."""
    with launched(tmp_path, SERVERS["gunicorn"], env=DRAINS) as program:
        until(lambda: program.get("/health/ready").status_code == 200)
        told = time.monotonic()
        for process in reversed(program.processes()):
            with suppress(psutil.Error):
                process.send_signal(signal.SIGTERM)
        until(lambda: program.get("/health/ready").status_code == 503)
        assert {"live": {200}, "ready": {503}, "work": {200}} == statuses(program)
        assert 0 == program.wait(seconds=30)
        assert SECONDS <= time.monotonic() - told


def test_without_the_setting_a_signal_is_handled_at_once(tmp_path: Path) -> None:
    with launched(tmp_path, SERVERS["uvicorn"]) as program:
        program.process.send_signal(signal.SIGTERM)
        program.wait(seconds=30)
        with pytest.raises(httpx.TransportError):
            program.get("/items/1")
