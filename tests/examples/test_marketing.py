"""The website."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

from bext_demo.goods import GOODS


def test_the_home_page_lists_every_coffee_with_the_apis_price(platform: TestClient) -> None:
    page = platform.get("/")
    assert 200 == page.status_code
    for good in GOODS:
        assert good.name in page.text
        assert f"{good.price_cents / 100:.2f}" in page.text


def test_a_product_page_is_rendered_once(platform: TestClient) -> None:
    first, second = platform.get("/products/guji-natural"), platform.get("/products/guji-natural")
    assert ("miss", "hit") == (first.headers["x-bext-cache"], second.headers["x-bext-cache"])
    assert first.text == second.text
    assert "Guji Natural" in first.text


def test_a_visitor_who_has_the_page_gets_304(platform: TestClient) -> None:
    etag = platform.get("/about").headers["etag"]
    again = platform.get("/about", headers={"if-none-match": etag})
    assert (304, b"", etag) == (again.status_code, again.content, again.headers["etag"])


@pytest.mark.parametrize("path", ["/nowhere", "/products/instant-coffee", "/static/nothing.css"])
def test_what_is_not_there_is_404_in_the_sites_own_words(platform: TestClient, path: str) -> None:
    page = platform.get(path)
    assert 404 == page.status_code
    assert "Back to the coffees" in page.text


def test_a_hostile_question_is_only_text(platform: TestClient) -> None:
    page = platform.get("/search", params={"q": "<script>alert('%_!')</script>"})
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "0 coffees" in page.text


def test_search_finds_by_notes_and_treats_wildcards_as_text(platform: TestClient) -> None:
    assert "Guji Natural" in platform.get("/search", params={"q": "blueberry"}).text
    assert "0 coffees" in platform.get("/search", params={"q": "%"}).text


@pytest.mark.parametrize(
    ("name", "status"), [("autumn-sale", 200), ("endless", 504), ("greedy", 500), ("broken", 500)]
)
def test_a_draft_hurts_nobody_but_itself(platform: TestClient, name: str, status: int) -> None:
    assert status == platform.get(f"/drafts/{name}").status_code
    assert 200 == platform.get("/about").status_code


def test_a_plugin_without_fuel_costs_the_variant_and_not_the_page(platform: TestClient) -> None:
    assert platform.get("/search", params={"q": "short"}).headers["x-variant"] in "ab"
    page = platform.get("/search", params={"q": "long " * 1000})
    assert 200 == page.status_code
    assert "x-variant" not in page.headers


def test_revalidation_drops_pages_and_says_how_many(platform: TestClient) -> None:
    platform.get("/")
    platform.get("/about")
    assert {"dropped": 2} == platform.post(
        "/revalidate", json={"paths": ["/about"], "tags": ["catalogue"]}
    ).json()
    assert "miss" == platform.get("/").headers["x-bext-cache"]


@pytest.mark.parametrize("body", ["", "[]", "{", "[" * 10_000])
def test_revalidation_refuses_what_it_does_not_understand(platform: TestClient, body: str) -> None:
    assert 400 == platform.post("/revalidate", content=body).status_code


def test_events_come_one_by_one_and_end(platform: TestClient) -> None:
    lines = platform.get("/events?count=2").text.split("\n")
    documents = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [1, 1] == [document["isolates"] for document in documents]


def test_the_websocket_tells_prices(platform: TestClient) -> None:
    with platform.websocket_connect("/prices") as socket:
        for slug, price in (("cold-front", 1320), ("nothing", None), ("../orders/1", None)):
            socket.send_text(slug)
            assert {"slug": slug, "price_cents": price} == socket.receive_json()
