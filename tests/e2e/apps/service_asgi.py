"""A plain Starlette application, one of a service's workers."""

import os

from measured import nested, work
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def item(request: Request) -> Response:
    return JSONResponse({"pid": os.getpid()})


async def fail(request: Request) -> Response:
    return JSONResponse({"pid": os.getpid()}, status_code=500)


async def worked(request: Request) -> Response:
    return JSONResponse(work())


def nests(request: Request) -> Response:
    return JSONResponse(nested())


app = Starlette(
    routes=[
        Route("/items/{item}", item),
        Route("/fail", fail),
        Route("/work", worked),
        Route("/nested", nests),
    ]
)
