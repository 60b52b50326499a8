"""What a row is called between workers: those of the catalogue by their exported name, those of the
application by their whole declaration.

A worker that has not declared a row (a server's master, or one that has not imported the module yet) can
read, show and pass on what others have counted in it; and two that declare it differently, as while a service
is restarted with one label more, know which label is which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, Optional, TypeAlias

import msgspec

from bext_otel.catalogue import Kind, Label, Merge, Metric
from bext_otel.declarations import is_own, row_by_exported

__all__ = ["KnownRow", "key_of", "known_row"]

Labels: TypeAlias = "tuple[str | None, ...]"

# Rows that nobody has declared here: as many as an application may sensibly have.
_MOST = 1000


class _Declaration(msgspec.Struct, array_like=True, frozen=True):
    name: str
    kind: Kind
    unit: str
    description: str
    exported: str
    merge: Merge
    bounds: tuple[float, ...]
    labels: tuple[tuple[str, Optional[tuple[str, ...]], int], ...]  # noqa: UP045  evaluated on Python 3.10


class KnownRow(NamedTuple):
    """A row as this process has it. `own_labels` is how many labels whoever published it has; `arranged`
    makes label values of theirs ours, None: they are."""

    row: Metric
    own_labels: int
    kind: Kind
    arranged: Callable[[Labels], Labels] | None = None


# By exported name.
_adopted: dict[str, Metric] = {}


def key_of(row: Metric) -> str:
    """What the row is called between workers."""
    if not is_own(row) and _adopted.get(row.exported) is not row:
        return row.exported
    return _key_of(row)


@lru_cache(maxsize=2 * _MOST)
def _key_of(row: Metric) -> str:
    labels = tuple([(label.name, label.values, label.budget) for label in row.labels])
    said = _Declaration(
        row.name, row.kind, row.unit, row.description, row.exported, row.merge, row.bounds, labels
    )
    return msgspec.json.encode(said).decode()


def known_row(key: str) -> KnownRow | None:
    """The row of this key; None where this process can make nothing of it."""
    if not key.startswith("["):
        row = row_by_exported(key)
        return KnownRow(row, len(row.labels), row.kind) if row is not None and not is_own(row) else None
    said = _said(key)
    if said is None:
        return None
    row = row_by_exported(said.exported) or _adopted_row(said)
    if row is None or row.kind != said.kind or row.bounds != said.bounds:
        return None
    names = tuple([name for name, _, _ in said.labels])
    if names == row.label_names:
        return KnownRow(row, len(names), row.kind)
    return KnownRow(row, len(names), row.kind, _arranging(names, row.label_names))


def _arranging(theirs: Sequence[str], ours: Sequence[str]) -> Callable[[Labels], Labels]:
    places = [theirs.index(name) if name in theirs else None for name in ours]
    return lambda labels: tuple([None if place is None else labels[place] for place in places])


@lru_cache(maxsize=2 * _MOST)
def _said(key: str) -> _Declaration | None:
    try:
        said = msgspec.json.decode(key, type=_Declaration)
    except msgspec.MsgspecError:
        return None
    sound = (said.kind == "histogram") == bool(said.bounds) and said.exported and said.name
    return said if sound else None


def _adopted_row(said: _Declaration) -> Metric | None:
    found = _adopted.get(said.exported)
    if found is None and len(_adopted) < _MOST:
        labels = tuple([Label(name, "", values, budget) for name, values, budget in said.labels])
        try:
            made = Metric(
                said.name,
                said.kind,
                said.unit,
                said.description,
                labels,
                exported=said.exported,
                bounds=said.bounds,
                merge=said.merge,
            )
        except ValueError:  # no row says such a thing
            return None
        found = _adopted.setdefault(said.exported, made)
    return found
