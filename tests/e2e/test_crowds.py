"""Many scrapers of a large page come at once: few collections serve them all."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.backends import fetch
from tests.e2e.launching import launched, samples

pytestmark = pytest.mark.e2e

CROWD = 16
SERIES = 20_000
ASKED = 'bext_cache_entries{app="asked",layer="isr"}'


@pytest.mark.parametrize("where", ["application", "stand-alone"])
def test_sixteen_scrapers_of_20_000_series_are_served_from_few_collections(
    where: str, tmp_path: Path
) -> None:
    """Each collection has a number of its own. One may run when most of them come, and nobody is told what is
    older than his call."""
    together = threading.Barrier(CROWD)

    def scrape(_: int) -> dict[str, float]:
        together.wait(20)
        status, page = fetch(f"{url}/metrics")
        assert 200 == status
        return samples(page.decode())

    command = f"gunicorn -w 1 --threads {CROWD} -b 127.0.0.1:{{port}} crowded_wsgi:app"
    mounted = where == "application"
    with launched(tmp_path, command, env={"BEXT_METRICS_MOUNT": str(mounted).lower()}) as program:
        before = (samples(program.get("/metrics").text) if mounted else program.metrics())[ASKED]
        url = program.url if mounted else program.endpoints_url
        with ThreadPoolExecutor(CROWD) as pool:
            pages = list(pool.map(scrape, range(CROWD)))
    series = [sum(name.startswith('bext_requests_total{app="app-') for name in page) for page in pages]
    assert [SERIES] * CROWD == series
    assert all(page[ASKED] > before for page in pages)
    assert len({page[ASKED] for page in pages}) <= 3
