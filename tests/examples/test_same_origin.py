from __future__ import annotations

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from bext_demo.settings import Settings

ORDER = {"slug": "guji-natural", "quantity": 1}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://testserver"},
        {"origin": "https://testserver"},
        {"sec-fetch-site": "same-origin", "origin": "http://testserver"},
        {"sec-fetch-site": "none"},
    ],
)
def test_programs_and_pages_of_the_site_may_change_something(
    platform: TestClient, headers: dict[str, str]
) -> None:
    assert 201 == platform.post("/api/orders", json=ORDER, headers=headers).status_code
    price = platform.post("/dashboard/products/guji-natural/price", data={"price": "17"}, headers=headers)
    assert 303 == price.status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://testserver.evil.example"},
        {"origin": "http://testserver:81"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "http://testserver"},
    ],
)
def test_pages_elsewhere_may_not(platform: TestClient, headers: dict[str, str]) -> None:
    before = platform.get("/api/products/guji-natural").json()["price_cents"]
    for path in ("/api/orders", "/dashboard/products/guji-natural/price", "/revalidate"):
        reply = platform.post(path, content=b'{"slug": "guji-natural", "quantity": 1}', headers=headers)
        assert 403 == reply.status_code
    assert before == platform.get("/api/products/guji-natural").json()["price_cents"]
    assert 200 == platform.get("/api/products", headers=headers).status_code, "looking is free"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "", "testserver.evil.example", "[::1", "a@b:1:2"]
)
def test_another_name_is_not_answered(platform: TestClient, host: str) -> None:
    """Whoever owns it may have it point here, and its pages would be of the same origin."""
    for path in ("/", "/api/products", "/dashboard/"):
        assert 421 == platform.get(path, headers={"host": host}).status_code


@pytest.mark.parametrize(
    "host", ["testserver", "TESTSERVER:8000", "localhost:8000", "127.0.0.1", "[::1]:8000", "10.0.0.7:8000"]
)
def test_its_own_names_and_addresses_are(platform: TestClient, host: str) -> None:
    assert 200 == platform.get("/api/products", headers={"host": host}).status_code


def test_a_socket_is_for_pages_of_the_site(platform: TestClient) -> None:
    with platform.websocket_connect("/prices", headers={"origin": "http://testserver"}) as prices:
        prices.send_text("guji-natural")
        assert prices.receive_text()
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
        with pytest.raises(WebSocketDisconnect), platform.websocket_connect("/prices", headers=headers):
            pass


def test_names_are_chosen_by_the_operator() -> None:
    assert ("shop.example", "www.shop.example") == Settings.from_environment(
        {"DEMO_HOSTS": "shop.example, www.shop.example,"}
    ).hosts
