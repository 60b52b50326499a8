"""The platform: three applications, one process, one ASGI server. Run it with `uvicorn --app-dir examples
bext_demo.asgi:app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import anyio.to_thread
import httpx
from a2wsgi import WSGIMiddleware
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from bext_demo import api, dashboard, facts, marketing
from bext_demo.cache import IsrCache
from bext_demo.compression import Compression
from bext_demo.database import Database
from bext_demo.fragments import Fragments
from bext_demo.fulfilment import Fulfilment
from bext_demo.isolates import IsolatePool
from bext_demo.loopback import Api, revalidate
from bext_demo.plugins import Plugin
from bext_demo.same_origin import SameOrigin
from bext_demo.settings import Settings

__all__ = ["app", "create_app"]


def create_app(
    settings: Settings | None = None, *, transport: httpx.AsyncBaseTransport | None = None
) -> Starlette:
    """The platform. `transport` stands in for the network between its applications in tests."""
    settings = settings or Settings.from_environment()
    database = Database(settings.data_dir)
    isolates = IsolatePool(
        marketing.TEMPLATES,
        size=settings.isolates,
        timeout_seconds=settings.render_timeout_seconds,
        memory_limit_bytes=settings.isolate_memory_bytes,
    )
    cache = IsrCache(
        max_bytes=settings.cache_bytes,
        fresh_seconds=settings.fresh_seconds,
        stale_seconds=settings.stale_seconds,
    )
    client = Api(transport)
    plugin = Plugin(fuel={"on_request": settings.request_fuel, "on_response": settings.response_fuel})
    fragments = Fragments(settings.redis_url)
    fulfilment = Fulfilment(database, settings.broker_url, settings.queue)
    flask = _asgi(dashboard.create_app(database, fragments=fragments, revalidate=revalidate))
    site = marketing.create_app(isolates=isolates, cache=cache, plugin=plugin, api=client)
    shop_api = api.create_app(
        database,
        fulfilment=fulfilment,
        report_seconds=settings.report_seconds,
        payment_seconds=settings.payment_seconds,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as parts:
            await anyio.to_thread.run_sync(database.start)
            parts.callback(database.close)
            await anyio.to_thread.run_sync(fragments.start)
            parts.callback(fragments.close)
            await anyio.to_thread.run_sync(fulfilment.start)
            parts.push_async_callback(anyio.to_thread.run_sync, fulfilment.close)
            plugin.start()
            parts.callback(plugin.close)
            with facts.deploy("marketing", marketing.VERSION) as deploy:
                with deploy.step("warm isolates"):
                    await isolates.start()
                    parts.push_async_callback(isolates.close)
                with deploy.step("warm cache"):
                    await marketing.warm(isolates, cache)
            await client.start()
            parts.push_async_callback(client.close)
            parts.push_async_callback(cache.close)
            parts.callback(
                facts.watch(
                    database=database.check,
                    isolates=lambda: {"active": isolates.active, "max": isolates.size},
                )
            )
            yield

    return Starlette(
        lifespan=lifespan,
        middleware=[Middleware(SameOrigin, hosts=settings.hosts)],
        routes=[
            Route("/dashboard", _to_dashboard),
            Mount("/dashboard", Compression(flask)),
            Mount("/api", Compression(shop_api)),
            Mount("/", Compression(site)),
        ],
    )


def _asgi(flask: Flask) -> ASGIApp:
    """The Flask application, in a few threads."""
    # The three libraries write the types of the same two protocols differently.
    return cast("ASGIApp", WSGIMiddleware(cast("Any", flask), workers=4))


async def _to_dashboard(_: Request) -> RedirectResponse:
    return RedirectResponse("/dashboard/", 308)


app = create_app()
