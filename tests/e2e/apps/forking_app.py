"""A plain Starlette application that has helper processes compute something."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))


def item(request: Request) -> Response:
    return JSONResponse({"pid": os.getpid()})


def compute(request: Request) -> Response:
    return JSONResponse({"helpers": sorted({pool.submit(os.getpid).result() for _ in range(20)})})


app = Starlette(routes=[Route("/items/{item}", item), Route("/compute", compute)])
