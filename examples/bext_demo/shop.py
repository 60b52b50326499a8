"""What the shop knows, asked of its database. Amounts are in cents."""

from __future__ import annotations

import sqlite3
from typing import TypedDict

__all__ = [
    "MAX_ID",
    "Order",
    "Parcel",
    "PaymentProviderDownError",
    "Product",
    "Sales",
    "charge",
    "order",
    "orders",
    "pack",
    "pick",
    "place_order",
    "product",
    "products",
    "reserve",
    "sales",
    "search",
    "set_price",
    "ship",
]


MAX_ID = 2**63 - 1
"""The largest number of an order: SQLite holds none larger."""


class Product(TypedDict):
    """A coffee."""

    slug: str
    name: str
    origin: str
    notes: str
    price_cents: int
    hue: int


class Order(TypedDict):
    """An order; `state` is placed or paid."""

    id: int
    slug: str
    quantity: int
    cents: int
    state: str
    placed_at: str


class Parcel(TypedDict):
    """What leaves the house for an order; `grams` is 0 until it is packed."""

    order_id: int
    bags: int
    grams: int


class Sales(TypedDict):
    """What was sold of a product."""

    slug: str
    name: str
    orders: int
    bags: int
    cents: int


class PaymentProviderDownError(Exception):
    """The payment provider did not answer."""


_BAG_GRAMS = 260
_BOX_GRAMS = 120

_PRODUCT = "SELECT slug, name, origin, notes, price_cents, hue FROM products"
_ORDER = "SELECT id, slug, quantity, cents, state, placed_at FROM orders"


def products(cursor: sqlite3.Cursor) -> list[Product]:
    """Every product, by name."""
    return [_product(row) for row in cursor.execute(f"{_PRODUCT} ORDER BY name").fetchall()]


def product(cursor: sqlite3.Cursor, slug: str) -> Product | None:
    """The product with this address."""
    row = cursor.execute(f"{_PRODUCT} WHERE slug = ?", (slug,)).fetchone()
    return _product(row) if row else None


def search(cursor: sqlite3.Cursor, text: str) -> list[Product]:
    """Products whose name, origin or notes contain `text`, by name; at most 20."""
    like = f"%{_escaped(text)}%"
    where = "WHERE name LIKE ? ESCAPE '!' OR origin LIKE ? ESCAPE '!' OR notes LIKE ? ESCAPE '!'"
    return [
        _product(row)
        for row in cursor.execute(f"{_PRODUCT} {where} ORDER BY name LIMIT 20", (like, like, like)).fetchall()
    ]


def set_price(cursor: sqlite3.Cursor, slug: str, price_cents: int) -> bool:
    """Change a price (1 or more); whether there is such a product."""
    cursor.execute("UPDATE products SET price_cents = ? WHERE slug = ?", (price_cents, slug))
    return cursor.rowcount == 1


def orders(cursor: sqlite3.Cursor, *, limit: int) -> list[Order]:
    """The newest orders, newest first."""
    return [_order(row) for row in cursor.execute(f"{_ORDER} ORDER BY id DESC LIMIT ?", (limit,)).fetchall()]


def order(cursor: sqlite3.Cursor, order_id: int) -> Order | None:
    """The order with this number."""
    row = cursor.execute(f"{_ORDER} WHERE id = ?", (order_id,)).fetchone()
    return _order(row) if row else None


def place_order(cursor: sqlite3.Cursor, slug: str, quantity: int) -> Order | None:
    """A new order of 1 to 100 bags; None if there is no such product."""
    found = product(cursor, slug)
    if found is None:
        return None
    cents = quantity * found["price_cents"]
    cursor.execute("INSERT INTO orders (slug, quantity, cents) VALUES (?, ?, ?)", (slug, quantity, cents))
    return order(cursor, int(cursor.lastrowid or 0))


def reserve(cursor: sqlite3.Cursor, order: Order) -> None:
    """Hold an order's bags. An order whose payment failed holds them still, so doing it again changes
    nothing."""
    values = (order["id"], order["slug"], order["quantity"])
    cursor.execute("INSERT OR IGNORE INTO reservations (order_id, slug, quantity) VALUES (?, ?, ?)", values)


def charge(cursor: sqlite3.Cursor, order: Order) -> None:
    """Take the money for an order. The pretended provider is down for each seventh one."""
    if order["id"] % 7 == 0:
        raise PaymentProviderDownError("payment provider: no answer")
    cursor.execute("UPDATE orders SET state = 'paid' WHERE id = ?", (order["id"],))


def pick(cursor: sqlite3.Cursor, order_id: int) -> Parcel:
    """Take the order's bags from the shelf; LookupError if there is no such order any more."""
    found = order(cursor, order_id)
    if found is None:
        raise LookupError(f"no order {order_id}")
    return Parcel(order_id=order_id, bags=found["quantity"], grams=0)


def pack(parcel: Parcel) -> Parcel:
    """Put the bags into a box, and weigh it."""
    return {**parcel, "grams": _BOX_GRAMS + parcel["bags"] * _BAG_GRAMS}


def ship(cursor: sqlite3.Cursor, parcel: Parcel) -> None:
    """Hand the bags that were held to the carrier."""
    cursor.execute("DELETE FROM reservations WHERE order_id = ?", (parcel["order_id"],))


def sales(cursor: sqlite3.Cursor) -> list[Sales]:
    """What was sold of each product, best first."""
    rows = cursor.execute(
        "SELECT p.slug, p.name, COUNT(o.id), COALESCE(SUM(o.quantity), 0), COALESCE(SUM(o.cents), 0)"
        " FROM products p LEFT JOIN orders o ON o.slug = p.slug GROUP BY p.slug ORDER BY 5 DESC, p.name"
    ).fetchall()
    return [Sales(slug=row[0], name=row[1], orders=row[2], bags=row[3], cents=row[4]) for row in rows]


def _product(row: sqlite3.Row) -> Product:
    return Product(slug=row[0], name=row[1], origin=row[2], notes=row[3], price_cents=row[4], hue=row[5])


def _order(row: sqlite3.Row) -> Order:
    return Order(id=row[0], slug=row[1], quantity=row[2], cents=row[3], state=row[4], placed_at=row[5])


def _escaped(text: str) -> str:
    """Text in which LIKE sees no wildcard."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
