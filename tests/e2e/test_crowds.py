"""Many scrapers of a large page come at once: few collections serve them all."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.backends import fetch
from tests.e2e.launching import Launched, launched, samples
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.quiet]

CROWD = 16
SERIES = 20_000
ASKED = 'bext_cache_entries{app="asked",layer="isr"}'


WSGI = f"gunicorn -w 1 --threads {CROWD} -b 127.0.0.1:{{port}} crowded_wsgi:app"
ASGI = "uvicorn --port {port} crowded_asgi:app"


@pytest.mark.parametrize(
    ("command", "mounted"), [(WSGI, False), (ASGI, True), (WSGI, True)], ids=["stand-alone", "asgi", "wsgi"]
)
def test_sixteen_scrapers_of_20_000_series_are_served_from_few_collections(
    command: str, mounted: bool, tmp_path: Path
) -> None:
    """Each collection has a number of its own. One may run when most of them come, and nobody is told what is
    older than his call. Of the threads of an application they may hold four."""
    together = threading.Barrier(CROWD)

    def scrape(_: int) -> dict[str, float] | None:
        together.wait(20)
        status, page = fetch(f"{url}/metrics")
        if mounted and command == WSGI and status == 503:
            return None
        assert 200 == status
        return samples(page.decode())

    with launched(tmp_path, command, env={"BEXT_METRICS_MOUNT": str(mounted).lower()}) as program:
        before = (samples(program.get("/metrics").text) if mounted else program.metrics())[ASKED]
        url = program.url if mounted else program.endpoints_url
        with ThreadPoolExecutor(CROWD) as pool:
            pages = [page for page in pool.map(scrape, range(CROWD)) if page is not None]
    assert len(pages) >= (4 if mounted and command == WSGI else CROWD)
    series = [sum(name.startswith('bext_requests_total{app="app-') for name in page) for page in pages]
    assert {SERIES} == set(series)
    assert all(page[ASKED] > before for page in pages)
    assert len({page[ASKED] for page in pages}) <= 3


@pytest.mark.parametrize("command", [ASGI, WSGI], ids=["asgi", "wsgi"])
def test_visitors_who_loop_on_metrics_hold_neither_health_nor_the_application(
    command: str, tmp_path: Path
) -> None:
    """Scrapes take a fifth of the processor, after a second of it. Asked without a pause they take all of it, so
    twice that tells the two apart, on a machine of any speed: both are times of the server's processor."""
    ending = threading.Event()

    def loop() -> None:
        while not ending.is_set():
            assert fetch(f"{program.url}/metrics")[0] in {200, 503}

    with launched(tmp_path, command, env={"BEXT_METRICS_MOUNT": "true"}) as program:
        used = processor_seconds(program)
        for _ in range(5):
            before = samples(program.get("/metrics").text)[ASKED]
        scrape_seconds = (processor_seconds(program) - used) / 5
        began = time.monotonic()
        with ThreadPoolExecutor(CROWD) as pool:
            visitors = [pool.submit(loop) for _ in range(CROWD)]
            try:
                for _ in range(12):
                    for path in ("/health/ready", "/health/live", "/items/1"):
                        assert 200 == program.get(path).status_code
                    time.sleep(0.05)
            finally:
                ending.set()
            for visitor in visitors:
                visitor.result(60)
        collections = until(lambda: asked_for(program)) - before - 1
        assert collections * scrape_seconds <= 2 * (1 + (time.monotonic() - began) / 5)


def processor_seconds(program: Launched) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in program.processes())


def asked_for(program: Launched) -> float | None:
    page = program.get("/metrics")
    return samples(page.text)[ASKED] if page.status_code == 200 else None
