"""Whoever of a service's workers is asked shows what all have counted: on real servers, under load, whatever
becomes of a worker."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.services import FLASK, GUNICORN, ON_LINUX, STARLETTE, both_answer, kill_one, port_of, serving
from tests.e2e.traffic import Scrapes, Traffic, settled
from tests.waiting import until

pytestmark = [pytest.mark.e2e, ON_LINUX]

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
    "uwsgi": (
        "uwsgi --http-socket 127.0.0.1:{port} --master --processes 2 --die-on-term --disable-logging "
        "--module service_wsgi:app"
    ),
    "uwsgi-lazy": (
        "uwsgi --http-socket 127.0.0.1:{port} --master --processes 2 --lazy-apps --die-on-term "
        "--disable-logging --module service_wsgi:app"
    ),
}
RELOADS = ("gunicorn", "uvicorn", "hypercorn")
# It ends when one of its workers was killed.
ENDS = ("hypercorn",)


@pytest.mark.parametrize("server", SERVERS)
def test_any_worker_shows_the_whole_service(tmp_path: Path, server: str) -> None:
    """Under load, through a reload and a `kill -9`, no scrape is less than the one before, and the end is
    exact."""
    with serving(tmp_path, SERVERS[server]) as program:
        port = port_of(program)
        traffic = Traffic(port)
        scrapes = Scrapes(port, traffic)
        with scrapes.going_on():
            with traffic.flowing():
                both_answer(traffic)
                until(lambda: traffic.answered >= 200 and len(scrapes.totals) >= 100)
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
