"""The pages of one collection: each format is rendered once, and packed once, for everybody who asked."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import TypeAlias

from bext_otel.endpoints.formats import json, protobuf, text
from bext_otel.endpoints.views import WHOLE, View, seen
from bext_otel.metrics.pacing import yield_interpreter
from bext_otel.metrics.snapshot import Snapshot

__all__ = ["FORMATS", "Collection", "content_type", "packed"]

Render: TypeAlias = Callable[[Snapshot], Iterable[bytes]]

_RENDERED: Mapping[str, tuple[str, Render]] = {
    "json": (json.CONTENT_TYPE, lambda snapshot: [json.render(snapshot)]),
    "openmetrics": (text.OPENMETRICS_CONTENT_TYPE, lambda snapshot: text.chunks(snapshot, openmetrics=True)),
    "prometheus": (text.CONTENT_TYPE, text.chunks),
    "protobuf": (protobuf.CONTENT_TYPE, protobuf.chunks),
}

FORMATS = tuple(_RENDERED)
"""The formats by name."""

# Level 3 makes a page of 100,000 series 10 times smaller in the time that level 6 needs for half of it.
_GZIP_LEVEL = 3
# zlib's own flag for a gzip header around the data; the header has no time in it, so that one page always
# packs alike.
_GZIP_FORMAT = 16 + zlib.MAX_WBITS

_PACKED_AT_ONCE = 128 * 1024


def content_type(form: str) -> str:
    """The Content-Type of a format."""
    return _RENDERED[form][0]


class Collection:
    """What one reading found. Pages are kept as long as somebody is being answered from it, and all who see
    the same get the same bytes."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._locks = {form: Lock() for form in FORMATS}
        self._pages: dict[tuple[str, View], bytes] = {}
        self._packed: dict[tuple[str, View], bytes] = {}

    def page(self, form: str, view: View = WHOLE) -> bytes:
        """The page in one of `FORMATS`."""
        with self._locks[form]:
            return self._rendered(form, view)

    def packed_page(self, form: str, view: View = WHOLE) -> bytes | None:
        """The page in gzip's format; None if that would not be smaller."""
        with self._locks[form]:
            page = self._rendered(form, view)
            small = self._packed.get((form, view))
            if small is None:
                small = self._packed[form, view] = packed(page)
        return small if len(small) < len(page) else None

    def _rendered(self, form: str, view: View) -> bytes:
        page = self._pages.get((form, view))
        if page is None:
            chunks: list[bytes] = []
            for chunk in _RENDERED[form][1](seen(self.snapshot, view)):
                if chunks:
                    yield_interpreter()
                chunks.append(chunk)
            page = self._pages[form, view] = b"".join(chunks)
        return page


def packed(page: bytes) -> bytes:
    """A page in gzip's format."""
    packing = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
    pieces: list[bytes] = []
    for start in range(0, len(page), _PACKED_AT_ONCE):
        if start:
            yield_interpreter()  # it holds no lock of the interpreter's, but a processor
        pieces.append(packing.compress(memoryview(page)[start : start + _PACKED_AT_ONCE]))
    return b"".join([*pieces, packing.flush()])
