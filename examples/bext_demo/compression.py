"""Bodies compressed with brotli or gzip, as the client prefers."""

from __future__ import annotations

from typing import Literal

from brotli_asgi import BrotliMiddleware
from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Compression", "preferred"]

Coding = Literal["br", "gzip"]


def preferred(accept_encoding: str) -> Coding | None:
    """The coding for an Accept-Encoding header (RFC 9110, 12.5.3): the one with the higher weight, brotli if
    equal, None if neither."""
    weights: dict[str, float] = {}
    for item in accept_encoding.lower().split(","):
        coding, _, parameter = item.partition(";")
        name, _, value = parameter.strip().partition("=")
        weights[coding.strip()] = _weight(value) if name.strip() == "q" else 1.0
    brotli, gzip = weights.get("br", 0.0), weights.get("gzip", 0.0)
    if max(brotli, gzip) <= 0:
        return None
    return "br" if brotli >= gzip else "gzip"


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


class Compression:
    """Starlette's gzip and brotli-asgi around one application."""

    def __init__(self, app: ASGIApp, *, minimum_bytes: int = 500) -> None:
        self._app = app
        self._compressors: dict[Coding, ASGIApp] = {
            "br": BrotliMiddleware(app, minimum_size=minimum_bytes, gzip_fallback=False),
            "gzip": GZipMiddleware(app, minimum_size=minimum_bytes, compresslevel=6),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        coding = (
            preferred(Headers(scope=scope).get("accept-encoding", "")) if scope["type"] == "http" else None
        )
        await (self._app if coding is None else self._compressors[coding])(scope, receive, send)
