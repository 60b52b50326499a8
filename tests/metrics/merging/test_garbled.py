"""What a worker publishes is valid by its checksum and may be wrong inside: memory that others have written
to, a worker with a fault of its own, one of another build. Every scrape of its siblings must go on."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bext_otel.catalogue import CACHE_HITS, METRICS
from bext_otel.endpoints.formats import json as json_format
from bext_otel.endpoints.formats import protobuf, text
from bext_otel.metrics.exponential import Buckets
from bext_otel.metrics.merging.wire import (
    Publication,
    Row,
    ThirdPartyFamily,
    ThirdPartyRow,
    blocks,
    decode,
    encode,
    is_readable,
)
from bext_otel.metrics.values import Distribution, Histogram, Recent, Summary, Total
from tests.metrics.merging.test_sum import Board, Clock, Peer, Worker

LIFE = Buckets.dense(6, 3, [1, 0, 300])
DISTRIBUTION = Distribution(301, 350.0, 0, 1.0, 1.1, (LIFE,), (Recent(LIFE, 0, 1.0, 1.1, 1e9),))
HISTOGRAM = Histogram((1.0, 2.0), (1, 0, 2), 7.0, 3, 0.5, 4.0)
EXEMPLAR = (1.0, 2.0, "ab", "cd")
OF_KIND = {"summary": DISTRIBUTION, "histogram": HISTOGRAM}


def publication(base: Publication | None = None) -> Publication:
    """One with everything in it: each metric of the catalogue, each kind of another library's."""
    series = {
        metric.exported: blocks(
            [Row(tuple("x" for _ in metric.labels), OF_KIND.get(metric.kind, 3), EXEMPLAR)]
        )
        for metric in METRICS
    }
    labels = (("a", "b"),)
    foreign = [
        ThirdPartyFamily("f_counter", "counter", "", (ThirdPartyRow(labels, Total(0.3, (1e-18,))),)),
        ThirdPartyFamily("f_gauge", "gauge", "", (ThirdPartyRow(labels, 0.5, (), 1.0, 1.0, 1, 7),)),
        ThirdPartyFamily(
            "f_histogram",
            "histogram",
            "",
            (ThirdPartyRow(labels, HISTOGRAM, ((1, 1.0, 2.0, (("trace_id", "ab"),)),), 5.0),),
        ),
        ThirdPartyFamily("f_summary", "summary", "", (ThirdPartyRow(labels, Summary(2, 3.0)),)),
        ThirdPartyFamily("f_native", "histogram", "", (ThirdPartyRow(labels, DISTRIBUTION),)),
    ]
    return Publication(
        started=1.0,
        started_unix=1.0,
        published=2.0,
        series=series,
        rates={CACHE_HITS.exported: []},
        admitted={"app": [("x", 1.0)]},
        foreign=foreign,
        system={"cpu": 1.0},
        telemetry={"spans_exported": 3, "status": "ok"},
        base=base,
        pid=7,
        parent=1,
    )


def scraped_beside(payload: bytes) -> bytes:
    """The text of a scrape of a worker that has counted 5 hits, and whose sibling has published this; it is
    made in every format."""
    board, clock = Board(), Clock()
    worker = Worker(board, clock)
    board.join()
    worker.hit(5)
    board.places[99] = Peer(99, 1, payload)
    snapshot = worker.reading.snapshot()
    rendered = text.render(snapshot)
    text.render(snapshot, openmetrics=True)
    protobuf.render(snapshot)
    json_format.render(snapshot)
    msgspec.json.encode(list(map(dict, snapshot.rates.values())))
    return rendered


def test_what_is_right_is_read() -> None:
    rendered = scraped_beside(encode(publication(base=publication())))
    assert b"f_counter" in rendered
    assert b"f_histogram_bucket" in rendered
    assert is_readable(encode(publication()))


ODD: st.SearchStrategy[Any] = (
    st.sampled_from(
        [
            None,
            True,
            -1,
            0,
            2**31,
            -(2**63),
            2**64 - 1,
            math.nan,
            math.inf,
            -math.inf,
            1e308,
            5e-324,
            "",
            "\x00",
            "x" * 300,
            b"",
            b"\xff" * 9,
            [],
            {},
            [[]],
            ["h", [1.0], [1], 1.0, 1],
            ["h", [], [], 1.0, -1],
            ["h", [math.nan, 1.0], [1, 2, 3], 1.0, 6],
            ["h", [2.0, 1.0], [1, 2, 3], 1.0, 6],
            ["h", [1.0], [-1, 5], math.nan, -4],
            ["s", -1, math.inf, [[2.0, math.nan]]],
            ["t", math.nan, [math.inf, -math.inf]],
            ["d", -5, math.nan, -1, math.nan, math.nan, [[6, 0, "B", b"\1"]], []],
            ["d", 1, 1.0, 0, 1.0, 1.0, [[6, 0, "Z", b"\1"]], []],
            ["d", 1, 1.0, 0, 1.0, 1.0, [[6, 0, "Q", b"\1"]], []],
            ["d", 1, 1.0, 0, 1.0, 1.0, [[9999, 2**62, "B", b"\1"]], []],
            ["d", 1, 1.0, 0, 1.0, 1.0, [[-2000, 5, "B", b"\1\1"]], []],
            ["d", 1, 1.0, 0, 1.0, 1.0, [[6, 2**62, "B", b"\1"], [6, -(2**62), "B", b"\1"]], []],
            ["d", 1, 1.0, 0, 1.0, 1.0, [], [[[6, 2**40, "B", b"\1"], -3, math.nan, math.nan, 1e18]]],
        ]
    )
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=12)
)


def places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something could be replaced."""
    yield at
    for key, value in (
        node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    ):
        yield from places(value, (*at, key))


def replaced(node: Any, at: tuple[Any, ...], odd: Any) -> Any:
    if not at:
        return odd
    made = dict(node) if isinstance(node, dict) else list(node)
    made[at[0]] = replaced(node[at[0]], at[1:], odd)
    return made


WHOLE: list[Any] = msgspec.msgpack.decode(encode(publication(base=publication())))
PLACES = list(places(WHOLE))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), ODD), min_size=1, max_size=3))
def test_no_payload_however_wrong_takes_a_scrape_down(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    made: Any = WHOLE
    for at, odd in changes:
        try:
            made = replaced(made, at, odd)
        except (KeyError, IndexError, TypeError):  # that place is gone
            continue
    assert b"bext_cache_hits_total" in scraped_beside(msgspec.msgpack.encode(made))


@pytest.mark.parametrize("at", [1e308, -1e308, math.inf, 9e15])
def test_an_exemplar_of_a_time_that_is_none_is_nothing(at: float) -> None:
    for place in ((4, CACHE_HITS.exported, 0, 0, 2, 1), (7, 2, 5, 0, 0, 2, 0, 2)):
        payload = msgspec.msgpack.encode(replaced(WHOLE, place, at))
        assert decode(payload) is None
        assert b"bext_cache_hits_total" in scraped_beside(payload)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_no_damaged_byte_takes_a_scrape_down(data: st.DataObject) -> None:
    payload = bytearray(encode(publication(base=publication())))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    assert b"bext_cache_hits_total" in scraped_beside(bytes(payload))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_take_a_scrape_down(payload: bytes) -> None:
    assert b"bext_cache_hits_total" in scraped_beside(payload)


@pytest.mark.parametrize("depth", [200, 1_200, 100_000])
def test_what_is_nested_without_end_is_nothing(depth: int) -> None:
    fields = list(WHOLE)
    nested = b"\x91" * depth + b"\xc0"
    payload = msgspec.msgpack.encode([*fields[:8], *map(msgspec.Raw, [nested]), *fields[9:]])
    assert decode(payload) is None
    assert not is_readable(payload)
    within = encode(publication())
    for _ in range(min(depth, 1_200)):
        fields[10] = [msgspec.Raw(within)]
        within = msgspec.msgpack.encode(fields)
    assert b"bext_cache_hits_total" in scraped_beside(within)


def test_a_checksum_says_nothing_of_what_is_inside() -> None:
    for value in (struct.pack("<d", 1.0), b"\xff" * 7):
        fields = list(WHOLE)
        fields[5] = {CACHE_HITS.exported: value}
        assert b"bext_cache_hits_total" in scraped_beside(msgspec.msgpack.encode(fields))
