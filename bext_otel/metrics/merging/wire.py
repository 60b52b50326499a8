"""What one worker has to say of itself, as bytes that any other can read.

Rows carry label values in the order of the catalogue, and a value as a snapshot shows it. Counters,
distributions and histograms are totals since the worker's start; `base` is what workers that are gone had
counted, and this one took over. Several rows of one series add up. `pid` is the process's id, `parent` that
of the one that forked it (0: nobody). Times are monotonic seconds, which all processes of a Linux host share.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import inf
from typing import Any, NamedTuple, Optional, TypeAlias, TypeVar, Union

import msgspec

from bext_otel.metrics.merging import plausible
from bext_otel.metrics.pacing import slices
from bext_otel.metrics.snapshot import Exemplar, FamilyType, GaugeMerge
from bext_otel.metrics.values import Histogram, Value

__all__ = [
    "BLOCK",
    "Block",
    "Exemplified",
    "ForeignExemplar",
    "Known",
    "Labels",
    "Publication",
    "Rates",
    "Row",
    "Shared",
    "ThirdPartyFamily",
    "ThirdPartyRow",
    "blocks",
    "decode",
    "encode",
    "exemplar_row",
    "is_readable",
    "packed_rows",
]

# Evaluated by msgspec, which cannot read the text of a type on Python 3.10.
Labels: TypeAlias = tuple[Optional[str], ...]  # noqa: UP045

Exemplified: TypeAlias = Optional[tuple[float, float, str, str]]  # noqa: UP045
"""An exemplar's value, time, trace and span."""

ForeignExemplar: TypeAlias = tuple[int, float, float, tuple[tuple[str, str], ...]]
"""An exemplar that an application gave: the position of its bucket, value, time (NaN: not known) and
labels."""

_FORMAT = 6
_FLOAT_BYTES = array("d").itemsize
# What decoding raises; the third for what is nested without end.
_WRONG = (msgspec.MsgspecError, ValueError, RecursionError)
# Blocks to decode between two pauses.
_BLOCKS_AT_ONCE = 8


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A series. `source` is empty for what a worker holds, and names what several look at."""

    labels: Labels
    value: Value
    exemplar: Exemplified = None
    source: str = ""


class ThirdPartyRow(msgspec.Struct, array_like=True, frozen=True):
    """A series of another library.

    `time_unix`, `set_at` and `copied` are those of a `Point`; `pid` is whose it is, where that is not who
    publishes it; `began` is when it was measured first (Unix seconds; 0 where nobody knows).
    """

    labels: tuple[tuple[str, str], ...]
    value: Value
    exemplars: tuple[ForeignExemplar, ...] = ()
    time_unix: float | None = None
    set_at: float = 0.0
    copied: int = 0
    pid: int = 0
    began: float = 0.0


class ThirdPartyFamily(msgspec.Struct, array_like=True, frozen=True):
    """A family of another library. `scope` are the labels of who measures, which all of its series have;
    `limit` is how many of them the service shows (0: all), besides the one for the others. `packed` are its
    rows' blocks as bytes, where somebody has kept them."""

    name: str
    type: FamilyType
    description: str
    rows: tuple[ThirdPartyRow, ...]
    unit: str = ""
    merge: GaugeMerge = "livesum"
    scope: tuple[tuple[str, str], ...] = ()
    limit: int = 0
    packed: tuple[bytes, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from others: workers that say the same of it are added up."""
        return self.name, self.type, self.merge, self.scope, self.unit, self.description if self.scope else ""

    def with_rows(self, rows: Sequence[ThirdPartyRow]) -> ThirdPartyFamily:
        """The same with other rows."""
        return ThirdPartyFamily(
            self.name,
            self.type,
            self.description,
            tuple(rows),
            self.unit,
            self.merge,
            self.scope,
            self.limit,
        )


BLOCK = 128
"""How many rows are encoded, and decoded, together."""


R = TypeVar("R", "Row", "ThirdPartyRow")


class Block(NamedTuple):
    """Some rows, at most `BLOCK`, and their bytes."""

    rows: Sequence[Row]
    packed: bytes


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a worker publishes. Rows stand under the exported name of their metric."""

    format: int = _FORMAT
    started: float
    started_unix: float
    published: float
    series: Mapping[str, Sequence[Block]] = {}
    rates: Mapping[str, Iterable[tuple[Labels, float]]] = {}
    admitted: Mapping[str, list[tuple[str, float]]] = {}
    foreign: list[ThirdPartyFamily] = []
    system: Mapping[str, float] = {}
    telemetry: Mapping[str, int | float | str] = {}
    base: Publication | None = None
    pid: int = 0
    parent: int = 0

    def rows(self, name: str) -> list[Row]:
        """All rows of a metric."""
        return [row for block in self.series.get(name, ()) for row in block.rows]


class Shared:
    """A contribution and whether who made it is alive. The dead hold nothing any more, but what they counted
    happened."""

    __slots__ = ("alive", "contribution")

    def __init__(self, contribution: Publication, *, alive: bool) -> None:
        self.contribution = contribution
        self.alive = alive


class _PackedFamily(msgspec.Struct, array_like=True, frozen=True):
    """A family of another library on its way, its rows in blocks too."""

    name: str
    type: FamilyType
    description: str
    unit: str
    merge: GaugeMerge
    blocks: list[msgspec.Raw]
    scope: tuple[tuple[str, str], ...]
    limit: int


class _Message(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """A contribution on its way, field by field: rows in blocks, each of them bytes, so that a reader decodes
    only what has changed."""

    format: int
    started: float
    started_unix: float
    published: float
    series: Mapping[str, list[msgspec.Raw]]
    rates: Mapping[str, bytes]
    admitted: Mapping[str, list[tuple[str, float]]]
    foreign: list[_PackedFamily]
    system: Mapping[str, float]
    telemetry: Mapping[str, Union[int, float, str]]  # noqa: UP007  as above
    base: list[msgspec.Raw]  # one at most: msgspec knows no optional bytes
    pid: int
    parent: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Message)
_block_decoder = msgspec.msgpack.Decoder(list[Row])
_foreign_decoder = msgspec.msgpack.Decoder(list[ThirdPartyRow])

Known: TypeAlias = dict[bytes, list[Any]]
"""Rows by the bytes of their block, for a reader who knows most of them from before."""


def blocks(rows: Sequence[Row]) -> list[Block]:
    """Rows as blocks."""
    parts = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    return [Block(part, _encoder.encode(part)) for part in parts]


def encode(contribution: Publication, base: bytes = b"") -> bytes:
    """A contribution's bytes. `base` is what this function made of its base, if that is known already."""
    if contribution.base is not None and not base:
        base = encode(contribution.base)
    fields = {name: getattr(contribution, name) for name in _Message.__struct_fields__}
    fields["series"] = {
        name: [msgspec.Raw(block.packed) for block in held] for name, held in contribution.series.items()
    }
    fields["rates"] = {
        name: _column(contribution.series[name], rates) for name, rates in contribution.rates.items()
    }
    fields["foreign"] = list(map(_packed, contribution.foreign))
    fields["base"] = [msgspec.Raw(base)] if base else []
    return _encoder.encode(_Message(**fields))


def packed_rows(rows: Sequence[ThirdPartyRow]) -> list[bytes]:
    """Rows as blocks."""
    return [_encoder.encode(rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK)]


def _packed(family: ThirdPartyFamily) -> _PackedFamily:
    rows = family.rows
    return _PackedFamily(
        family.name,
        family.type,
        family.description,
        family.unit,
        family.merge,
        [msgspec.Raw(block) for block in family.packed or packed_rows(rows)],
        family.scope,
        family.limit,
    )


def _column(series: Sequence[Block], rates: Iterable[tuple[Labels, float]]) -> bytes:
    """Rates in the order of the rows they belong to; 0 for those that have none."""
    if isinstance(rates, Rates):
        return rates.column
    by_labels = dict(rates)
    return array("d", [by_labels.get(row.labels, 0.0) for block in series for row in block.rows]).tobytes()


def is_readable(payload: bytes) -> bool:
    """Whether others can make something of a contribution's bytes; its blocks, most of them known from
    before, are not looked into."""
    try:
        return _decoder.decode(payload).format == _FORMAT
    except _WRONG:
        return False


def decode(payload: bytes, known: Known | None = None) -> Publication | None:
    """A contribution from its bytes; None for those of another version, or no contribution at all, which
    what no worker can say is none either.

    `known` has rows that were decoded before, and afterwards those of this contribution.
    """
    now: Known = {}
    try:
        found = _decoded(payload, known or {}, now)
    except _WRONG:
        return None
    if known is not None:
        known.clear()
        known.update(now)
    return found


def _decoded(
    payload: bytes | msgspec.Raw, before: Known, now: Known, *, is_base: bool = False
) -> Publication | None:
    message = _decoder.decode(payload)
    if message.format != _FORMAT:
        return None
    # What is taken over is made one contribution, without a base of its own.
    if is_base and message.base:
        raise plausible.ImplausibleError
    figures = (*message.system.values(), *message.telemetry.values())
    plausible.check_moments((message.started, message.started_unix, message.published), figures)
    fields = {name: getattr(message, name) for name in _Message.__struct_fields__}
    fields["series"] = {name: _blocks(name, packed, before, now) for name, packed in message.series.items()}
    fields["rates"] = {
        name: Rates(fields["series"].get(name, []), column) for name, column in message.rates.items()
    }
    fields["foreign"] = [_unpacked(family, before, now) for family in message.foreign]
    fields["base"] = next((_decoded(base, before, now, is_base=True) for base in message.base), None)
    return Publication(**fields)


def _blocks(name: str, packed: Sequence[msgspec.Raw], before: Known, now: Known) -> list[Block]:
    found: list[Block] = []
    for block, rows in _decoded_blocks(packed, _block_decoder, plausible.check_rows, before, now):
        if not plausible.is_of(name, rows):
            raise plausible.ImplausibleError
        found.append(Block(rows, block))
    return found


def _unpacked(family: _PackedFamily, before: Known, now: Known) -> ThirdPartyFamily:
    found: list[ThirdPartyRow] = []
    for _, rows in _decoded_blocks(
        family.blocks, _foreign_decoder, plausible.check_foreign_rows, before, now
    ):
        found += rows
    plausible.check_types(family.type, found)
    return ThirdPartyFamily(
        family.name,
        family.type,
        family.description,
        tuple(found),
        family.unit,
        family.merge,
        family.scope,
        family.limit,
    )


def _decoded_blocks(
    packed: Sequence[msgspec.Raw],
    decoder: msgspec.msgpack.Decoder[list[R]],
    check: Callable[[list[R]], None],
    before: Known,
    now: Known,
) -> Iterator[tuple[bytes, list[R]]]:
    """Each block with its rows: those known from before as they are, others decoded and looked at by
    `check`."""
    for part in slices(packed, _BLOCKS_AT_ONCE):
        for block in map(bytes, part):
            rows = before.get(block)
            if rows is None:
                rows = _rows(decoder, block)
                check(rows)
            now[block] = rows
            yield block, rows


def _rows(decoder: msgspec.msgpack.Decoder[list[R]], block: bytes) -> list[R]:
    rows = decoder.decode(block)
    for row in rows:
        if isinstance(row.value, Histogram):
            msgspec.structs.force_setattr(row.value, "bounds", _shared(row.value.bounds))
    return rows


@lru_cache(maxsize=256)
def _shared(bounds: tuple[float, ...]) -> tuple[float, ...]:
    """The one tuple of these bounds: most histograms of a service have the same, which would take more memory
    than all else of them."""
    return bounds


class Rates:
    """Rates by labels, of the rows in `series`, in their order; computed when somebody looks, since most
    scrapers don't."""

    def __init__(self, series: Sequence[Block], column: bytes) -> None:
        self._series = series
        self.column = column[: len(column) // _FLOAT_BYTES * _FLOAT_BYTES]

    def __iter__(self) -> Iterator[tuple[Labels, float]]:
        rates = array("d")
        rates.frombytes(self.column)
        rows = (row for block in self._series for row in block.rows)
        return ((row.labels, rate) for row, rate in zip(rows, rates, strict=False) if 0 < rate < inf)


def exemplar_row(exemplar: Exemplar | None) -> Exemplified:
    """An exemplar as it stands in a row."""
    return (
        None
        if exemplar is None
        else (exemplar.value, exemplar.time_unix, exemplar.trace_id, exemplar.span_id)
    )
