"""Bodies compressed with brotli or gzip, as the client prefers."""

from __future__ import annotations

from time import perf_counter
from typing import Literal

from brotli_asgi import BrotliMiddleware
from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bext_demo import facts

__all__ = ["Compression", "preferred"]

Coding = Literal["br", "gzip"]

_ENCODINGS = {"br": "brotli", "gzip": "gzip"}
_TALLY = "bext_demo.compression"


def preferred(accept_encoding: str) -> Coding | None:
    """The coding for an Accept-Encoding header (RFC 9110, 12.5.3): the one with the higher weight, brotli if equal, None if neither."""
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


class _Tally:
    """Bytes on both sides of a compressor, and the time between them."""

    def __init__(self, coding: Coding) -> None:
        self._coding = coding
        self._since = 0.0
        self.compressed = False
        self.bytes_in = 0
        self.bytes_out = 0
        self.seconds = 0.0

    def enters(self, message: Message) -> None:
        self.bytes_in += len(message.get("body", b""))
        self._since = perf_counter()

    def leaves(self, message: Message) -> None:
        self.seconds += perf_counter() - self._since
        if message["type"] == "http.response.start":
            self.compressed = Headers(raw=message["headers"]).get("content-encoding") == self._coding
        self.bytes_out += len(message.get("body", b""))

    def sent(self) -> None:
        self._since = perf_counter()


class Compression:
    """Starlette's gzip and brotli-asgi around one application, with what they achieve told under the application's `name`."""

    def __init__(self, app: ASGIApp, *, name: str, minimum_bytes: int = 500) -> None:
        self._app = app
        self._name = name
        self._compressors: dict[Coding, ASGIApp] = {
            "br": BrotliMiddleware(self._counted, minimum_size=minimum_bytes, gzip_fallback=False),
            "gzip": GZipMiddleware(self._counted, minimum_size=minimum_bytes, compresslevel=6),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        coding = preferred(Headers(scope=scope).get("accept-encoding", "")) if scope["type"] == "http" else None
        if coding is None:
            await self._app(scope, receive, send)
            return
        tally = scope[_TALLY] = _Tally(coding)

        async def compressed_send(message: Message) -> None:
            tally.leaves(message)
            await send(message)
            tally.sent()

        await self._compressors[coding](scope, receive, compressed_send)
        if tally.compressed and tally.bytes_in:
            facts.compressed(
                self._name,
                _ENCODINGS[coding],
                original_bytes=tally.bytes_in,
                compressed_bytes=tally.bytes_out,
                duration_us=tally.seconds * 1e6,
            )

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        tally: _Tally = scope[_TALLY]

        async def original_send(message: Message) -> None:
            tally.enters(message)
            await send(message)

        await self._app(scope, receive, original_send)
