"""aiohttp.web, at the port that is named."""

import sys

from aiohttp import web


async def answer(request: web.Request) -> web.Response:
    return web.Response(text="hello")


app = web.Application()
app.router.add_get("/items/{word}", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
