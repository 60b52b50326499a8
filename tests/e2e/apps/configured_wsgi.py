"""A bare WSGI application that sets telemetry up in code, wraps itself and mounts the endpoints."""

from collections.abc import Callable, Iterable
from typing import Any

import bext_otel
from bext_otel_instrumentors.wsgi import WSGIMiddleware

bext_otel.configure(telemetry={"service_name": "shop"})
endpoints = bext_otel.wsgi_app()


def plain(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"].startswith("/ops/"):
        environ["SCRIPT_NAME"] += "/ops"
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/ops")
        return endpoints(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"tea"]


app = WSGIMiddleware(plain)
