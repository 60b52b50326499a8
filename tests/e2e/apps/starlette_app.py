"""A plain Starlette application."""

import logging
import os

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

log = logging.getLogger("shop")


async def item(request: Request) -> Response:
    log.warning("item read", extra={"item": request.path_params["item"]})
    return JSONResponse({"pid": os.getpid()})


async def fail(request: Request) -> Response:
    raise RuntimeError("out of coffee")


async def headers(request: Request) -> Response:
    return JSONResponse(request.headers.items())


async def relay(request: Request) -> Response:
    async with httpx.AsyncClient() as client:
        answer = await client.get(os.environ["DOWNSTREAM"])
    return JSONResponse(answer.json())


inner = [Route("/items/{item}", item)]
app = Starlette(
    routes=[
        Route("/items/{item}", item, methods=["GET", "POST"]),
        Route("/fail", fail),
        Route("/headers", headers),
        Route("/relay", relay),
        Mount("/shop", routes=inner),
    ]
)
