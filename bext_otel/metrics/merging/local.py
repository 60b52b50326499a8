"""This worker's own part, as rows to publish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

from bext_otel.catalogue import Kind
from bext_otel.metrics.families import Observed
from bext_otel.metrics.merging.wire import BLOCK, NumberRow, blocks, encode_block
from bext_otel.metrics.pacing import slices
from bext_otel.metrics.store.cell import Cell
from bext_otel.metrics.store.cells import NumberCell

__all__ = ["LocalRows"]

_FIELDS: Mapping[Kind, str] = {
    "counter": "numbers",
    "up_down_counter": "numbers",
    "gauge": "numbers",
    "summary": "summaries",
    "histogram": "histograms",
}
# Blocks of rows to handle between two pauses.
_BLOCKS_AT_ONCE = 8

_encoded = attrgetter("encoded")

Block: TypeAlias = "tuple[list[msgspec.Raw], msgspec.Raw]"
"""Rows as bytes, and these together."""


class LocalRows:
    """Makes the rows of every stream, and keeps them until they change: of many series, few do within a
    second."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[Block]] = {}

    def fields(self, observed: Observed, now: float) -> dict[str, Any]:
        """Rows and rates, by field of a contribution and exported name. Called under the reading's lock;
        `now` is monotonic seconds."""
        found: dict[str, dict[str, Any]] = {"rates": {}, **{field: {} for field in _FIELDS.values()}}
        for stream, values in observed.items():
            name = stream.metric.exported
            cells = [cell for cell in stream.cells() if cell not in values] if values else stream.cells()
            made = self._made(name, cells, now)
            seen = [row for cell, by_source in values.items() for row in _observed(cell, by_source)]
            if made or seen:
                found[_FIELDS[stream.metric.kind]][name] = [*(packed for _, packed in made), *blocks(seen)]
            if stream.rates is not None and any(rates := stream.grown(cells, now)):
                found["rates"][name] = rates
        return found

    def _made(self, name: str, cells: Sequence[Cell], now: float) -> list[Block]:
        before = self._blocks.get(name, [])
        made: list[Block] = []
        for part in slices(cells, _BLOCKS_AT_ONCE * BLOCK):
            for start in range(0, len(part), BLOCK):
                block = part[start : start + BLOCK]
                # What is recent changes by itself.
                kept: list[Any] = list(map(_encoded, block)) if isinstance(block[0], NumberCell) else [None]
                rows = [cell.encoded_row(now) for cell in block] if None in kept else kept
                same = before[len(made)] if len(made) < len(before) and before[len(made)][0] == rows else None
                made.append(same or (rows, encode_block(rows)))
        self._blocks[name] = made
        return made


def _observed(cell: Cell, by_source: Mapping[str, float]) -> list[NumberRow]:
    """A row for what is this process's, whatever was counted in the series included, and one for each source
    that workers share."""
    counted = cell.value if cell.live and isinstance(cell, NumberCell) else 0
    rows = [NumberRow(cell.key, value, None, source) for source, value in by_source.items() if source]
    if cell.live or "" in by_source:
        rows.append(NumberRow(cell.key, by_source.get("", 0) + counted))
    return rows
