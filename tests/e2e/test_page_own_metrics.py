"""docs/own-metrics.md, done by what it says: two workers, and what it promises of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.launching import SCRIPTS, Launched, launched
from tests.pages import blocks, write_files
from tests.waiting import until

pytestmark = pytest.mark.e2e

PAGE = "own-metrics.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    assert ["facts.py", "app.py", "bext.config.toml"] == write_files(PAGE, folder)
    return folder


@pytest.fixture(scope="module")
def shop(folder: Path) -> Iterator[Launched]:
    env = {"OTEL_SERVICE_NAME": "shop"}
    with launched(
        folder, "uvicorn app:app --workers 2 --port {port}", env=env, path="/docs", first=(str(folder),)
    ) as program:
        for country in ("de", "de", "fr", "de", "xx"):
            httpx.post(f"{program.url}/orders/pro?country={country}", trust_env=False, timeout=20)
        yield program


def test_what_the_page_shows_is_on_the_metrics_page(shop: Launched) -> None:
    def found() -> dict[str, float] | None:
        samples = shop.metrics()
        done = samples.get('shop_checkout_duration_seconds_count{plan="pro"}') == 5
        counted = [
            value for name, value in samples.items() if name.startswith('shop_orders_total{plan="pro"')
        ]
        return samples if done and 4 == sum(counted) else None

    samples = until(found, why="five checkouts of both workers, and four orders")
    assert 3 == samples['shop_orders_total{plan="pro",country="de"}']
    assert 1 == samples['shop_orders_total{plan="pro",country="fr"}']
    assert 12.5 == pytest.approx(samples['shop_basket_value{plan="pro",quantile="0.99"}'], rel=0.01)
    assert samples["shop_baskets_open"] in {1, 2}  # of as many workers as have answered
    assert 1 == samples['shop_checkout_errors_total{plan="pro",error_type="LookupError"}']
    assert 0 < samples['shop_checkout_duration_seconds{plan="pro",quantile="0.99"}'] < 60


def test_a_budget_of_the_file_holds_and_is_counted(shop: Launched) -> None:
    """Of 26 countries, 20 are shown, in both workers together."""
    for letter in "abcdefghijklmnopqrstuvwxyz":
        answer = httpx.post(f"{shop.url}/orders/free?country={letter}", trust_env=False, timeout=20)
        assert 200 == answer.status_code
    httpx.post(f"{shop.url}/orders/gold", trust_env=False, timeout=20)

    def found() -> dict[str, float] | None:
        samples = shop.metrics()
        mine = {name: value for name, value in samples.items() if name.startswith("shop_orders_total")}
        free = {name: value for name, value in mine.items() if 'plan="free"' in name}
        return samples if 26 == sum(free.values()) else None

    samples = until(found, why="26 free orders")
    countries = {
        name.partition('country="')[2].partition('"')[0]
        for name in samples
        if name.startswith("shop_orders_total")
    }
    assert 21 >= len(countries)
    assert "otel.metric.overflow" in countries
    assert 1 == samples['shop_orders_total{plan="otel.metric.overflow",country="de"}']
    assert 0 < samples['bext_otel_label_overflow_total{label="country"}']


def test_the_json_document_has_them_and_the_routes(shop: Launched) -> None:

    def found() -> dict[str, Any] | None:
        document: dict[str, Any] = shop.endpoint("/metrics?format=json").json()
        route = document["telemetry"].get("routes", {}).get("shop", {}).get("/orders/{plan}")
        return document if route is not None and route["errors"] else None

    document = until(found, why="the request that failed, whichever worker had it")
    orders = document["telemetry"]["metrics"]["shop_orders_total"]
    assert ("counter", "{order}") == (orders["type"], orders["unit"])
    assert "quantiles" in document["telemetry"]["metrics"]["shop_checkout_duration_seconds"]["series"][0]
    route = document["telemetry"]["routes"]["shop"]["/orders/{plan}"]
    assert route["errors"] >= 1
    assert route["total"] > route["errors"]


def test_the_catalogue_lists_them(folder: Path) -> None:
    done = subprocess.run(
        [f"{SCRIPTS}/bext-otel", "catalogue", "--module", "facts"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert (
        "| `shop_orders_total` | counter | `plan`, `country` | order | added up | Orders placed. |"
        in done.stdout
    )
    assert "| `country` | `shop_orders_total` | up to 50 |" in done.stdout
    assert "| `shop.checkout` |" in done.stdout


def test_the_files_of_the_page_are_what_it_shows() -> None:
    assert 2 == len(blocks(PAGE, "python"))
