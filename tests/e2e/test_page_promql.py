"""docs/promql.md, done by what it says: two workers, and each recipe asked of a real Prometheus."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e import backends
from tests.e2e.backends import Prometheus
from tests.e2e.launching import launched
from tests.pages import blocks, write_files
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.backends]

PAGE = "promql.md"
ROUTE = "/items/{item}"
ERRORS, BY_APP = 1, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("promql")
    assert ["app.py", "prometheus.yml", "burn.yml"] == write_files(PAGE, folder)
    return folder


@pytest.fixture(scope="module")
def prometheus(folder: Path) -> Iterator[Prometheus]:
    """One that has seen 30 requests that succeeded and 10 that failed, and some before, so that each series
    was there."""
    env = {"OTEL_SERVICE_NAME": "shop"}
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    with launched(folder, "uvicorn app:app --workers 2 --port {port}", env=env) as shop:
        (job,) = config["scrape_configs"]
        job["static_configs"] = [{"targets": [shop.endpoints_url.removeprefix("http://")]}]
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        for path in ("tea", "broken"):
            shop.get(f"/items/{path}")
        with backends.prometheus(folder, config) as running:
            until(lambda: 2 == len(running.query("bext_requests_total")), why="both series, scraped")
            for _ in range(10):
                for path in ("tea", "broken", "tea", "tea"):
                    shop.get(f"/items/{path}")
            expected = 42  # and what the fixture asked until the application answered
            until(
                lambda: expected <= float(running.query("sum(bext_requests_total)")[0]["value"][1]),
                why="all requests, scraped",
            )
            yield running


def value(found: list[dict[str, Any]], **labels: str) -> float:
    (one,) = (one for one in found if labels.items() <= one["metric"].items())
    return float(one["value"][1])


@pytest.mark.parametrize("recipe", blocks(PAGE, "promql"), ids=range(len(blocks(PAGE, "promql"))))
def test_a_recipe_has_an_answer(prometheus: Prometheus, recipe: str) -> None:
    found = until(lambda: prometheus.query(recipe), why=recipe)
    assert [] == [one for one in found if math.isnan(float(one["value"][1]))]


def test_a_quarter_of_the_requests_failed_by_route_and_by_app(prometheus: Prometheus) -> None:
    recipes = blocks(PAGE, "promql")
    by_route = value(prometheus.query(recipes[ERRORS]), app="shop", route=ROUTE)
    by_app = value(prometheus.query(recipes[BY_APP]), app="shop")
    assert (pytest.approx(0.25, abs=0.02), pytest.approx(0.25, abs=0.02)) == (by_route, by_app)


def test_an_alert_of_the_page_fires(prometheus: Prometheus) -> None:
    def firing() -> set[str]:
        return {one["metric"]["alertname"] for one in prometheus.query('ALERTS{alertstate="firing"}')}

    until(lambda: {"ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly"} <= firing(), why="both alerts")


def test_promtool_accepts_the_rules_and_the_configuration_of_the_page(tmp_path: Path) -> None:
    write_files(PAGE, tmp_path)
    for kind, file in (("rules", "burn.yml"), ("config", "prometheus.yml")):
        done = subprocess.run(
            [backends.program("promtool"), "check", kind, str(tmp_path / file)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert 0 == done.returncode, done.stdout + done.stderr
