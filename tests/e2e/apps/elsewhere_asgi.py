"""A Starlette application that works in other threads and processes."""

import asyncio

from elsewhere import do, load
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def work(request: Request) -> Response:
    way, key = request.path_params["way"], str(request.url)
    if way == "run_in_executor":
        await asyncio.get_running_loop().run_in_executor(None, load, key)
    else:
        do(way, key)
    return JSONResponse({})


app = Starlette(routes=[Route("/{site}/{way}", work)])
