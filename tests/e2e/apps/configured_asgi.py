"""A Starlette application that sets telemetry up in code, mounts the endpoints and wraps itself."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

import bext_otel
from bext_otel_instrumentors.http.asgi import ASGIMiddleware

bext_otel.configure(
    telemetry={"service_name": "shop"},
    app_resolver=lambda host, path: "till" if path.startswith("/items") else "shop",
)
bext_otel.register_check("till", lambda: True, critical=True)


def item(request: Request) -> Response:
    return PlainTextResponse("tea")


app = ASGIMiddleware(Starlette(routes=[Route("/items/{item}", item), Mount("/ops", bext_otel.asgi_app())]))
