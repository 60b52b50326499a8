from __future__ import annotations

import gzip
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import brotli
import pytest
from brotli_asgi import BrotliMiddleware, BrotliResponder
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware, GZipResponder
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from bext_otel.catalogue import COMPRESSION_DURATION
from bext_otel.testing import Clock
from bext_otel_instrumentors.compression import bodies as _compression
from bext_otel_instrumentors.compression.brotli_asgi import BrotliAsgiInstrumentor
from bext_otel_instrumentors.compression.starlette_gzip import StarletteGzipInstrumentor
from tests.instrumentors.caching import app as work_of
from tests.instrumentors.compressing import ratios, times, told
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask

CLOCK = Clock()
TEXT = "a line that compresses well\n" * 2000


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[Telemetry]:
    StarletteGzipInstrumentor().instrument(skip_dep_check=True)
    BrotliAsgiInstrumentor().instrument(skip_dep_check=True)
    with work_of():
        yield telemetry
    StarletteGzipInstrumentor().uninstrument()
    BrotliAsgiInstrumentor().uninstrument()


async def plain(_: Request) -> Response:
    return PlainTextResponse(TEXT)


async def small(_: Request) -> Response:
    return PlainTextResponse("ok")


async def coded(_: Request) -> Response:
    return Response(gzip.compress(TEXT.encode()), headers={"content-encoding": "gzip"})


async def pieces() -> AsyncIterator[str]:
    for _ in range(20):
        yield TEXT[:2800]


async def stream(_: Request) -> Response:
    return StreamingResponse(pieces(), media_type="text/plain")


async def slow_stream(_: Request) -> Response:
    async def slow() -> AsyncIterator[str]:
        for _ in range(3):
            CLOCK.now += 100
            yield TEXT

    return StreamingResponse(slow(), media_type="text/plain")


async def broken(_: Request) -> Response:
    async def half() -> AsyncIterator[str]:
        yield TEXT
        raise LookupError("lost")

    return StreamingResponse(half(), media_type="text/plain")


ROUTES = [Route(f"/{one.__name__}", one) for one in (plain, small, coded, stream, slow_stream, broken)]


def site(middleware: Any = GZipMiddleware) -> Starlette:
    return Starlette(routes=ROUTES, middleware=[Middleware(middleware)])


def accepting(encoding: str) -> dict[str, Any]:
    return {"headers": [("accept-encoding", encoding)]}


@pytest.mark.parametrize("path", ["/plain", "/stream"])
@pytest.mark.parametrize(
    ("middleware", "encoding", "label", "decode"),
    [
        (GZipMiddleware, "gzip", "gzip", gzip.decompress),
        (BrotliMiddleware, "br", "brotli", brotli.decompress),
        (BrotliMiddleware, "gzip", "gzip", gzip.decompress),
    ],
)
def test_ratio_and_duration_by_encoding(
    instrumented: Telemetry, path: str, middleware: Any, encoding: str, label: str, decode: Any
) -> None:
    answer = ask(site(middleware), path, **accepting(encoding))
    assert TEXT == decode(answer.body).decode()
    assert {label: len(answer.body) / len(TEXT)} == ratios(instrumented)
    assert {label: 1} == times(instrumented)
    sizes = {"original_bytes": len(TEXT), "compressed_bytes": len(answer.body)}
    assert [(label, {"app": "shop", **sizes}, 0)] == told(instrumented)


@pytest.mark.parametrize(
    ("path", "encoding"), [("/plain", "identity"), ("/small", "gzip"), ("/coded", "gzip")]
)
def test_what_is_not_compressed_has_no_ratio(instrumented: Telemetry, path: str, encoding: str) -> None:
    for middleware in (GZipMiddleware, BrotliMiddleware):
        ask(site(middleware), path, **accepting(encoding))
    assert {} == times(instrumented)
    assert [] == told(instrumented)


def test_the_time_between_pieces_is_not_the_compressors(
    instrumented: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that moves while the application makes a piece, and at no other time."""
    monkeypatch.setattr(_compression, "time", SimpleNamespace(perf_counter=CLOCK, time_ns=time.time_ns))
    ask(site(), "/slow_stream", **accepting("gzip"))
    assert {("shop", "gzip"): 0} == instrumented.sums(COMPRESSION_DURATION)


def test_a_body_that_ends_in_the_middle_is_not_counted(instrumented: Telemetry) -> None:
    with pytest.raises(LookupError, match="lost"):
        ask(site(), "/broken", **accepting("gzip"))
    assert {} == times(instrumented)


def test_a_compression_in_a_request_is_a_span_of_it(instrumented: Telemetry) -> None:
    with instrumented.tracer_provider.get_tracer("test").start_as_current_span("request") as request:
        answer = ask(site(), "/plain", **accepting("gzip"))
    span = next(span for span in instrumented.spans() if span.name == "bext.compression")
    assert request.get_span_context().span_id == span.parent.span_id
    assert (len(TEXT), len(answer.body)) == (
        span.attributes["bext.compression.original_bytes"],
        span.attributes["bext.compression.compressed_bytes"],
    )
    assert [span.context.span_id] == [span_id for _, _, span_id in told(instrumented)]


@pytest.mark.parametrize("middleware", [GZipMiddleware, BrotliMiddleware])
@pytest.mark.parametrize("path", ["/plain", "/stream", "/small", "/coded", "/missing"])
def test_every_message_is_what_it_is_without_us(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, middleware: Any, path: str
) -> None:
    monkeypatch.setattr(
        gzip, "time", SimpleNamespace(time=lambda: 0)
    )  # the seconds are part of what it writes

    def messages() -> Any:
        found = [dict(message) for message in ask(site(middleware), path, **accepting("gzip, br")).messages]
        return [{**one, "headers": sorted(one["headers"])} if "headers" in one else one for one in found]

    without = messages()
    StarletteGzipInstrumentor().instrument(skip_dep_check=True)
    BrotliAsgiInstrumentor().instrument(skip_dep_check=True)
    try:
        assert without == messages()
    finally:
        StarletteGzipInstrumentor().uninstrument()
        BrotliAsgiInstrumentor().uninstrument()


def test_what_was_patched_is_put_back() -> None:
    before = dict(vars(GZipResponder)), dict(vars(BrotliResponder))
    for instrumentor in (StarletteGzipInstrumentor(), BrotliAsgiInstrumentor()):
        instrumentor.instrument(skip_dep_check=True)
    assert before != (dict(vars(GZipResponder)), dict(vars(BrotliResponder)))
    for instrumentor in (StarletteGzipInstrumentor(), BrotliAsgiInstrumentor()):
        instrumentor.uninstrument()
    assert before == (dict(vars(GZipResponder)), dict(vars(BrotliResponder)))
