"""What an application of aiohttp's reads of a request, and answers at once, for apps that ask for bodies."""

from __future__ import annotations

from functools import cache
from typing import Any

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.exchange import current

__all__ = ["note_reading", "whole_body"]


@cache
def _noting() -> type:
    from aiohttp import StreamReader

    class NotingReader(StreamReader):
        """A reader that tells the current exchange what is taken from it; the same object, so nothing of what
        is there already is lost."""

        __slots__ = ()

        def _read_nowait_chunk(self, n: int) -> bytes:
            data: bytes = super()._read_nowait_chunk(n)  # where all ways to read meet
            if (exchange := current()) is not None and exchange.bodies is not None:
                exchange.bodies.read(data)
            return data

    return NotingReader


def note_reading(content: Any) -> None:
    """Have what the application reads from this stream noted; nothing is read by that."""
    from aiohttp import StreamReader

    if type(content) is not StreamReader:  # there is no body, or it is somebody else's
        return
    try:
        content.__class__ = _noting()
    except TypeError as error:  # another layout
        report("the body of a request", error)


def whole_body(response: Any) -> bytes:
    """The body of an answer that is there as a whole; none of one that is streamed."""
    body = getattr(response, "body", None)
    if not isinstance(body, (bytes, bytearray)):
        body = getattr(body, "_value", b"")  # a payload made of text or bytes
    return bytes(body) if isinstance(body, (bytes, bytearray)) else b""
