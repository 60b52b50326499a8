"""The API."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from starlette.testclient import TestClient

from bext_demo.settings import Settings
from tests.waiting import until


def test_products_have_prices(platform: TestClient) -> None:
    products = platform.get("/api/products").json()["products"]
    assert 12 == len(products)
    assert 1690 == platform.get("/api/products/guji-natural").json()["price_cents"]


def test_an_order_is_placed_found_and_paid(platform: TestClient) -> None:
    placed = platform.post("/api/orders", json={"slug": "cold-front", "quantity": 2})
    assert 201 == placed.status_code
    order = placed.json()
    assert (2640, "placed") == (order["cents"], order["state"])
    assert order == platform.get(f"/api/orders/{order['id']}").json()
    assert "paid" == platform.post(f"/api/orders/{order['id']}/payment").json()["state"]


def test_the_payment_provider_is_down_for_each_seventh_order(platform: TestClient) -> None:
    before = platform.get("/api/orders/21").json()
    assert 500 == platform.post("/api/orders/21/payment").status_code
    assert before == platform.get("/api/orders/21").json()


def test_bags_are_held_until_they_are_shipped(platform: TestClient, settings: Settings) -> None:
    assert [500, 500, 200] == [
        platform.post(f"/api/orders/{order_id}/payment").status_code for order_id in (21, 21, 22)
    ]
    assert settings.data_dir is not None
    with closing(sqlite3.connect(settings.data_dir / "shop.sqlite3")) as connection:
        until(
            lambda: [(21,)] == connection.execute("SELECT order_id FROM reservations").fetchall(),
            why="order 22 to be shipped",
        )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"not json", 400),
        (b"[" * 10_000, 400),
        (b"[]", 422),
        (b'{"slug": "cold-front", "quantity": 0}', 422),
        (b'{"slug": "cold-front", "quantity": "2"}', 422),
        (b'{"slug": "\\ud83d", "quantity": 1}', 422),
        (b'{"slug": "instant", "quantity": 1}', 404),
        (b" " * 20_000, 413),
    ],
)
def test_an_order_that_is_none_is_refused_with_the_reason(
    platform: TestClient, body: bytes, status: int
) -> None:
    answer = platform.post("/api/orders", content=body)
    assert status == answer.status_code
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "path", ["/api/orders/0", "/api/orders/99999999999999999999999", "/api/products/nothing", "/api/nothing"]
)
def test_what_is_not_there_is_404(platform: TestClient, path: str) -> None:
    assert 404 == platform.get(path).status_code


def test_a_wrong_method_is_405(platform: TestClient) -> None:
    assert 405 == platform.delete("/api/products").status_code


def test_the_export_has_a_line_for_each_order(platform: TestClient) -> None:
    lines = platform.get("/api/orders.csv").text.splitlines()
    assert "id,slug,quantity,cents,state,placed_at" == lines[0]
    assert 41 == len(lines)


def test_the_sales_report_covers_every_product(platform: TestClient) -> None:
    sales = platform.get("/api/reports/sales").json()["sales"]
    assert (12, 40) == (len(sales), sum(row["orders"] for row in sales))
