"""Run as a program: the same requests through upstream's instrumentation, ours and both; prints the server
spans as JSON, and what the standard duration was recorded with.

In a process of its own, since upstream reads `OTEL_SEMCONV_STABILITY_OPT_IN` once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.trace import ReadableSpan

from bext_otel.catalogue import HTTP_SERVER_REQUEST_DURATION
from bext_otel.operation import Settings, use
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import Header, ask, ask_wsgi

CLIENT_PORTS = {"client.port", "network.peer.port"}

REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {"path": "/items/7"},
    "user agent": {"path": "/items/7", "headers": [("user-agent", "curl/8")]},
    "query": {"path": "/items/7", "query": "page=2"},
    "secret in the query": {"path": "/items/7", "query": "page=2&token=abc&sig=x"},
    "parent": {
        "path": "/items/7",
        "headers": [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")],
    },
    "not found": {"path": "/missing"},
    "wrong method": {"path": "/items/7", "method": "DELETE"},
    "post": {"path": "/items/7", "method": "POST", "headers": [("content-length", "2")]},
    "head": {"path": "/items/7", "method": "HEAD"},
    "unknown method": {"path": "/items/7", "method": "BREW"},
    "failure": {"path": "/fail"},
    "unavailable": {"path": "/unavailable"},
    "mounted": {"path": "/sub/x/1"},
}


def durations(telemetry: Telemetry) -> Counter[str]:
    """How often `http.server.request.duration` was recorded, by its attributes."""
    found: Counter[str] = Counter()
    for point in telemetry.every_point(HTTP_SERVER_REQUEST_DURATION):
        found[json.dumps(dict(point.attributes), sort_keys=True)] += point.count
    return found


def shown(span: ReadableSpan) -> dict[str, Any]:
    return {
        "name": span.name,
        "kind": span.kind.name,
        "status": span.status.status_code.name,
        "parent": None if span.parent is None else f"{span.parent.trace_id:032x}",
        "attributes": {
            name: "PORT" if name in CLIENT_PORTS else value for name, value in (span.attributes or {}).items()
        },
        "children": 0,
    }


def run(app: Any, drive: Callable[..., Any], telemetry: Telemetry) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, request in REQUESTS.items():
        telemetry.clear()
        before = durations(telemetry)
        with contextlib.suppress(LookupError):
            drive(app, **request)
        servers = telemetry.servers()
        if not servers:
            continue
        found[name] = shown(servers[-1])  # the outermost one ends last
        found[name]["servers"] = len(servers)
        found[name]["children"] = len(telemetry.spans()) - len(servers)
        recorded = durations(telemetry) - before
        found[name]["recorded"] = recorded.total()
        found[name]["duration"] = [json.loads(attributes) for attributes in recorded]
    return found


def wire(path: str, method: str = "GET", query: str = "", headers: Sequence[Header] = ()) -> bytes:
    """A request as it goes over a connection."""
    target = f"{path}?{query}" if query else path
    lines = [("host", "shop.example:8000"), *headers, ("connection", "close")]
    head = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in lines), "", ""]
    return "\r\n".join(head).encode() + b"x" * int(dict(headers).get("content-length", 0))


async def exchange(port: int, request: bytes) -> None:
    """Send it and read the answer to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await reader.read()
    writer.close()
    await writer.wait_closed()


def ask_tornado(app: Any, **request: Any) -> None:
    from tornado import httpserver, testing

    async def asking() -> None:
        listening, port = testing.bind_unused_port()
        server = httpserver.HTTPServer(app)
        server.add_socket(listening)
        await exchange(port, wire(**request))
        server.stop()
        await server.close_all_connections()

    asyncio.run(asking())


def ask_aiohttp(make: Callable[[], Any], **request: Any) -> None:
    """`make`: an application is of one loop."""
    from aiohttp import web

    async def asking() -> None:
        runner = web.AppRunner(make(), handle_signals=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await exchange(runner.addresses[0][1], wire(**request))
        await runner.cleanup()

    asyncio.run(asking())


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    async def item(_: Any) -> PlainTextResponse:
        return PlainTextResponse("x")

    async def fail(_: Any) -> PlainTextResponse:
        raise LookupError("lost")

    async def unavailable(_: Any) -> PlainTextResponse:
        return PlainTextResponse("x", 503)

    return Starlette(
        routes=[
            Route("/items/{item}", item, methods=["GET", "POST"]),
            Route("/fail", fail),
            Route("/unavailable", unavailable),
            Mount("/sub", routes=[Route("/x/{y}", item)]),
        ]
    )


def flask() -> Any:
    from flask import Flask

    app = Flask(__name__)
    app.add_url_rule("/items/<item>", "item", lambda item: "x", methods=["GET", "POST"])
    app.add_url_rule("/unavailable", "unavailable", lambda: ("x", 503))
    app.add_url_rule("/sub/x/<y>", "sub", lambda y: "x")

    @app.route("/fail")
    def fail() -> str:
        raise LookupError("lost")

    return app


def falcon() -> Any:
    import falcon

    class Item:
        def on_get(self, request: Any, response: Any, **_: str) -> None:
            response.text = "x"

        on_post = on_get

    class Fail:
        def on_get(self, request: Any, response: Any) -> None:
            raise LookupError("lost")

    class Unavailable:
        def on_get(self, request: Any, response: Any) -> None:
            response.status = falcon.HTTP_503

    app = falcon.App()
    app.add_route("/items/{item}", Item())
    app.add_route("/sub/x/{y}", Item())
    app.add_route("/fail", Fail())
    app.add_route("/unavailable", Unavailable())
    return app


def pyramid() -> Any:
    from pyramid.config import Configurator
    from pyramid.response import Response

    def item(_: Any) -> Any:
        return Response("x")

    def fail(_: Any) -> Any:
        raise LookupError("lost")

    config = Configurator()
    for name, pattern, view, methods in (
        ("item", "/items/{item}", item, ("GET", "HEAD", "POST")),
        ("sub", "/sub/x/{y}", item, None),
        ("fail", "/fail", fail, None),
        ("unavailable", "/unavailable", lambda _: Response("x", status=503), None),
    ):
        config.add_route(name, pattern, request_method=methods)
        config.add_view(view, route_name=name)
    return config.make_wsgi_app()


def tornado() -> Any:
    from tornado import routing, web

    class Item(web.RequestHandler):
        def get(self, *_: str) -> None:
            self.write("x")

        head = post = get

    class Fail(web.RequestHandler):
        def get(self) -> None:
            raise LookupError("lost")

    class Unavailable(web.RequestHandler):
        def get(self) -> None:
            self.set_status(503)

    inner = web.Application([(r"/sub/x/([^/]+)", Item)])
    return web.Application(
        [
            (r"/items/([^/]+)", Item),
            (r"/fail", Fail),
            (r"/unavailable", Unavailable),
            routing.Rule(routing.PathMatches("/sub/.*"), inner),
        ]
    )


def aiohttp() -> Any:
    from aiohttp import web

    async def item(_: Any) -> Any:
        return web.Response(text="x")

    async def fail(_: Any) -> Any:
        raise LookupError("lost")

    async def unavailable(_: Any) -> Any:
        return web.Response(status=503)

    inner = web.Application()
    inner.router.add_get("/x/{y}", item)
    app = web.Application()
    app.router.add_get("/items/{item}", item)
    app.router.add_post("/items/{item}", item)
    app.router.add_get("/fail", fail)
    app.router.add_get("/unavailable", unavailable)
    app.add_subapp("/sub", inner)
    return app


async def bare_asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/fail":
        raise LookupError("lost")
    status = {"/missing": 404, "/unavailable": 503}.get(scope["path"], 200)
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


def bare_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/fail":
        raise LookupError("lost")
    start_response({"/missing": "404 No", "/unavailable": "503 No"}.get(environ["PATH_INFO"], "200 OK"), [])
    return [b"x"]


Sides = dict[str, dict[str, Any]]


def by_instrumentors(
    upstream: Any, ours: Any, make: Callable[[], Any], drive: Callable[..., Any], telemetry: Telemetry
) -> Sides:
    """Both instrumentors, each alone and together."""
    upstream.instrument()
    theirs = run(make(), drive, telemetry)
    ours.instrument()
    both = run(make(), drive, telemetry)
    upstream.uninstrument()
    return {"upstream": theirs, "ours": run(make(), drive, telemetry), "both": both}


def by_wrapping(
    upstream: Callable[[Any], Any],
    ours: Callable[[Any], Any],
    app: Any,
    drive: Callable[..., Any],
    telemetry: Telemetry,
) -> Sides:
    """Both middlewares, each alone, and upstream's within ours."""
    return {
        "upstream": run(upstream(app), drive, telemetry),
        "ours": run(ours(app), drive, telemetry),
        "both": run(ours(upstream(app)), drive, telemetry),
    }


def of_asgi(telemetry: Telemetry, providers: dict[str, Any]) -> Sides:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
    from bext_otel_instrumentors.http.upstream_within import ASGIWithin

    theirs = run(OpenTelemetryMiddleware(starlette(), **providers), ask, telemetry)
    StarletteInstrumentor().instrument()
    ASGIWithin().instrument()
    within = starlette()
    within.add_middleware(OpenTelemetryMiddleware, **providers)
    return {
        "upstream": theirs,
        "ours": run(starlette(), ask, telemetry),
        "both": run(within, ask, telemetry),
    }


def of_bare_asgi(telemetry: Telemetry, providers: dict[str, Any]) -> Sides:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    from bext_otel_instrumentors.http.asgi import ASGIMiddleware
    from bext_otel_instrumentors.http.upstream_within import ASGIWithin

    ASGIWithin().instrument()
    return by_wrapping(
        partial(OpenTelemetryMiddleware, **providers), ASGIMiddleware, bare_asgi, ask, telemetry
    )


def of_bare_wsgi(telemetry: Telemetry, providers: dict[str, Any]) -> Sides:
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

    from bext_otel_instrumentors.http.upstream_within import WSGIWithin
    from bext_otel_instrumentors.http.wsgi import WSGIMiddleware

    WSGIWithin().instrument()
    return by_wrapping(
        partial(OpenTelemetryMiddleware, **providers), WSGIMiddleware, bare_wsgi, ask_wsgi, telemetry
    )


def of_flask(telemetry: Telemetry, providers: dict[str, Any]) -> Sides:
    from opentelemetry.instrumentation.flask import FlaskInstrumentor as Upstream

    from bext_otel_instrumentors.http.flask import FlaskInstrumentor

    app = flask()
    Upstream().instrument_app(app, **providers)
    theirs = run(app, ask_wsgi, telemetry)
    FlaskInstrumentor().instrument()
    both = run(app, ask_wsgi, telemetry)
    return {"upstream": theirs, "ours": run(flask(), ask_wsgi, telemetry), "both": both}


def of_falcon(telemetry: Telemetry, providers: dict[str, Any]) -> Sides:
    from opentelemetry.instrumentation.falcon import FalconInstrumentor as Upstream

    from bext_otel_instrumentors.http.frameworks.falcon import FalconInstrumentor

    return by_instrumentors(Upstream(), FalconInstrumentor(), falcon, ask_wsgi, telemetry)


def of_pyramid(telemetry: Telemetry, providers: dict[str, Any]) -> Sides:
    from opentelemetry.instrumentation.pyramid import PyramidInstrumentor as Upstream

    from bext_otel_instrumentors.http.frameworks.pyramid import PyramidInstrumentor

    return by_instrumentors(Upstream(), PyramidInstrumentor(), pyramid, ask_wsgi, telemetry)


def of_tornado(telemetry: Telemetry, providers: dict[str, Any]) -> Sides:
    from opentelemetry.instrumentation.tornado import TornadoInstrumentor as Upstream

    from bext_otel_instrumentors.http.servers.tornado import TornadoServerInstrumentor

    return by_instrumentors(Upstream(), TornadoServerInstrumentor(), tornado, ask_tornado, telemetry)


def of_aiohttp(telemetry: Telemetry, providers: dict[str, Any]) -> Sides:
    from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor as Upstream

    from bext_otel_instrumentors.http.servers.aiohttp import AiohttpServerInstrumentor

    return by_instrumentors(Upstream(), AiohttpServerInstrumentor(), lambda: aiohttp, ask_aiohttp, telemetry)


FRAMEWORKS: dict[str, Callable[[Telemetry, dict[str, Any]], Sides]] = {
    "asgi": of_asgi,
    "bare asgi": of_bare_asgi,
    "bare wsgi": of_bare_wsgi,
    "flask": of_flask,
    "falcon": of_falcon,
    "pyramid": of_pyramid,
    "tornado": of_tornado,
    "aiohttp": of_aiohttp,
}


def main(framework: str) -> None:
    telemetry = Telemetry()
    trace.set_tracer_provider(telemetry.tracer_provider)
    metrics.set_meter_provider(telemetry.meter_provider)
    use(Settings(resolver=lambda host, path: "shop"))
    providers = {"tracer_provider": telemetry.tracer_provider, "meter_provider": telemetry.meter_provider}
    json.dump(FRAMEWORKS[framework](telemetry, providers), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
