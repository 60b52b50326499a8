"""The application of `benchmarks.soak`: requests, spans and records without end."""

from __future__ import annotations

import gc
import logging
import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

_log = logging.getLogger("shop")


async def item(request: Request) -> PlainTextResponse:
    """A page that logs a line."""
    _log.warning("item %s", request.path_params["item"])
    return PlainTextResponse("item")


async def objects(request: Request) -> JSONResponse:
    """How many objects the collector of garbage knows in this worker, once it has looked."""
    gc.collect()
    return JSONResponse({"pid": os.getpid(), "objects": len(gc.get_objects())})


app = Starlette(routes=[Route("/items/{item}", item), Route("/objects", objects)])
