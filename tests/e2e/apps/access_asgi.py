"""Answers whatever it is asked for."""

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


async def answer(request: Request) -> Response:
    word = request.path_params["word"]
    if word == "crash":
        raise LookupError("gone")
    if word == "slow":
        await asyncio.sleep(0.15)
    if word == "empty":
        return Response(status_code=204)
    return PlainTextResponse("x" * 4711)


app = Starlette(routes=[Route("/{word:path}", answer, methods=["GET", "POST"])])
