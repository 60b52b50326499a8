from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import brotli
import pytest
from flask import Flask, Response
from flask_compress import Compress, flask_compress

from bext_otel.catalogue import COMPRESSION_RATIO
from bext_otel_instrumentors.compression.flask_compress import FlaskCompressInstrumentor
from tests.instrumentors.caching import app as work_of
from tests.instrumentors.compressing import ratios, times, told
from tests.instrumentors.conftest import Telemetry

TEXT = b"a line that compresses well\n" * 2000
DECODE = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": flask_compress.compression.zstd.decompress,
    "deflate": zlib.decompress,
}
STREAMING = ["zstd", "br", "gzip", "deflate"]


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[Telemetry]:
    FlaskCompressInstrumentor().instrument(skip_dep_check=True)
    with work_of():
        yield telemetry
    FlaskCompressInstrumentor().uninstrument()


def site(**settings: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(COMPRESS_ALGORITHM_STREAMING=STREAMING, **settings)
    Compress(app)

    @app.get("/plain")
    def plain() -> Response:
        return Response(TEXT, mimetype="text/plain")

    @app.get("/small")
    def small() -> Response:
        return Response("ok", mimetype="text/plain")

    @app.get("/stream")
    def stream() -> Response:
        return Response((TEXT[:2800] for _ in range(20)), mimetype="text/plain")

    @app.get("/broken")
    def broken() -> Response:
        def half() -> Iterator[bytes]:
            yield TEXT
            raise LookupError("lost")

        return Response(half(), mimetype="text/plain")

    return app


def ask(app: Flask, path: str, encoding: str) -> Any:
    return app.test_client().get(path, headers={"accept-encoding": encoding})


@pytest.mark.parametrize("path", ["/plain", "/stream"])
@pytest.mark.parametrize(("encoding", "label"), [("gzip", "gzip"), ("br", "brotli"), ("zstd", "zstd")])
def test_ratio_and_duration_by_encoding(
    instrumented: Telemetry, path: str, encoding: str, label: str
) -> None:
    answer = ask(site(), path, encoding)
    assert TEXT == DECODE[encoding](answer.data)
    assert {label: len(answer.data) / len(TEXT)} == ratios(instrumented)
    assert {label: 1} == times(instrumented)
    sizes = {"original_bytes": len(TEXT), "compressed_bytes": len(answer.data)}
    assert [(label, {"app": "shop", **sizes}, 0)] == told(instrumented)


@pytest.mark.parametrize(
    ("path", "encoding"),
    [("/plain", "identity"), ("/small", "gzip"), ("/plain", "deflate"), ("/stream", "deflate")],
)
def test_what_is_not_compressed_or_has_no_label_is_not_counted(
    instrumented: Telemetry, path: str, encoding: str
) -> None:
    ask(site(), path, encoding)
    assert {} == instrumented.points(COMPRESSION_RATIO)
    assert [] == told(instrumented)


def test_a_body_from_its_own_cache_is_not_compressed_again(instrumented: Telemetry) -> None:
    app = site(
        COMPRESS_CACHE_BACKEND=flask_compress.DictCache, COMPRESS_CACHE_KEY=lambda request: request.path
    )
    for _ in range(3):
        ask(app, "/plain", "gzip")
    assert {"gzip": 1} == times(instrumented)


def test_a_stream_that_fails_raises_what_it_raises_and_is_not_counted(instrumented: Telemetry) -> None:
    with pytest.raises(LookupError, match="lost"):
        ask(site(), "/broken", "zstd")
    assert {} == times(instrumented)


def test_a_stream_that_the_client_leaves_is_closed(instrumented: Telemetry) -> None:
    app = site()
    closed: list[bool] = []

    @app.get("/endless")
    def endless() -> Response:
        def lines() -> Iterator[bytes]:
            try:
                while True:
                    yield TEXT
            finally:
                closed.append(True)

        return Response(lines(), mimetype="text/plain")

    answer = app.test_client().get("/endless", headers={"accept-encoding": "zstd"}, buffered=False)
    next(answer.iter_encoded())
    answer.close()
    del answer
    assert [True] == closed
    assert {} == times(instrumented)


@pytest.mark.parametrize("path", ["/plain", "/stream", "/small", "/missing"])
@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "identity"])
def test_every_answer_is_what_it_is_without_us(telemetry: Telemetry, path: str, encoding: str) -> None:
    def outcome() -> Any:
        answer = ask(site(), path, encoding)
        body = DECODE[encoding](answer.data) if answer.content_encoding else answer.data
        headers = {name: value for name, value in answer.headers.items() if name != "Date"}
        return answer.status, headers, body, len(answer.data)

    without = outcome()
    FlaskCompressInstrumentor().instrument(skip_dep_check=True)
    try:
        assert without == outcome()
    finally:
        FlaskCompressInstrumentor().uninstrument()


def test_what_was_patched_is_put_back() -> None:
    before = flask_compress._compress_data, flask_compress._compress_chunks
    FlaskCompressInstrumentor().instrument(skip_dep_check=True)
    assert before != (flask_compress._compress_data, flask_compress._compress_chunks)
    FlaskCompressInstrumentor().uninstrument()
    assert before == (flask_compress._compress_data, flask_compress._compress_chunks)
