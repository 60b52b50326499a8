"""Applications of frameworks that bring their own servers: `python -m own_servers NAME PORT`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any


def aiohttp_application() -> Any:
    from aiohttp import web

    async def tea(request: Any) -> Any:
        return web.Response(text=f"tea {len(await request.read())}")

    async def fails(request: Any) -> Any:
        raise LookupError("no tea")

    app = web.Application()
    app.router.add_get("/first", tea)
    app.router.add_get("/tea/{number}", tea)
    app.router.add_get("/fails", fails)
    return app


async def aiohttp_factory() -> Any:
    return aiohttp_application()


async def serve_tornado(port: int) -> None:
    from tornado import web

    class Tea(web.RequestHandler):
        def get(self, number: str = "") -> None:
            self.write(f"tea {len(self.request.body)}")

    class Fails(web.RequestHandler):
        def get(self) -> None:
            raise LookupError("no tea")

    web.Application([(r"/first", Tea), (r"/tea/(?P<number>[0-9]+)", Tea), (r"/fails", Fails)]).listen(port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "aiohttp":
        from aiohttp import web

        web.run_app(aiohttp_application(), port=int(sys.argv[2]))
    else:
        asyncio.run(serve_tornado(int(sys.argv[2])))
