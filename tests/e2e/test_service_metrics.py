"""Whoever of a service's workers is asked shows what all have counted: on real servers, under load, whatever becomes of a worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.launching import Launched, launched
from tests.e2e.traffic import Scrapes, Traffic, settled
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="workers find each other on Linux only")]

GUNICORN = "gunicorn -w 2 --graceful-timeout 5 -b 127.0.0.1:{port} "
FLASK = "service_wsgi:app"
STARLETTE = "service_asgi:app"
SERVERS = {
    "gunicorn-sync": f"{GUNICORN} {FLASK}",
    "gunicorn-sync-preload": f"{GUNICORN} --preload {FLASK}",
    "gunicorn-gthread": f"{GUNICORN} --threads 4 {FLASK}",
    "gunicorn-gthread-preload": f"{GUNICORN} --threads 4 --preload {FLASK}",
    "gunicorn-uvicorn": f"{GUNICORN} -k uvicorn_worker.UvicornWorker {STARLETTE}",
    "gunicorn-uvicorn-preload": f"{GUNICORN} -k uvicorn_worker.UvicornWorker --preload {STARLETTE}",
    "gunicorn-gevent": f"{GUNICORN} -k gevent {FLASK}",
    "gunicorn-gevent-preload": f"{GUNICORN} -k gevent --preload {FLASK}",
    "uvicorn": f"uvicorn --workers 2 --port {{port}} {STARLETTE}",
    "hypercorn": f"hypercorn -w 2 -b 127.0.0.1:{{port}} {STARLETTE}",
    "granian": f"granian --interface asgi --workers 2 --respawn-failed-workers --port {{port}} {STARLETTE}",
    "uwsgi": "uwsgi --http-socket 127.0.0.1:{port} --master --processes 2 --die-on-term --disable-logging --module service_wsgi:app",
    "uwsgi-lazy": (
        "uwsgi --http-socket 127.0.0.1:{port} --master --processes 2 --lazy-apps --die-on-term --disable-logging --module service_wsgi:app"
    ),
}
NEEDS = {"uvicorn_worker": "uvicorn_worker", "gevent": "gevent", "granian": "granian", "uwsgi ": "uwsgi"}
RELOADS = ("gunicorn", "uvicorn", "hypercorn")
# It ends when one of its workers was killed.
ENDS = ("hypercorn",)
MOUNTED = {"BEXT_METRICS_MOUNT": "true", "BEXT_LOGGING_REQUESTS": "false", "OTEL_SERVICE_NAME": "shop"}


def port_of(program: Launched) -> int:
    return int(program.url.rpartition(":")[2])


@contextmanager
def serving(folder: Path, command: str, **env: str) -> Iterator[Launched]:
    """A server with the endpoints on its port; it is not known to have answered anything else."""
    for word, module in NEEDS.items():
        if word in command and not _installed(module):
            pytest.skip(f"{module} is not installed")
    with launched(folder, command, env={**MOUNTED, **env}, path="/health/live") as program:
        yield program


def _installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    with suppress(PackageNotFoundError):
        return bool(version(name.replace("_", "-")))
    return False


def both_answer(traffic: Traffic, *, without: frozenset[int] | set[int] = frozenset()) -> None:
    """Two workers that are none of these have answered, from now on."""
    since = traffic.answered
    until(lambda: len(traffic.pids(since) - without) >= 2, seconds=40, why=f"two workers to answer that are none of {without}")


@pytest.mark.parametrize("server", SERVERS)
def test_any_worker_shows_the_whole_service(tmp_path: Path, server: str) -> None:
    """Under load, through a reload and a `kill -9`, no scrape is less than the one before, and the end is exact."""
    with serving(tmp_path, SERVERS[server]) as program:
        port = port_of(program)
        traffic = Traffic(port)
        scrapes = Scrapes(port, traffic)
        with scrapes.going_on():
            with traffic.flowing():
                both_answer(traffic)
                until(lambda: traffic.answered >= 200 and len(scrapes.totals) >= 100, seconds=60)
            settled(port, *traffic.bounds)
            if server.startswith(RELOADS):
                former = traffic.pids()
                with traffic.flowing():
                    program.process.send_signal(signal.SIGHUP)
                    both_answer(traffic, without=former)
                settled(port, *traffic.bounds)
            if not server.startswith(ENDS):
                kill_one(port, traffic)
            until(lambda: len(scrapes.totals) >= 200)
        assert [] == scrapes.wrong


def kill_one(port: int, traffic: Traffic) -> None:
    """What a worker counted before its last second outlives it."""
    victim = traffic.answers[-1].pid
    with traffic.flowing():
        began = time.monotonic()
        until(lambda: traffic.before_last_second(victim, began, time.monotonic()) > 20, seconds=30)
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        both_answer(traffic, without={victim})
    low, high = traffic.bounds
    settled(port, low - traffic.last_second(victim, killed), high)
