"""Flask-Compress: gzip, brotli and zstd, of whole bodies and of streams. A body from its own cache is not
compressed again, nor counted."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original, Patches, around
from bext_otel_instrumentors.compression.bodies import CompressedBody

__all__ = ["FlaskCompressInstrumentor"]


class FlaskCompressInstrumentor(Instrumentor):
    """Instruments Flask-Compress, as soon as it is imported. `deflate` has no encoding label, and is left
    out."""

    # Flask-Compress, since it compresses in functions of its module
    requires = ("Flask-Compress >= 1.23",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("flask_compress.flask_compress", self._cover)

    def _cover(self, module: Any) -> None:
        self._patches.wrap(module, "_compress_data", around(_whole))
        self._patches.wrap(module, "_compress_chunks", around(_stream))


def _whole(original: Original, /, app: Any, data: bytes, algorithm: str) -> bytes:
    body = CompressedBody(algorithm)
    started = time.perf_counter()
    compressed: bytes = original(app, data, algorithm)
    body.seconds = time.perf_counter() - started
    try:
        body.original, body.compressed = len(data), len(compressed)
        body.finish()
    except Exception as error:  # the guard's only purpose
        report("a compressed body", error)
    return compressed


def _stream(original: Original, /, app: Any, chunks: Iterable[bytes], algorithm: str) -> Iterator[bytes]:
    body = CompressedBody(algorithm)
    return _watched(original(app, _counted(chunks, body), algorithm), body)


def _watched(pieces: Iterator[bytes], body: CompressedBody) -> Iterator[bytes]:
    while True:
        started, waited = time.perf_counter(), body.waited
        try:
            piece = next(pieces)
        except StopIteration:
            break
        finally:
            body.seconds += time.perf_counter() - started - (body.waited - waited)
        body.compressed += len(piece)
        yield piece
    body.finish()


def _counted(chunks: Iterable[bytes], body: CompressedBody) -> Iterator[bytes]:
    """The application's pieces; while it makes one, nothing is being compressed."""
    source = iter(chunks)
    while True:
        started = time.perf_counter()
        try:
            chunk = next(source)
        except StopIteration:
            return
        finally:
            body.waited += time.perf_counter() - started
        if isinstance(chunk, bytes):  # anything else is the compressor's to refuse
            body.original += len(chunk)
        yield chunk
