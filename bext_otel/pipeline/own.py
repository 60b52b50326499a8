"""This worker's own part, as rows to publish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bext_otel.catalogue import Kind
from bext_otel.pipeline.cells import Cell, NumberCell
from bext_otel.pipeline.contribution import Labels, NumberRow, encode_row
from bext_otel.pipeline.families import Observed
from bext_otel.pipeline.streams import Streams

__all__ = ["rates", "rows"]

_FIELDS: Mapping[Kind, str] = {
    "counter": "numbers",
    "up_down_counter": "numbers",
    "gauge": "numbers",
    "summary": "summaries",
    "histogram": "histograms",
}


def rows(observed: Observed, now: float) -> dict[str, Any]:
    """The rows of every stream as bytes, each made when it has changed, by field of a contribution and exported name."""
    found: dict[str, dict[str, list[Any]]] = {field: {} for field in _FIELDS.values()}
    for stream, values in observed.items():
        told = [cell.encoded_row(now) for cell in stream.cells() if cell not in values]
        for cell, by_source in values.items():
            told += map(encode_row, _observed(cell, by_source))
        if told:
            found[_FIELDS[stream.metric.kind]][stream.metric.exported] = told
    return found


def rates(streams: Streams, now: float) -> dict[str, list[tuple[Labels, float]]]:
    """Increases per second, by exported name."""
    return {
        stream.metric.exported: [(cell.key, rate) for cell, rate in stream.grown(now)] for stream in streams if stream.rates is not None
    }


def _observed(cell: Cell, by_source: Mapping[str, float]) -> list[NumberRow]:
    """A row for what is this process's, whatever was counted in the series included, and one for each source that workers share."""
    counted = cell.value if cell.live and isinstance(cell, NumberCell) else 0
    rows = [NumberRow(cell.key, value, None, source) for source, value in by_source.items() if source]
    if cell.live or "" in by_source:
        rows.append(NumberRow(cell.key, by_source.get("", 0) + counted))
    return rows
