"""Compressed bodies: their ratio and how long compressing took, by encoding. What passes by is measured;
nothing is read for it.

The duration is the compressor's alone: neither the application's time between two pieces, nor the client's to
take them.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import wraps
from time import perf_counter_ns
from typing import Any

from opentelemetry import context, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.util.types import AttributeValue

from bext_otel.apps import current_app
from bext_otel.catalogue import COMPRESSION, COMPRESSION_DURATION, COMPRESSION_RATIO, UNKNOWN
from bext_otel.entries import emit
from bext_otel.operation import recorder, trace_past
from bext_otel_instrumentors._kit.guard import report

__all__ = ["ENCODINGS", "CompressedBody", "watch_responder", "watch_sending"]

ENCODINGS: Mapping[str, str] = {"gzip": "gzip", "x-gzip": "gzip", "br": "brotli", "zstd": "zstd"}
"""Content codings (RFC 9110, 7932, 8878) by the label that stands for them. `deflate` has none."""


_record_ratio = recorder(COMPRESSION_RATIO, "app", "encoding")
_record_duration = recorder(COMPRESSION_DURATION, "app", "encoding")

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Method = Callable[..., Awaitable[None]]


class CompressedBody:
    """One body on its way through a compressor: bytes that went in and came out, and seconds spent in
    between."""

    __slots__ = ("app", "compressed", "context", "encoding", "original", "seconds", "started_ns", "waited")

    def __init__(self, encoding: str | None = None) -> None:
        self.encoding = encoding
        # Of now: a stream goes on after the function that began it, where the request may not be the current
        # work any more.
        self.app = current_app() or UNKNOWN
        self.context = context.get_current()
        self.original = 0
        self.compressed = 0
        self.seconds = 0.0
        self.waited = 0.0
        self.started_ns = perf_counter_ns()

    def finish(self) -> None:
        """The body is complete: it is measured, and told of at debug. One that was not compressed, or is
        empty, has no ratio."""
        encoding = ENCODINGS.get(self.encoding or "")
        if encoding is None or not self.original:
            return
        try:
            app, here, took_us = self.app, self.context, self.seconds * 1e6
            if trace.get_current_span(here).is_recording():
                # Its times are the body's, from the first byte to the last; a stream compresses for a small
                # part of that.
                attributes: dict[str, AttributeValue] = {
                    "bext.app": app,
                    "bext.encoding": encoding,
                    "bext.compression.original_bytes": self.original,
                    "bext.compression.compressed_bytes": self.compressed,
                    "bext.compression.duration_us": round(took_us, 1),
                }
                span = trace_past(COMPRESSION.name, self.started_ns, context=here, attributes=attributes)
                here = trace.set_span_in_context(span)
            _record_ratio(self.compressed / self.original, app, encoding, context=here)
            _record_duration(took_us, app, encoding, context=here)
            fields: dict[str, AttributeValue] = {
                "app": app,
                "encoding": encoding,
                "original_bytes": self.original,
                "compressed_bytes": self.compressed,
                "duration_us": round(took_us, 1),
            }
            emit(
                COMPRESSION.name,
                SeverityNumber.DEBUG,
                "body compressed",
                fields,
                here=here,
                event="bext.compression.body_compressed",
            )
        except Exception as error:  # the guard's only purpose
            report("a compressed body", error)


# --- ASGI responders: an object for each response, called like an application --------------------------
# A method of it takes the application's messages.

_BODY = "_bext_otel_body"


class _Passing(CompressedBody):
    """The body of an ASGI response: what the application sent goes in, what the client is sent comes out."""

    __slots__ = ("coded", "complete")

    def __init__(self) -> None:
        super().__init__()
        self.coded = False
        self.complete = False

    def arrives(self, message: Message) -> None:
        """Before the responder changes the message."""
        kind = message["type"]
        if kind == "http.response.start":
            self.coded = _coding(message) is not None  # by the application; passed through as it is
            self.started_ns = perf_counter_ns()
        elif kind == "http.response.body":
            self.original += len(message.get("body", b""))

    def leaves(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self.encoding = None if self.coded else _coding(message)
        elif kind == "http.response.body":
            self.compressed += len(message.get("body", b""))
            if not message.get("more_body", False):
                self.complete = True


def _coding(message: Message) -> str | None:
    for name, value in message.get("headers", ()):
        if name.lower() == b"content-encoding":
            return bytes(value).decode("latin-1").strip().lower()
    return None


def watch_responder(original: Method) -> Method:
    """The responder's `__call__`: what it hands on to the server."""

    @wraps(original)
    async def __call__(self: Any, scope: Any, receive: Any, send: Send) -> None:  # noqa: N807  # it becomes that method
        body = _Passing()
        setattr(self, _BODY, body)

        async def sending(message: Message) -> None:
            try:
                body.leaves(message)
            except Exception as error:  # a message of any shape
                report("a compressed message", error)
            started = time.perf_counter()
            try:
                await send(message)
            finally:
                body.waited += time.perf_counter() - started

        await original(self, scope, receive, sending)

    return __call__


def watch_sending(original: Method) -> Method:
    """The responder's method that takes the application's messages."""

    @wraps(original)
    async def send(self: Any, message: Message) -> None:
        body: _Passing | None = getattr(self, _BODY, None)
        if body is None:
            await original(self, message)
            return
        try:
            body.arrives(message)
        except Exception as error:  # as above
            report("a message to compress", error)
        started, waited = time.perf_counter(), body.waited
        await original(self, message)
        body.seconds += time.perf_counter() - started - (body.waited - waited)
        if body.complete:
            body.complete = False
            body.finish()

    return send
