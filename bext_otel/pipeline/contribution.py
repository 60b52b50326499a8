"""What one worker has to say of itself, as bytes that any other can read.

Rows carry label values in the order of the catalogue. Counters, summaries and histograms are totals since the worker's start, windows are
what is recent, with the moment from when nothing of it is left; `base` is what workers that are gone had counted, and this one took over.
Several rows of one series add up: in a base they hold a sum exactly, and windows that end at different times.
`inherited` is what processes had counted from which this one was forked, by who they are, unless they speak for themselves, which they say
by `speaks`. Times are monotonic seconds, which all processes of a Linux host share.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Optional, TypeAlias

import msgspec

from bext_otel.pipeline.exponential import Buckets, Scaled
from bext_otel.pipeline.snapshot import Exemplar, FamilyType
from bext_otel.pipeline.windows import Recent

__all__ = [
    "Contribution",
    "Exemplified",
    "ForeignRow",
    "HistogramRow",
    "Labels",
    "NumberRow",
    "Row",
    "SummaryRow",
    "decode",
    "encode",
    "encode_row",
    "exemplar_row",
]

# Evaluated by msgspec, which cannot read the text of a type on Python 3.10.
Labels: TypeAlias = tuple[Optional[str], ...]  # noqa: UP045

Exemplified: TypeAlias = Optional[tuple[float, float, str, str]]  # noqa: UP045
"""An exemplar's value, time, trace and span."""

_FORMAT = 1


class _Array(msgspec.Struct, array_like=True, frozen=True):
    """Buckets, packed: machine integers in native order, since nobody but a process of the same host reads them."""

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


class NumberRow(msgspec.Struct, array_like=True, frozen=True):
    """A counter's or a gauge's series. `source` is empty for what a worker holds, and names what several look at."""

    labels: Labels
    value: float | int
    exemplar: Exemplified = None
    source: str = ""


class SummaryRow(msgspec.Struct, array_like=True, frozen=True):
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
        return cls(labels, *totals, life.scale, life_packed, window_packed, recent.zeros, recent.low, recent.high, empty_at, exemplar)

    def lifetime(self) -> Scaled:
        """The buckets of its life."""
        return Scaled(self.scale, self.life.buckets())

    def recent(self, now: float) -> Recent | None:
        """Its window; None when all of that is too old."""
        if now >= self.empty_at:
            return None
        return Recent(self.window.buckets(), self.window_zeros, self.window_low, self.window_high)


class HistogramRow(msgspec.Struct, array_like=True, frozen=True):
    """A histogram's series; `counts` are not cumulative."""

    labels: Labels
    counts: tuple[int, ...]
    sum: float
    count: int
    exemplar: Exemplified = None


class ForeignRow(msgspec.Struct, array_like=True, frozen=True):
    """A series of another library: its labels, and a number or the bounds, counts, sum and count of a histogram."""

    labels: tuple[tuple[str, str], ...]
    number: float | int | None
    histogram: tuple[tuple[float, ...], tuple[int, ...], float, int] | None = None


class ForeignPart(msgspec.Struct, array_like=True, frozen=True):
    """A family of another library."""

    name: str
    type: FamilyType
    description: str
    rows: tuple[ForeignRow, ...]


Row: TypeAlias = "NumberRow | SummaryRow | HistogramRow"


class Contribution(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Everything that a worker publishes. Rows stand under the exported name of their metric."""

    format: int = _FORMAT
    started: float
    started_unix: float
    published: float
    numbers: Mapping[str, list[NumberRow]] = {}
    summaries: Mapping[str, list[SummaryRow]] = {}
    histograms: Mapping[str, list[HistogramRow]] = {}
    rates: Mapping[str, list[tuple[Labels, float]]] = {}
    admitted: Mapping[str, list[tuple[str, float]]] = {}
    foreign: list[ForeignPart] = []
    system: Mapping[str, float] = {}
    telemetry: Mapping[str, int | float | str] = {}
    base: Contribution | None = None
    speaks: list[str] = []
    inherited: list[tuple[str, list[ForeignPart]]] = []


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Contribution)


def encode_row(row: Row) -> msgspec.Raw:
    """A row's bytes, to be kept until the row changes."""
    return msgspec.Raw(_encoder.encode(row))


def encode(contribution: Contribution) -> bytes:
    """A contribution's bytes. Its rows may be what `encode_row` made."""
    return _encoder.encode(contribution)


def decode(payload: bytes) -> Contribution | None:
    """A contribution from its bytes; None for those of another version, or no contribution at all."""
    try:
        found = _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError):
        return None
    return found if found.format == _FORMAT else None


def exemplar_row(exemplar: Exemplar | None) -> Exemplified:
    """An exemplar as it stands in a row."""
    return None if exemplar is None else (exemplar.value, exemplar.time_unix, exemplar.trace_id, exemplar.span_id)
