"""Caches and compression of an application that knows nothing of us."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.e2e.launching import Launched, launched
from tests.waiting import until

CONFIG = """\
[cache.layers]
"caching_app.page" = "isr"
caching_app = "fragment"

[apps.shop]
paths = ["/"]
"""


def shown(running: Launched, expected: dict[str, float]) -> dict[str, float] | None:
    """The samples that are expected, once all of them are there."""
    found = running.metrics()
    return {name: found[name] for name in expected} if expected.keys() <= found.keys() else None


@pytest.mark.e2e
def test_a_service_shows_its_caches_and_compressions_without_code(tmp_path: Path) -> None:
    (tmp_path / "bext.config.toml").write_text(CONFIG, encoding="utf-8")
    with launched(tmp_path, "uvicorn --port {port} caching_app:app", path="/imported") as running:
        for item in ("1", "1", "2", "3"):
            assert running.get(f"/items/{item}").text.startswith(f"item {item}")
        httpx.post(f"{running.url}/drop", trust_env=False).raise_for_status()
        assert ["cachetools"] == running.get("/imported").json()
        expected = {
            'bext_cache_hits_total{app="shop",layer="isr"}': 1,
            'bext_cache_misses_total{app="shop",layer="isr"}': 3,
            'bext_cache_hits_total{app="shop",layer="fragment"}': 4,
            'bext_cache_evictions_total{app="shop",layer="isr"}': 1,
            'bext_cache_invalidations_total{app="shop",method="tag"}': 2,
            'bext_cache_entries{app="shop",layer="isr"}': 0,
            'bext_cache_entries{app="shop",layer="fragment"}': 3,
            'bext_cache_bytes{app="shop",layer="fragment"}': 3 * 7000,
            'bext_cache_duration_us_count{app="shop",layer="isr",operation="store"}': 3,
            'bext_compression_ratio_count{app="shop",encoding="gzip"}': 4,
            'bext_compression_duration_us_count{app="shop",encoding="gzip"}': 4,
        }
        assert expected == until(lambda: shown(running, expected), why="the metrics of what was done")
        assert 0 < running.metrics()['bext_compression_ratio_sum{app="shop",encoding="gzip"}'] < 0.2
        evicted = running.lines(message="cache evicted", level="warn")
        assert ("shop", "isr", "LRUCache") == tuple(evicted[0][name] for name in ("app", "layer", "cache"))
        assert evicted[0]["trace_id"]
        assert running.lines(message="cache invalidated", level="info")
        assert [] == running.lines(message="cache hit")
