"""This worker's own part, as rows to publish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from bext_otel.metrics.families import Observed
from bext_otel.metrics.merging.row_keys import key_of
from bext_otel.metrics.merging.wire import BLOCK, Block, Rates, Row, blocks
from bext_otel.metrics.pacing import slices
from bext_otel.metrics.store.cell import Cell
from bext_otel.metrics.store.cells import NumberCell

__all__ = ["LocalRows"]

# Blocks of rows to handle between two pauses.
_BLOCKS_AT_ONCE = 8

_published = attrgetter("published")


class LocalRows:
    """Makes the rows of every stream, and keeps them until they change: of many series, few do within a
    second."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[Block]] = {}

    def fields(self, observed: Observed, now: float) -> dict[str, Any]:
        """Rows and rates, by field of a contribution and key of the row. Called under the reading's lock;
        `now` is monotonic seconds."""
        series: dict[str, list[Block]] = {}
        rates: dict[str, Rates] = {}
        for stream, values in observed.items():
            name = key_of(stream.metric)
            cells = [cell for cell in stream.cells() if cell not in values] if values else stream.cells()
            found = [
                *self._made(name, cells, now),
                *blocks([row for cell, told in values.items() for row in _observed(cell, told)]),
            ]
            if found:
                series[name] = found
            if stream.rates is not None and any(grown := stream.grown(cells, now)):
                rates[name] = Rates(found, grown.tobytes())
        return {"series": series, "rates": rates}

    def _made(self, name: str, cells: Sequence[Cell], now: float) -> list[Block]:
        before = self._blocks.get(name, [])
        made: list[Block] = []
        for part in slices(cells, _BLOCKS_AT_ONCE * BLOCK):
            for start in range(0, len(part), BLOCK):
                cells_of_block = part[start : start + BLOCK]
                # What is recent changes by itself.
                kept: list[Any] = (
                    list(map(_published, cells_of_block))
                    if isinstance(cells_of_block[0], NumberCell)
                    else [None]
                )
                rows: list[Row] = kept if all(kept) else [cell.row(now) for cell in cells_of_block]
                same = (
                    before[len(made)] if len(made) < len(before) and before[len(made)].rows == rows else None
                )
                made += [same] if same is not None else blocks(rows)
        self._blocks[name] = made
        return made


def _observed(cell: Cell, by_source: Mapping[str, float]) -> list[Row]:
    """A row for what is this process's, whatever was counted in the series included, and one for each source
    that workers share."""
    counted = cell.value if cell.live and isinstance(cell, NumberCell) else 0
    rows = [Row(cell.key, value, None, source) for source, value in by_source.items() if source]
    if cell.live or "" in by_source:
        rows.append(Row(cell.key, by_source.get("", 0) + counted))
    return rows
