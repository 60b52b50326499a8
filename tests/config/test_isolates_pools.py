"""`[isolates] pools`: which pools of concurrent.futures are isolates."""

from __future__ import annotations

from pathlib import Path

import pytest

from bext_otel.config import load
from bext_otel.errors import ConfigError
from tests.fresh import fresh


def test_no_pool_is_chosen_by_itself(tmp_path: Path) -> None:
    assert () == load(environ={}, cwd=tmp_path).config.isolates.pools


def test_the_file_and_a_variable_choose(tmp_path: Path) -> None:
    (tmp_path / "bext.config.toml").write_text('[isolates]\npools = ["render-*"]\n', encoding="utf-8")
    assert ("render-*",) == load(environ={}, cwd=tmp_path).config.isolates.pools
    chosen = load(environ={"BEXT_ISOLATES_POOLS": " none , asyncio*"}, cwd=tmp_path)
    assert (("none", "asyncio*"), ()) == (chosen.config.isolates.pools, chosen.warnings)


def test_one_that_names_nothing_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bext.config.toml").write_text('[isolates]\npools = [" "]\nworkers = 4\n', encoding="utf-8")
    loaded = load(environ={}, cwd=tmp_path)
    assert () == loaded.config.isolates.pools
    (line,) = loaded.warnings
    assert "[isolates] pools" in line
    with pytest.raises(ConfigError, match="did you mean pools"):
        load({"isolates": {"pool": ["render-*"]}}, environ={})


def test_what_is_chosen_is_handed_to_the_instrumentor(tmp_path: Path) -> None:
    shown, _ = fresh(
        """
        from concurrent.futures import ThreadPoolExecutor
        import bext_otel
        runs = bext_otel.configure(telemetry={"service_name": "shop"})
        with ThreadPoolExecutor(2, "render-a") as pool:
            pool.submit(len, "abc").result()
            body = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True).body.decode()
        show([line for line in body.splitlines() if line.startswith("bext_isolate_count")])
        """,
        tmp_path,
        BEXT_ISOLATES_POOLS="render-*",
    )
    assert ['bext_isolate_count{app="unknown"} 1'] == shown
