"""Run as a program: the same requests through upstream's instrumentation and through ours; prints both server
spans of each as JSON.

In a process of its own, since upstream reads `OTEL_SEMCONV_STABILITY_OPT_IN` once.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.trace import ReadableSpan

from bext_otel.operation import Settings, use
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask, ask_wsgi

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


def shown(span: ReadableSpan) -> dict[str, Any]:
    return {
        "name": span.name,
        "kind": span.kind.name,
        "status": span.status.status_code.name,
        "parent": None if span.parent is None else f"{span.parent.trace_id:032x}",
        "attributes": dict(span.attributes or {}),
        "children": 0,
    }


def run(app: Any, drive: Callable[..., Any], telemetry: Telemetry) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, request in REQUESTS.items():
        telemetry.clear()
        with contextlib.suppress(LookupError):
            drive(app, **request)
        found[name] = shown(telemetry.server())
        found[name]["children"] = len(telemetry.spans()) - 1
    return found


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


def compare(upstream: Any, ours: Any, make: Callable[[], Any], telemetry: Telemetry) -> dict[str, Any]:
    """Both instrumentors, each alone and together, on the same WSGI application."""
    upstream.instrument()
    theirs = run(make(), ask_wsgi, telemetry)
    ours.instrument()
    both = run(make(), ask_wsgi, telemetry)
    upstream.uninstrument()
    return {"upstream": theirs, "ours": run(make(), ask_wsgi, telemetry), "both": both}


def main(framework: str) -> None:
    telemetry = Telemetry()
    trace.set_tracer_provider(telemetry.tracer_provider)
    metrics.set_meter_provider(telemetry.meter_provider)
    use(Settings(resolver=lambda host, path: "shop"))
    providers = {"tracer_provider": telemetry.tracer_provider, "meter_provider": telemetry.meter_provider}
    if framework == "asgi":
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        from bext_otel_instrumentors.http.starlette import StarletteInstrumentor

        upstream = run(OpenTelemetryMiddleware(starlette(), **providers), ask, telemetry)
        StarletteInstrumentor().instrument()
        ours = run(starlette(), ask, telemetry)
    elif framework == "falcon":
        from opentelemetry.instrumentation.falcon import FalconInstrumentor as UpstreamFalcon

        from bext_otel_instrumentors.http.frameworks.falcon import FalconInstrumentor

        json.dump(compare(UpstreamFalcon(), FalconInstrumentor(), falcon, telemetry), sys.stdout)
        return
    elif framework == "pyramid":
        from opentelemetry.instrumentation.pyramid import PyramidInstrumentor as UpstreamPyramid

        from bext_otel_instrumentors.http.frameworks.pyramid import PyramidInstrumentor

        json.dump(compare(UpstreamPyramid(), PyramidInstrumentor(), pyramid, telemetry), sys.stdout)
        return
    else:
        from opentelemetry.instrumentation.flask import FlaskInstrumentor as Upstream

        from bext_otel_instrumentors.http.flask import FlaskInstrumentor

        app = flask()
        Upstream().instrument_app(app, **providers)
        upstream = run(app, ask_wsgi, telemetry)
        FlaskInstrumentor().instrument()
        ours = run(flask(), ask_wsgi, telemetry)
    json.dump({"upstream": upstream, "ours": ours}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
