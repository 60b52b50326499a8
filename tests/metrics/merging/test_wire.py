"""What workers publish: values as they are, and as little to decode as has changed."""

from __future__ import annotations

import msgspec
import pytest

from bext_otel.metrics.exponential import Buckets
from bext_otel.metrics.merging.wire import (
    BLOCK,
    Known,
    Publication,
    Row,
    ThirdPartyFamily,
    ThirdPartyRow,
    blocks,
    decode,
    encode,
    is_readable,
)
from bext_otel.metrics.snapshot import FamilyType
from bext_otel.metrics.values import Distribution, Histogram, Recent, Summary, Total, Value

LIFE = Buckets.dense(6, 3, [1, 0, 300])
VALUES: list[Value] = [
    3,
    0.5,
    Total(0.3, (1e-18,)),
    Histogram((1.0, 2.0), (1, 0, 2), 7.0, 3, 0.5, 4.0),
    Summary(2, 3.0, ((0.5, 1.0),)),
    Distribution(301, 350.0, 0, 1.0, 1.1, (LIFE,), (Recent(LIFE, 0, 1.0, 1.1, 400.0),)),
]


def contribution(
    rows: list[Row], *, base: Publication | None = None, foreign: tuple[ThirdPartyFamily, ...] = ()
) -> Publication:
    return Publication(
        started=0.0,
        started_unix=0.0,
        published=0.0,
        series={"m": blocks(rows)},
        base=base,
        foreign=list(foreign),
        pid=7,
    )


def read(contribution: Publication, known: Known | None = None) -> Publication:
    found = decode(encode(contribution), known)
    assert found is not None
    return found


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_value_arrives_as_it_was(value: Value) -> None:
    rows = [Row(("a", None), value, (1.0, 2.0, "ab", "cd"))]
    kinds: dict[type, FamilyType] = {Histogram: "histogram", Summary: "summary", Distribution: "histogram"}
    foreign = ThirdPartyFamily(
        "f", kinds.get(type(value), "counter"), "", (ThirdPartyRow((("a", "b"),), value),)
    )
    found = read(contribution(rows, base=contribution(rows[:1]), foreign=(foreign,)))
    assert (rows, [foreign], 7) == (found.rows("m"), found.foreign, found.pid)
    assert found.base is not None
    assert rows[:1] == found.base.rows("m")


def test_only_blocks_that_have_changed_are_decoded() -> None:
    rows = [Row((str(position),), position) for position in range(3 * BLOCK)]
    known: Known = {}
    before = read(contribution(rows), known).rows("m")
    rows[BLOCK] = Row(("new",), 1)
    after = read(contribution(rows), known).rows("m")
    assert rows == after
    same = [old is new for old, new in zip(before, after, strict=True)]
    assert [*[True] * BLOCK, *[False] * BLOCK, *[True] * BLOCK] == same


def test_histograms_of_one_metric_share_their_bounds() -> None:
    found = read(
        contribution(
            [Row((str(position),), Histogram((1.0, 2.0), (1, 0, 0), 1.0, 1)) for position in range(3)]
        )
    ).rows("m")
    assert 1 == len({id(row.value.bounds) for row in found if isinstance(row.value, Histogram)})


def test_what_others_can_read_is_told_from_what_they_cannot() -> None:
    payload = encode(contribution([Row((), 1)]))
    fields = msgspec.msgpack.decode(payload)
    assert is_readable(payload)
    for wrong in (b"", b"\xc1", payload[:-1], msgspec.msgpack.encode([fields[0] + 1, *fields[1:]])):
        assert not is_readable(wrong)
        assert decode(wrong) is None
