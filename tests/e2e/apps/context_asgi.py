"""Logs at all places where the work of a request may be done."""

import asyncio
import concurrent.futures
import logging
import multiprocessing
import threading

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

_pool: concurrent.futures.Executor | None = None


def said(where: str) -> None:
    logging.getLogger("shop.context").warning(where)


async def said_later(where: str) -> None:
    said(where)


async def everywhere(request: Request) -> PlainTextResponse:
    global _pool
    _pool = _pool or concurrent.futures.ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context(request.path_params["method"])
    )
    said("request")
    await asyncio.create_task(said_later("task"))
    await asyncio.to_thread(said, "to_thread")
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, said, "executor")
    await loop.run_in_executor(_pool, said, "process")
    thread = threading.Thread(target=said, args=("thread",))
    thread.start()
    thread.join()
    loop.call_later(0.2, said, "later")
    return PlainTextResponse("ok", background=BackgroundTask(said, "after"))


async def crash(request: Request) -> PlainTextResponse:
    raise LookupError("gone")


app = Starlette(
    routes=[
        Mount("/in/{where}", routes=[Route("/every/{method}", everywhere)]),
        Route("/crash/{x}", crash),
    ]
)
