"""A stream as a snapshot shows it, and as it is told to other workers. Called under the reading's lock."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from bext_otel.metrics.families import extended
from bext_otel.metrics.instruments.cells import MeterCell
from bext_otel.metrics.instruments.plan import Shape
from bext_otel.metrics.instruments.stream import MeterStream
from bext_otel.metrics.merging.wire import BLOCK, ThirdPartyFamily, ThirdPartyRow, packed_rows
from bext_otel.metrics.pacing import AT_ONCE, slices
from bext_otel.metrics.snapshot import Exemplar, Family, FamilyType, GaugeMerge, Numbers, Point

__all__ = ["family_of", "part_of"]

_TYPES: Mapping[Shape, FamilyType] = {
    "counter": "counter",
    "up_down_counter": "gauge",
    "gauge": "gauge",
    "histogram": "histogram",
    "exponential": "histogram",
}


def _merge(stream: MeterStream) -> GaugeMerge:
    # What adds up over attributes adds up over workers too; of what is merely looked at the newest look
    # holds.
    return "livemostrecent" if stream.plan.shape == "gauge" else "livesum"


def family_of(stream: MeterStream) -> Family | None:
    """As a Prometheus family; None while it holds nothing."""
    plan = stream.plan
    points: Sequence[Point]
    if plan.shape in {"histogram", "exponential"}:
        points = [Point(cell.series, held.read(), exemplars=cell.exemplars) for cell, held in stream.points()]
    else:
        points = _numbers(stream)
    if not points:
        return None
    return Family(
        stream.exported, _TYPES[plan.shape], plan.description, stream.word, points, merge=_merge(stream)
    )


def _numbers(stream: MeterStream) -> Numbers:
    if stream.is_observed:
        observed = stream.observed
        return Numbers([cell.series for cell in observed], list(observed.values()))
    cells: Any
    cells, series = stream.columns()
    values: array[Any] = array("q")
    exemplars: dict[int, Exemplar] = {}
    reserved = stream.plan.reservoirs is not None
    for part in slices(cells):
        for position, cell in enumerate(part, len(values)):
            if cell.exemplar is not None or reserved:
                exemplars |= [(position, exemplar) for _, exemplar in cell.exemplars[-1:]]
        values = extended(values, [cell.value for cell in part])
    return Numbers(series, values, exemplars)


def part_of(stream: MeterStream, now: float) -> ThirdPartyFamily | None:
    """What there is to say for the other workers; None while there is nothing. `now` is monotonic seconds."""
    rows: list[ThirdPartyRow] = []
    for part in slices(stream.points(), AT_ONCE):
        for cell, held in part:
            if held is cell:
                rows.append(cell.foreign_row(now))
            else:
                value = held.read() if isinstance(held, MeterCell) else held
                rows.append(cell.row_of(value, stream.clock()))
    if not rows:
        return None
    plan = stream.plan
    return ThirdPartyFamily(
        stream.exported,
        _TYPES[plan.shape],
        plan.description,
        tuple(rows),
        stream.word,
        _merge(stream),
        stream.labels,
        plan.limit,
        _packed(stream, rows),
    )


def _packed(stream: MeterStream, rows: list[ThirdPartyRow]) -> tuple[bytes, ...]:
    """The rows as bytes, those that have not changed as they were: of many series few do within a second."""
    before, blocks = stream.blocks, []
    for start in range(0, len(rows), BLOCK):
        part, number = rows[start : start + BLOCK], start // BLOCK
        known = number < len(before) and before[number][0] == part
        blocks.append(before[number] if known else (part, packed_rows(part)[0]))
    stream.blocks = blocks
    return tuple([packed for _, packed in blocks])
