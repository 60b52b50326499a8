"""What one worker has to say of itself, as bytes that any other can read.

Rows carry label values in the order of the catalogue. Counters, summaries and histograms are totals since the
worker's start, windows are what is recent, with the moment from when nothing of it is left; `base` is what
workers that are gone had counted, and this one took over. Several rows of one series add up: in a base they
hold a sum exactly, and windows that end at different times. `pid` is the process's id, `parent` that of the
one that forked it (0: nobody). Times are monotonic seconds, which all processes of a Linux host share.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional, TypeAlias, Union

import msgspec

from bext_otel.metrics.exponential import Buckets, Scaled
from bext_otel.metrics.pacing import slices
from bext_otel.metrics.snapshot import Exemplar, FamilyType, GaugeMerge
from bext_otel.metrics.window import Recent

__all__ = [
    "BLOCK",
    "Exemplified",
    "ForeignExemplar",
    "HistogramRow",
    "Known",
    "Labels",
    "NumberRow",
    "Publication",
    "Row",
    "SummaryRow",
    "ThirdPartyFamily",
    "ThirdPartyRow",
    "blocks",
    "decode",
    "encode",
    "encode_block",
    "encode_row",
    "exemplar_row",
]

# Evaluated by msgspec, which cannot read the text of a type on Python 3.10.
Labels: TypeAlias = tuple[Optional[str], ...]  # noqa: UP045

Exemplified: TypeAlias = Optional[tuple[float, float, str, str]]  # noqa: UP045
"""An exemplar's value, time, trace and span."""

ForeignExemplar: TypeAlias = tuple[int, float, float, tuple[tuple[str, str], ...]]
"""An exemplar that an application gave: the position of its bucket, value, time (NaN: not known) and
labels."""

_FORMAT = 3
# Blocks to decode between two pauses.
_BLOCKS_AT_ONCE = 8


class _Array(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Buckets, packed: machine integers in native order, since nobody but a process of the same host reads
    them."""

    offset: int
    code: str
    data: bytes

    @classmethod
    def of(cls, buckets: Buckets) -> _Array:
        return cls(buckets.offset, buckets.counts.typecode, buckets.counts.tobytes())

    def buckets(self) -> Buckets:
        counts: array[int] = array(self.code)
        counts.frombytes(self.data)
        return Buckets(self.offset, counts)


class NumberRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A counter's or a gauge's series. `source` is empty for what a worker holds, and names what several look
    at."""

    labels: Labels
    value: float | int
    exemplar: Exemplified = None
    source: str = ""


class SummaryRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A summary's series: its life and its window."""

    labels: Labels
    count: int
    sum: float
    zeros: int
    minimum: float
    maximum: float
    scale: int
    life: _Array
    window: _Array
    window_zeros: int
    window_low: float
    window_high: float
    empty_at: float
    exemplar: Exemplified = None

    @classmethod
    def of(
        cls,
        labels: Labels,
        totals: tuple[int, float, int, float, float],
        life: Scaled,
        recent: Recent,
        empty_at: float,
        exemplar: Exemplified = None,
    ) -> SummaryRow:
        """`totals` are count, sum, zeros, minimum and maximum."""
        life_packed, window_packed = _Array.of(life.buckets), _Array.of(recent.buckets)
        return cls(
            labels,
            *totals,
            life.scale,
            life_packed,
            window_packed,
            recent.zeros,
            recent.low,
            recent.high,
            empty_at,
            exemplar,
        )

    def lifetime(self) -> Scaled:
        """The buckets of its life."""
        return Scaled(self.scale, self.life.buckets())

    def recent(self, now: float) -> Recent | None:
        """Its window; None when all of that is too old."""
        if now >= self.empty_at:
            return None
        return Recent(self.window.buckets(), self.window_zeros, self.window_low, self.window_high)


class HistogramRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A histogram's series; `counts` are not cumulative."""

    labels: Labels
    counts: tuple[int, ...]
    sum: float
    count: int
    exemplar: Exemplified = None


class ThirdPartyRow(msgspec.Struct, array_like=True, frozen=True):
    """A series of another library: its labels, and a number or the bounds, counts, sum and count of a
    histogram.

    `time_unix`, `set_at` and `copied` are those of a `Point`; `pid` is whose it is, where that is not who
    publishes it.
    """

    labels: tuple[tuple[str, str], ...]
    number: float | int | None
    histogram: tuple[tuple[float, ...], tuple[int, ...], float, int] | None = None
    exemplars: tuple[ForeignExemplar, ...] = ()
    time_unix: float | None = None
    set_at: float = 0.0
    copied: int = 0
    pid: int = 0


class ThirdPartyFamily(msgspec.Struct, array_like=True, frozen=True):
    """A family of another library."""

    name: str
    type: FamilyType
    description: str
    rows: tuple[ThirdPartyRow, ...]
    unit: str = ""
    merge: GaugeMerge = "livesum"


Row: TypeAlias = "NumberRow | SummaryRow | HistogramRow"


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a worker publishes. Rows stand under the exported name of their metric."""

    format: int = _FORMAT
    started: float
    started_unix: float
    published: float
    numbers: Mapping[str, list[NumberRow]] = {}
    summaries: Mapping[str, list[SummaryRow]] = {}
    histograms: Mapping[str, list[HistogramRow]] = {}
    rates: Mapping[str, Iterable[tuple[Labels, float]]] = {}
    admitted: Mapping[str, list[tuple[str, float]]] = {}
    foreign: list[ThirdPartyFamily] = []
    system: Mapping[str, float] = {}
    telemetry: Mapping[str, int | float | str] = {}
    base: Publication | None = None
    pid: int = 0
    parent: int = 0


class _Message(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """A contribution on its way, field by field: rows in blocks, each of them bytes, so that a reader decodes
    only what has changed."""

    format: int
    started: float
    started_unix: float
    published: float
    numbers: Mapping[str, list[msgspec.Raw]]
    summaries: Mapping[str, list[msgspec.Raw]]
    histograms: Mapping[str, list[msgspec.Raw]]
    rates: Mapping[str, bytes]
    admitted: Mapping[str, list[tuple[str, float]]]
    foreign: list[ThirdPartyFamily]
    system: Mapping[str, float]
    telemetry: Mapping[str, Union[int, float, str]]  # noqa: UP007  as above
    base: list[msgspec.Raw]  # one at most: msgspec knows no optional bytes
    pid: int
    parent: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Message)
_DECODERS: Mapping[str, msgspec.msgpack.Decoder[Any]] = {
    "numbers": msgspec.msgpack.Decoder(list[NumberRow]),
    "summaries": msgspec.msgpack.Decoder(list[SummaryRow]),
    "histograms": msgspec.msgpack.Decoder(list[HistogramRow]),
}

BLOCK = 128
"""How many rows are encoded, and decoded, together."""

Known: TypeAlias = dict[bytes, list[Any]]
"""Rows by the bytes of their block, for a reader who knows most of them from before."""


def encode_row(row: Row) -> msgspec.Raw:
    """A row's bytes, to be kept until the row changes."""
    return msgspec.Raw(_encoder.encode(row))


def encode_block(rows: Sequence[Row | msgspec.Raw]) -> msgspec.Raw:
    """The bytes of some rows, at most `BLOCK`, to be kept until one of them changes."""
    return msgspec.Raw(_encoder.encode(rows))


def blocks(rows: Sequence[Row | msgspec.Raw]) -> list[msgspec.Raw]:
    """Rows as blocks."""
    return [encode_block(rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK)]


def encode(contribution: Publication, base: bytes = b"") -> bytes:
    """A contribution's bytes. In place of rows it may have what `blocks` made of them; `base` is what this
    function made of its base, if that is known already."""
    if contribution.base is not None:
        base = encode(contribution.base)
    fields = {name: getattr(contribution, name) for name in _Message.__struct_fields__}
    fields |= {field: {name: _packed(rows) for name, rows in fields[field].items()} for field in _DECODERS}
    fields["rates"] = {
        name: _column(contribution.numbers[name], rates) for name, rates in contribution.rates.items()
    }
    fields["base"] = [msgspec.Raw(base)] if base else []
    return _encoder.encode(_Message(**fields))


def _packed(rows: Sequence[Any]) -> Sequence[msgspec.Raw]:
    return rows if rows and isinstance(rows[0], msgspec.Raw) else blocks(rows)


def _column(rows: Sequence[NumberRow], rates: Any) -> bytes:
    """Rates in the order of the rows they belong to; 0 for those that have none. May be the column
    already."""
    if isinstance(rates, array):
        return rates.tobytes()
    by_labels = dict(rates)
    return array("d", [by_labels.get(row.labels, 0.0) for row in rows]).tobytes()


def decode(payload: bytes, known: Known | None = None) -> Publication | None:
    """A contribution from its bytes; None for those of another version, or no contribution at all.

    `known` has rows that were decoded before, and afterwards those of this contribution.
    """
    now: Known = {}
    try:
        found = _decoded(payload, known or {}, now)
    except (msgspec.MsgspecError, ValueError):
        return None
    if known is not None:
        known.clear()
        known.update(now)
    return found


def _decoded(payload: bytes | msgspec.Raw, before: Known, now: Known) -> Publication | None:
    message = _decoder.decode(payload)
    if message.format != _FORMAT:
        return None
    fields = {name: getattr(message, name) for name in _Message.__struct_fields__}
    for field, decoder in _DECODERS.items():
        fields[field] = {name: _rows(packed, decoder, before, now) for name, packed in fields[field].items()}
    fields["rates"] = {
        name: _Rates(fields["numbers"].get(name, []), column) for name, column in message.rates.items()
    }
    fields["base"] = next((_decoded(base, before, now) for base in message.base), None)
    return Publication(**fields)


def _rows(
    packed: Sequence[msgspec.Raw], decoder: msgspec.msgpack.Decoder[Any], before: Known, now: Known
) -> list[Any]:
    rows: list[Any] = []
    for part in slices(packed, _BLOCKS_AT_ONCE):
        for block in map(bytes, part):
            found = before.get(block)
            now[block] = found = decoder.decode(block) if found is None else found
            rows += found
    return rows


class _Rates:
    """Rates by labels; computed when somebody looks, since most scrapers don't."""

    def __init__(self, rows: Sequence[NumberRow], column: bytes) -> None:
        self._rows = rows
        self._column = column

    def __iter__(self) -> Iterator[tuple[Labels, float]]:
        rates = array("d")
        rates.frombytes(self._column)
        return ((row.labels, rate) for row, rate in zip(self._rows, rates, strict=False) if rate)


def exemplar_row(exemplar: Exemplar | None) -> Exemplified:
    """An exemplar as it stands in a row."""
    return (
        None
        if exemplar is None
        else (exemplar.value, exemplar.time_unix, exemplar.trace_id, exemplar.span_id)
    )
