"""A page from a cache, compressed; and which libraries are imported."""

from __future__ import annotations

import sys
import threading

import cachetools
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

WATCHED = ("brotli_asgi", "cachetools", "django", "flask_caching", "flask_compress", "redis")

PAGES: cachetools.LRUCache[str, str] = cachetools.LRUCache(2, getsizeof=None)
TEXTS: cachetools.LRUCache[str, str] = cachetools.LRUCache(100_000, getsizeof=len)


@cachetools.cached(PAGES, lock=threading.Lock())
def page(item: str) -> str:
    return f"item {item}\n" * 1000


def item(request: Request) -> Response:
    name = request.path_params["item"]
    TEXTS[name] = page(name)
    return PlainTextResponse(TEXTS[name])


def imported(_: Request) -> Response:
    return JSONResponse([name for name in WATCHED if name in sys.modules])


def drop(_: Request) -> Response:
    PAGES.clear()
    return Response()


app = Starlette(
    routes=[
        Route("/items/{item}", item),
        Route("/imported", imported),
        Route("/drop", drop, methods=["POST"]),
    ],
    middleware=[Middleware(GZipMiddleware)],
)
