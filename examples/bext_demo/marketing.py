"""The website: pages rendered in V8 isolates, kept by incremental static regeneration."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from bext_demo.cache import IsrCache, Rendered
from bext_demo.isolates import IsolatePool, PoolBusyError, RenderError, RenderTimeoutError
from bext_demo.loopback import Api, ApiError, base_url
from bext_demo.plugins import Plugin, PluginError, PluginMiddleware

__all__ = ["TEMPLATES", "VERSION", "create_app", "warm"]

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent

TEMPLATES = (_HERE / "pages.js").read_text(encoding="utf-8")
"""The script that renders pages: `render(page, props)` returns HTML."""

VERSION = "2026.11.2"
"""Of the website."""

_CATALOGUE = "catalogue"
_ABOUT = "/about"
_MAX_EVENTS = 20
_EVENT_SECONDS = 0.1
_MAX_QUESTIONS = 100
_IDLE_SECONDS = 30.0
_MAX_NAMES = 100


def create_app(*, isolates: IsolatePool, cache: IsrCache, plugin: Plugin, api: Api) -> Starlette:
    """The application, on these parts; whoever made them starts and closes them."""
    site = _Site(isolates, cache, plugin, api)
    return Starlette(
        routes=[
            Route("/", site.home),
            Route("/about", site.about),
            Route("/products/{slug}", site.product),
            Route("/search", site.search),
            Route("/drafts/{name}", site.draft),
            Route("/events", site.events),
            Route("/revalidate", site.revalidate, methods=["POST"]),
            WebSocketRoute("/prices", site.prices),
            Mount("/static", StaticFiles(directory=_HERE / "static"), name="static"),
        ],
        middleware=[Middleware(PluginMiddleware, plugin=plugin)],
        exception_handlers={HTTPException: site.refuse, RenderError: site.unrendered, ApiError: site.no_api},
    )


async def warm(isolates: IsolatePool, cache: IsrCache) -> None:
    """Render what needs no other application, none of which can be reached while the server starts."""
    await cache.get(_ABOUT, partial(_about, isolates))


async def _about(isolates: IsolatePool) -> Rendered:
    return Rendered(await isolates.render("about", {}))


class _Site:
    def __init__(self, isolates: IsolatePool, cache: IsrCache, plugin: Plugin, api: Api) -> None:
        self._isolates = isolates
        self._cache = cache
        self._plugin = plugin
        self._api = api

    async def home(self, request: Request) -> Response:
        async def render() -> Rendered:
            products = await self._api.products(_base(request))
            return Rendered(
                await self._isolates.render("home", {"products": products}), frozenset({_CATALOGUE})
            )

        return await self._cached(request, "/", render)

    async def about(self, request: Request) -> Response:
        return await self._cached(request, _ABOUT, partial(_about, self._isolates))

    async def product(self, request: Request) -> Response:
        slug = request.path_params["slug"]

        async def render() -> Rendered:
            product = await self._api.product(_base(request), quote(slug, safe=""))
            if product is None:
                raise HTTPException(404, "There is no such coffee.")
            return Rendered(
                await self._isolates.render("product", {"product": product}), frozenset({f"product:{slug}"})
            )

        return await self._cached(request, f"/products/{slug}", render)

    async def search(self, request: Request) -> Response:
        """Every question is another page, so none is kept."""
        text = request.query_params.get("q", "")[:100]
        products = await self._api.search(_base(request), text) if text else []
        html = await self._isolates.render("search", {"text": text, "products": products})
        return self._html(request, html, {"x-bext-cache": "bypass"})

    async def draft(self, request: Request) -> Response:
        """A page that an author is still working on: its template may be wrong in every way."""
        html = await self._isolates.render("draft", {"name": request.path_params["name"]})
        return self._html(request, html, {"x-bext-cache": "bypass", "cache-control": "no-store"})

    async def events(self, request: Request) -> Response:
        """Server-sent events: how the site is doing, `count` (1 to 20, default 5) times."""
        raw = request.query_params.get("count", "5")
        count = min(int(raw), _MAX_EVENTS) if raw.isdecimal() and len(raw) < 5 else 5

        async def events() -> AsyncIterator[str]:
            for number in range(1, count + 1):
                facts = {
                    "pages": len(self._cache),
                    "bytes": self._cache.size_bytes,
                    "isolates": self._isolates.active,
                }
                yield f"id: {number}\ndata: {json.dumps(facts)}\n\n"
                await asyncio.sleep(_EVENT_SECONDS)

        return StreamingResponse(
            events(), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    async def prices(self, socket: WebSocket) -> None:
        """Each message is a product's slug, each reply its price now. Ends after 100 questions, or 30 seconds
        without one."""
        await socket.accept()
        try:
            for _ in range(_MAX_QUESTIONS):
                slug = await asyncio.wait_for(socket.receive_text(), _IDLE_SECONDS)
                product = await self._api.product(
                    base_url(socket.scope.get("server")), quote(slug[:100], safe="")
                )
                await socket.send_json(
                    {"slug": slug[:100], "price_cents": product["price_cents"] if product else None}
                )
            await socket.close(1000)
        except WebSocketDisconnect:
            return
        except (asyncio.TimeoutError, ApiError):
            await socket.close(1001)

    async def revalidate(self, request: Request) -> Response:
        """Drop pages: `{"paths": [...], "tags": [...]}`, either may be missing; answers how many there
        were."""
        wanted = await _json(request)
        dropped = self._cache.invalidate(paths=_names(wanted.get("paths")), tags=_names(wanted.get("tags")))
        return JSONResponse({"dropped": dropped})

    async def _cached(
        self, request: Request, path: str, render: Callable[[], Awaitable[Rendered]]
    ) -> Response:
        page, outcome = await self._cache.get(path, render)
        return self._html(request, page.html, {"x-bext-cache": outcome})

    def _html(
        self, request: Request, html: str, headers: Mapping[str, str], status_code: int = 200
    ) -> Response:
        """A page, or 304 if the visitor has it already. A plugin that fails costs the entity tag, not the
        page."""
        page = HTMLResponse(html, status_code, headers)
        try:
            etag = f'W/"{self._plugin.call("on_response", bytes(page.body)):08x}"'
        except PluginError as error:
            log.error("plugin failed: %s", error)
            return page
        if status_code == 200 and request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={**headers, "etag": etag})
        page.headers["etag"] = etag
        return page

    async def refuse(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return await self._message(request, error.status_code, error.detail, error.headers or {})

    async def unrendered(self, request: Request, error: Exception) -> Response:
        log.error("render failed: %s", error)
        status_code = (
            504 if isinstance(error, RenderTimeoutError) else 503 if isinstance(error, PoolBusyError) else 500
        )
        return HTMLResponse(
            "<!doctype html><title>Sorry</title><h1>This page could not be made.</h1>", status_code
        )

    async def no_api(self, request: Request, error: Exception) -> Response:
        log.error("page without data: %s", error)
        return await self._message(request, 502, "The shop's data could not be reached.", {})

    async def _message(
        self, request: Request, status_code: int, text: str, headers: Mapping[str, str]
    ) -> Response:
        html = await self._isolates.render("message", {"status": status_code, "text": text})
        return self._html(request, html, headers, status_code)


def _base(request: Request) -> str:
    return base_url(request.scope.get("server"))


async def _json(request: Request) -> Mapping[str, Any]:
    if int(request.headers.get("content-length", "0") or 0) > 16 * 1024:
        raise HTTPException(413, "Too long.")
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise HTTPException(400, "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "The body is no JSON object.")
    return body


def _names(value: object) -> list[str]:
    """The texts of a list, at most 100."""
    return [name for name in value[:_MAX_NAMES] if isinstance(name, str)] if isinstance(value, list) else []
