"""The dashboard, a mounted Flask application."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import pytest
from flask.testing import FlaskClient
from starlette.testclient import TestClient

from bext_demo import dashboard
from bext_demo.database import Database
from bext_demo.fragments import Fragments
from bext_demo.settings import Settings


def test_the_overview_shows_orders_and_links_below_its_mount(platform: TestClient) -> None:
    page = platform.get("/dashboard/")
    assert 200 == page.status_code
    assert 'href="/dashboard/orders/40"' in page.text
    assert 200 == platform.get("/dashboard/orders/40").status_code


def test_the_address_without_a_slash_leads_there(platform: TestClient) -> None:
    answer = platform.get("/dashboard")
    assert (308, "/dashboard/") == (answer.status_code, answer.headers["location"])


@pytest.mark.parametrize("path", ["/dashboard/orders/99999999999999999999", "/dashboard/nothing"])
def test_what_is_not_there_is_404(platform: TestClient, path: str) -> None:
    assert 404 == platform.get(path).status_code


class Shop:
    """The dashboard alone, and what it asked the website to render again."""

    def __init__(self, settings: Settings, *, website_is_up: bool) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self._website_is_up = website_is_up
        database = Database(settings.data_dir)
        database.start()
        self.client: FlaskClient = dashboard.create_app(
            database, fragments=Fragments(None), revalidate=self._revalidate
        ).test_client()

    def _revalidate(self, base: str, tags: Sequence[str]) -> None:
        if not self._website_is_up:
            raise httpx.ConnectError("refused")
        self.asked.append((base, tuple(tags)))

    def set_price(self, slug: str, price: str) -> int:
        scope = {"asgi.scope": {"server": ("127.0.0.1", 8123)}}
        return self.client.post(
            f"/products/{slug}/price", data={"price": price}, environ_overrides=scope
        ).status_code


def test_a_new_price_has_the_website_render_again(settings: Settings) -> None:
    shop = Shop(settings, website_is_up=True)
    assert 303 == shop.set_price("cold-front", "14,50")
    assert [("http://127.0.0.1:8123", ("product:cold-front", "catalogue"))] == shop.asked
    assert "14.50" in shop.client.get("/").text


def test_a_new_price_holds_while_the_website_is_away(settings: Settings) -> None:
    shop = Shop(settings, website_is_up=False)
    assert 303 == shop.set_price("cold-front", "14.50")
    assert "14.50" in shop.client.get("/").text


@pytest.mark.parametrize("price", ["", "free", "0", "-1", "nan", "inf", "1e9"])
def test_a_price_that_is_none_is_refused(settings: Settings, price: str) -> None:
    shop = Shop(settings, website_is_up=True)
    assert 422 == shop.set_price("cold-front", price)
    assert [] == shop.asked


def test_a_price_for_nothing_is_404(settings: Settings) -> None:
    assert 404 == Shop(settings, website_is_up=True).set_price("nothing", "1.00")
