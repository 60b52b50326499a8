"""Demo traffic as data: visitors, shop software and staff, a little of everything that goes wrong, and no
request more than asked for."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from bext_demo.goods import GOODS

__all__ = ["KINDS", "Kind", "Request", "plan"]


@dataclass(frozen=True)
class Request:
    """What a client sends. `path` includes the query; `headers` hold every header that matters,
    `accept-encoding` always."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Kind:
    """A sort of request: the route that it means to reach, how often it comes among all others, and how to
    make one."""

    route: str
    weight: float
    make: Callable[[random.Random], Request]


_SLUGS = tuple(good.slug for good in GOODS)
# The first coffees of the list are asked for most, as in every shop.
_POPULARITY = tuple(1 / rank for rank in range(1, len(_SLUGS) + 1))
_QUESTIONS = ("chocolate", "ethiopia", "cherry", "house", "decaf", "apricot", "tobacco", "tea", "oat milk")
_MISSING = ("/wp-login.php", "/products/instant-coffee", "/blog", "/.env", "/products/pumpkin-spice")
_SEEDED_ORDERS = 40
_ENCODINGS = ("br, gzip", "gzip", "identity")
_ENCODING_WEIGHTS = (6, 3, 1)
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (iPhone) Mobile Safari",
    "shop-sync/3.2",
)


def _slug(chance: random.Random) -> str:
    return chance.choices(_SLUGS, _POPULARITY)[0]


def _order_id(chance: random.Random) -> int:
    return chance.randint(1, _SEEDED_ORDERS)


def _json(path: str, document: object) -> Request:
    return Request("POST", path, {"content-type": "application/json"}, json.dumps(document).encode())


def _get(path: str) -> Callable[[random.Random], Request]:
    return lambda _: Request("GET", path)


def _search(chance: random.Random) -> Request:
    return Request("GET", f"/search?{urlencode({'q': chance.choice(_QUESTIONS)})}")


def _long_search(_: random.Random) -> Request:
    """More than the plugin may chew: it runs out of fuel, and the visitor notices nothing."""
    return Request(
        "GET", f"/search?{urlencode({'q': 'a coffee that tastes like ' + 'very ' * 400 + 'good'})}"
    )


def _new_price(chance: random.Random) -> Request:
    good = chance.choice(GOODS)
    price = good.price_cents / 100 + chance.choice((-1, 0, 0.5, 1))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return Request(
        "POST",
        f"/dashboard/products/{good.slug}/price",
        headers,
        urlencode({"price": f"{price:.2f}"}).encode(),
    )


KINDS = (
    Kind("/", 14, _get("/")),
    Kind("/products/{slug}", 26, lambda chance: Request("GET", f"/products/{_slug(chance)}")),
    Kind("/search", 7, _search),
    Kind("/search", 0.5, _long_search),
    Kind("/about", 4, _get("/about")),
    Kind("/static", 5, _get("/static/site.css")),
    Kind("", 3, lambda chance: Request("GET", chance.choice(_MISSING))),
    Kind("/events", 1, lambda chance: Request("GET", f"/events?count={chance.randint(1, 5)}")),
    Kind("/drafts/{name}", 1, _get("/drafts/autumn-sale")),
    Kind("/drafts/{name}", 0.3, _get("/drafts/endless")),
    Kind("/drafts/{name}", 0.3, _get("/drafts/greedy")),
    Kind("/drafts/{name}", 0.4, _get("/drafts/broken")),
    Kind(
        "/revalidate",
        0.7,
        lambda chance: _json("/revalidate", {"paths": ["/", f"/products/{_slug(chance)}"]}),
    ),
    Kind("/api/products", 5, _get("/api/products")),
    Kind("/api/products/{slug}", 8, lambda chance: Request("GET", f"/api/products/{quote(_slug(chance))}")),
    Kind("/api/products", 0.5, lambda _: Request("DELETE", "/api/products")),
    Kind(
        "/api/search", 3, lambda chance: Request("GET", f"/api/search?q={quote(chance.choice(_QUESTIONS))}")
    ),
    Kind(
        "/api/orders",
        5,
        lambda chance: _json("/api/orders", {"slug": _slug(chance), "quantity": chance.randint(1, 4)}),
    ),
    Kind(
        "/api/orders", 0.5, lambda chance: _json("/api/orders", {"slug": _slug(chance), "quantity": "a lot"})
    ),
    Kind("/api/orders/{order_id:int}", 5, lambda chance: Request("GET", f"/api/orders/{_order_id(chance)}")),
    Kind(
        "/api/orders/{order_id:int}/payment",
        3,
        lambda chance: Request("POST", f"/api/orders/{_order_id(chance)}/payment"),
    ),
    Kind(
        "/api/orders/{order_id:int}/payment",
        0.5,
        lambda chance: Request("POST", f"/api/orders/{7 * chance.randint(1, 5)}/payment"),
    ),
    Kind("/api/orders.csv", 1, _get("/api/orders.csv")),
    Kind("/api/reports/sales", 1, _get("/api/reports/sales")),
    Kind("/dashboard/", 4, _get("/dashboard/")),
    Kind(
        "/dashboard/orders/<int:order_id>",
        3,
        lambda chance: Request("GET", f"/dashboard/orders/{_order_id(chance)}"),
    ),
    Kind("/dashboard/products/<slug>/price", 1, _new_price),
)
"""Every sort of request; the route is empty where none is meant to match."""


def plan(requests: int, seed: int) -> Iterator[Request]:
    """Exactly `requests` requests, the same ones for the same seed: each kind once in random order, then
    kinds by their weights."""
    chance = random.Random(seed)  # nosec B311  # traffic that can be repeated, no secret
    kinds = chance.sample(KINDS, len(KINDS))[:requests]
    kinds += chance.choices(KINDS, [kind.weight for kind in KINDS], k=max(0, requests - len(kinds)))
    for kind in kinds:
        request = kind.make(chance)
        encoding = chance.choices(_ENCODINGS, _ENCODING_WEIGHTS)[0]
        common = {"accept-encoding": encoding, "user-agent": chance.choice(_AGENTS)}
        yield Request(request.method, request.path, {**common, **request.headers}, request.body)
