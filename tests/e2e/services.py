"""Services of several workers for the tests: started where their server is installed, asked until two have
answered, one of them killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.e2e.backends import unavailable
from tests.e2e.launching import Launched, launched
from tests.e2e.traffic import Traffic, settled
from tests.waiting import until

ON_LINUX = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="workers find each other on Linux only")
GUNICORN = "gunicorn -w 2 --graceful-timeout 5 -b 127.0.0.1:{port} "
FLASK = "service_wsgi:app"
STARLETTE = "service_asgi:app"
MOUNTED = {"BEXT_METRICS_MOUNT": "true", "BEXT_LOGGING_REQUESTS": "false", "OTEL_SERVICE_NAME": "shop"}
NEEDS = {"uvicorn_worker": "uvicorn-worker", "gevent": "gevent", "granian": "granian", "uwsgi ": "uwsgi"}


def port_of(program: Launched) -> int:
    """Where its application answers."""
    return int(program.url.rpartition(":")[2])


@contextmanager
def serving(folder: Path, command: str, *, first: tuple[str, ...] = (), **env: str) -> Iterator[Launched]:
    """A server with the endpoints on its port; it has answered no request for the application. `first` is
    where else it finds programs."""
    for word, distribution in NEEDS.items():
        if word in command:
            _need(distribution)
    with launched(folder, command, env={**MOUNTED, **env}, path="/health/live", first=first) as program:
        yield program


def _need(distribution: str) -> None:
    try:
        version(distribution)
    except PackageNotFoundError:
        unavailable(f"{distribution} is not installed")


def both_answer(traffic: Traffic, *, without: set[int] = frozenset()) -> None:  # type: ignore[assignment]  # nobody adds to it
    """Wait until two workers that are none of these have answered, from now on."""
    since = traffic.answered
    until(
        lambda: len(traffic.pids(since) - without) >= 2,
        why=f"two workers to answer that are none of {without}",
    )


def _killed(traffic: Traffic) -> tuple[int, float] | None:
    """The worker that was killed, and when; None if the one chosen was just retiring after a reload."""
    victim, began = traffic.answers[-1].pid, time.monotonic()
    try:
        until(lambda: traffic.before_last_second(victim, began, time.monotonic()) > 20)
        os.kill(victim, signal.SIGKILL)
    except (AssertionError, ProcessLookupError):
        return None
    return victim, time.monotonic()


def kill_one(port: int, traffic: Traffic) -> None:
    """What a worker counted before its last second outlives it."""
    with traffic.flowing():
        victim, killed = until(lambda: _killed(traffic), why="a worker to kill")
        both_answer(traffic, without={victim})
    low, high = traffic.bounds
    settled(port, low - traffic.last_second(victim, killed), high)
