"""A plain FastAPI application."""

import logging
import os

import httpx
from fastapi import APIRouter, FastAPI, Request

log = logging.getLogger("shop")
app = FastAPI()
shop = APIRouter(prefix="/shop")


@app.get("/items/{item}")
@shop.get("/items/{item}")
def item(item: str) -> dict[str, int]:
    log.warning("item read", extra={"item": item})
    return {"pid": os.getpid()}


@app.get("/fail")
def fail() -> None:
    raise RuntimeError("out of coffee")


@app.get("/headers")
def headers(request: Request) -> list[tuple[str, str]]:
    return request.headers.items()


@app.get("/relay")
async def relay() -> object:
    async with httpx.AsyncClient() as client:
        return (await client.get(os.environ["DOWNSTREAM"])).json()


app.include_router(shop)
