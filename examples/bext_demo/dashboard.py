"""The dashboard: a Flask application that was there before the platform, mounted as it is."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import httpx
from flask import Flask, abort, redirect, render_template, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from bext_demo import shop
from bext_demo.database import Database
from bext_demo.fragments import Fragments
from bext_demo.loopback import base_url

__all__ = ["create_app"]

log = logging.getLogger(__name__)

_SHOWN_ORDERS = 12
_PRICES = "prices"
_MAX_PRICE = 10_000.0


def create_app(
    database: Database, *, fragments: Fragments, revalidate: Callable[[str, Sequence[str]], None]
) -> Flask:
    """The application, on this database, with its list of prices among these fragments.

    `revalidate(base, tags)` has the website at `base` render the pages with these tags again; it raises
    httpx.HTTPError if it can't.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 16 * 1024
    app.add_template_filter(_price, "price")

    @app.get("/")
    def overview() -> str:
        with database.transaction() as cursor:
            sales = shop.sales(cursor)
            orders = shop.orders(cursor, limit=_SHOWN_ORDERS)

        def prices() -> str:
            bags = {row["slug"]: row["bags"] for row in sales}
            return render_template("prices.html", products=database.run(shop.products), bags=bags)

        revenue = sum(row["cents"] for row in sales)
        rendered = fragments.get(_PRICES, prices)
        safe = Markup(rendered)  # noqa: S704  # nosec B704  # escaped where the template was rendered
        return render_template(
            "overview.html",
            sales=sales,
            orders=orders,
            revenue=revenue,
            prices=safe,
        )

    @app.get("/orders/<int:order_id>")
    def order(order_id: int) -> str:
        found = database.run(lambda cursor: shop.order(cursor, min(order_id, shop.MAX_ID)))
        return render_template("order.html", order=found or abort(404))

    @app.post("/products/<slug>/price")
    def set_price(slug: str) -> Response:
        cents = _cents(request.form.get("price", ""))
        if cents is None:
            abort(422, f"A price is a number from 0.01 to {_MAX_PRICE:.0f}.")
        if not database.run(lambda cursor: shop.set_price(cursor, slug, cents)):
            abort(404)
        fragments.drop(_PRICES)
        try:
            revalidate(
                base_url(request.environ["asgi.scope"].get("server")), (f"product:{slug}", "catalogue")
            )
        except httpx.HTTPError as error:
            log.warning("the website shows the old price until its page is stale: %s", type(error).__name__)
        return redirect(url_for("overview"), 303)

    return app


def _price(cents: int) -> str:
    return f"€ {cents / 100:,.2f}"


def _cents(text: str) -> int | None:
    """A price in cents, None if the text is none."""
    try:
        price = float(text.replace(",", "."))
    except ValueError:
        return None
    return round(price * 100) if math.isfinite(price) and 0.01 <= price <= _MAX_PRICE else None
