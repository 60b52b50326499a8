from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bext_otel.endpoints import pages
from bext_otel.endpoints.formats import json, protobuf, text
from bext_otel.endpoints.pages import FORMATS, Collection
from bext_otel.metrics.snapshot import Family, Numbers, Series
from tests.endpoints.snapshots import EMPTY, EXEMPLAR, SPECIFICATION

LARGE = replace(
    EMPTY,
    families=(
        Family(
            "x_total",
            "counter",
            "Many.",
            "",
            Numbers(
                [Series((("n", str(number)),)) for number in range(5000)],
                [number / 2 for number in range(5000)],
                {2500: EXEMPLAR, 0: EXEMPLAR},
            ),
        ),
    ),
)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("snapshot", [SPECIFICATION, LARGE], ids=["small", "large"])
def test_pages_are_what_the_formats_make_of_the_snapshot(form: str, snapshot: object) -> None:
    collection = Collection(snapshot)  # type: ignore[arg-type]
    whole = {
        "json": json.render,
        "protobuf": protobuf.render,
        "prometheus": text.render,
        "openmetrics": lambda it: text.render(it, openmetrics=True),
    }[form]
    assert whole(collection.snapshot) == collection.page(form)
    small = collection.packed_page(form)
    assert small is None or collection.page(form) == gzip.decompress(small)


def test_a_page_that_packing_makes_longer_is_not_packed() -> None:
    assert None is Collection(EMPTY).packed_page("prometheus")


def test_a_large_page_is_made_in_pieces() -> None:
    """Each small enough that other threads don't wait for it, each line whole, each exemplar at its own
    line."""
    pieces = [piece.decode() for piece in text.chunks(LARGE, openmetrics=True)]
    assert all(len(piece) < 200_000 and piece.endswith("\n") for piece in pieces)
    assert len(pieces) > 1
    exemplified = [line.split(" # ")[0] for line in "".join(pieces).splitlines() if " # " in line]
    assert ['x_total{n="0"} 0', 'x_total{n="2500"} 1250'] == exemplified


def test_each_format_is_rendered_and_packed_once_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered, packed = [], []
    render, pack = pages._RENDERED["prometheus"][1], pages.packed
    counting = {
        **pages._RENDERED,
        "prometheus": (text.CONTENT_TYPE, lambda snapshot: rendered.append(1) or render(snapshot)),
    }
    monkeypatch.setattr(pages, "_RENDERED", counting)
    monkeypatch.setattr(pages, "packed", lambda chunks: packed.append(1) or pack(chunks))
    collection, together = Collection(SPECIFICATION), threading.Barrier(8)

    def ask(number: int) -> bytes | None:
        together.wait(10)
        return collection.packed_page("prometheus") if number % 2 else collection.page("prometheus")

    with ThreadPoolExecutor(8) as pool:
        assert 2 == len(set(pool.map(ask, range(8))))
    assert ([1], [1]) == (rendered, packed)
