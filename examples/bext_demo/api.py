"""The API: products and orders as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from bext_demo import facts, shop
from bext_demo.database import Database
from bext_demo.fulfilment import Fulfilment

__all__ = ["create_app"]

_MAX_BODY_BYTES = 16 * 1024
_EXPORTED_ORDERS = 500
_EXPORT_CHUNK = 50


def create_app(
    database: Database, *, fulfilment: Fulfilment, report_seconds: float, payment_seconds: float
) -> Starlette:
    """The application, on this database, with how long the warehouse takes for the sales report and the
    payment provider for a payment."""
    api = _Api(database, fulfilment, report_seconds, payment_seconds)
    return Starlette(
        routes=[
            Route("/products", api.products),
            Route("/products/{slug}", api.product),
            Route("/search", api.search),
            Route("/orders", api.place_order, methods=["POST"]),
            Route("/orders.csv", api.export),
            Route("/orders/{order_id:int}", api.order),
            Route("/orders/{order_id:int}/payment", api.pay, methods=["POST"]),
            Route("/reports/sales", api.sales),
        ],
        exception_handlers={HTTPException: _refuse, Exception: _fail},
    )


class _Api:
    def __init__(
        self, database: Database, fulfilment: Fulfilment, report_seconds: float, payment_seconds: float
    ) -> None:
        self._database = database
        self._fulfilment = fulfilment
        self._payment_seconds = payment_seconds
        self._report_seconds = report_seconds

    async def products(self, _: Request) -> Response:
        return JSONResponse({"products": await self._database.ask(shop.products)})

    async def product(self, request: Request) -> Response:
        slug = request.path_params["slug"]
        return _found(
            await self._database.ask(lambda cursor: shop.product(cursor, slug)), f"no product {slug!r}"
        )

    async def search(self, request: Request) -> Response:
        text = request.query_params.get("q", "")[:100]
        return JSONResponse({"products": await self._database.ask(lambda cursor: shop.search(cursor, text))})

    async def place_order(self, request: Request) -> Response:
        slug, quantity = _wanted(await _json(request))
        order = await self._database.ask(lambda cursor: shop.place_order(cursor, slug, quantity))
        return _found(order, f"no product {slug!r}", status_code=201)

    async def order(self, request: Request) -> Response:
        order_id = _order_id(request)
        return _found(
            await self._database.ask(lambda cursor: shop.order(cursor, order_id)), f"no order {order_id}"
        )

    async def pay(self, request: Request) -> Response:
        """The payment provider's failures are nobody's to handle: they end as 500."""
        order_id = _order_id(request)
        order = await self._database.ask(lambda cursor: shop.order(cursor, order_id))
        if order is not None:
            async with facts.flow("order"):
                async with facts.step("reserve"):
                    await self._database.ask(partial(shop.reserve, order=order))
                async with facts.step("charge"):
                    await asyncio.sleep(self._payment_seconds)
                    await self._database.ask(partial(shop.charge, order=order))
            await anyio.to_thread.run_sync(self._fulfilment.begin, order_id)
            order = await self._database.ask(lambda cursor: shop.order(cursor, order_id))
        return _found(order, f"no order {order_id}")

    async def sales(self, _: Request) -> Response:
        await asyncio.sleep(self._report_seconds)
        return JSONResponse({"sales": await self._database.ask(shop.sales)})

    async def export(self, _: Request) -> Response:
        orders = await self._database.ask(lambda cursor: shop.orders(cursor, limit=_EXPORTED_ORDERS))
        return StreamingResponse(_csv(orders), media_type="text/csv")


async def _csv(orders: list[shop.Order]) -> AsyncIterator[str]:
    yield "id,slug,quantity,cents,state,placed_at\n"
    for start in range(0, len(orders), _EXPORT_CHUNK):
        chunk = orders[start : start + _EXPORT_CHUNK]
        yield "".join(
            f"{o['id']},{o['slug']},{o['quantity']},{o['cents']},{o['state']},{o['placed_at']}\n"
            for o in chunk
        )
        await asyncio.sleep(0)


async def _json(request: Request) -> object:
    """The body as JSON; 413 if it is too long, 400 if it is none."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise HTTPException(413, f"a body has at most {_MAX_BODY_BYTES} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON") from None


def _wanted(body: object) -> tuple[str, int]:
    """Slug and quantity of an order; 422 if it isn't one."""
    match body:
        case {"slug": str(slug), "quantity": int(quantity)} if slug.isascii() and 1 <= quantity <= 100:
            return slug, quantity
    raise HTTPException(422, 'an order is {"slug": a product\'s, "quantity": 1 to 100}')


def _order_id(request: Request) -> int:
    return min(int(request.path_params["order_id"]), shop.MAX_ID)


def _found(document: shop.Product | shop.Order | None, otherwise: str, *, status_code: int = 200) -> Response:
    if document is None:
        raise HTTPException(404, otherwise)
    return JSONResponse(document, status_code=status_code)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)


async def _fail(_: Request, __: Exception) -> Response:
    """The answer to an exception that nobody handled. The server hangs up after it, and the client had better
    know."""
    return JSONResponse({"error": "internal error"}, status_code=500, headers={"connection": "close"})
