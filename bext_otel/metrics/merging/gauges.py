"""Gauges of other libraries, of several workers: each family says how they become one (`Family.merge`).

A fork copies values. A copy that its process has not changed counts there for as long as it runs, and then
its parent's does not, where that has not changed it either: a server's master that has loaded the application
is no worker more. Where the parent goes on to change it, it is the parent's, and the child's copy does not
count. Of a process that is gone a copy says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isnan
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from bext_otel.metrics.merging.totals import sum_third_party
from bext_otel.metrics.merging.wire import Shared, ThirdPartyFamily, ThirdPartyRow
from bext_otel.metrics.snapshot import BORN_WITH, FORKED_SINCE

__all__ = ["Gauges"]

# Of so many workers that are gone a gauge of the mode `all` keeps each one's value: the newest.
_MOST_GONE = 64

_LIVE, _PID = "live", "pid"

LabelSet: TypeAlias = "tuple[tuple[str, str], ...]"


class _Told(msgspec.Struct, frozen=True):
    row: ThirdPartyRow
    pid: int
    parent: int
    published: float
    alive: bool

    @property
    def moment(self) -> tuple[float, bool, float, int]:
        """What tells the newer of two."""
        return self.row.set_at or self.row.time_unix or 0.0, self.alive, self.published, self.pid


class Gauges:
    """A family of gauges, or of whatever else is no count: what each worker says of each series."""

    def __init__(self, part: ThirdPartyFamily) -> None:
        self.part = part
        self._told: dict[LabelSet, list[_Told]] = {}

    def add(self, part: ThirdPartyFamily, whose: Shared) -> None:
        """Add one worker's part, or what was kept of workers that are gone."""
        contribution, alive = whose.contribution, whose.alive
        if not alive and part.merge.startswith(_LIVE):
            return
        for row in part.rows:
            if alive or not row.copied & BORN_WITH:
                told = _Told(
                    row, row.pid or contribution.pid, contribution.parent, contribution.published, alive
                )
                self._told.setdefault(row.labels, []).append(told)

    def rows(self) -> list[ThirdPartyRow]:
        """The service's."""
        mode = self.part.merge.removeprefix(_LIVE)
        found: list[ThirdPartyRow] = []
        for labels, told in self._told.items():
            counting = _counting(told)
            if mode == "all":
                found += _of_each(labels, counting)
            else:
                found.append(replace(_MODES[mode](counting), copied=0, pid=0))
        return found

    def kept(self) -> list[ThirdPartyRow]:
        """Of workers that are gone, as few rows as say it exactly."""
        mode = self.part.merge.removeprefix(_LIVE)
        found: list[ThirdPartyRow] = []
        for told in self._told.values():
            if mode == "all":
                newest = _by_process(told)[-_MOST_GONE:]
                found += [replace(each.row, copied=0, pid=each.pid) for each in newest]
            else:
                found.append(replace(_MODES[mode](told), copied=0, pid=0))
        return found


def _counting(told: Sequence[_Told]) -> Sequence[_Told]:
    """Those that count of a series: of a value that a fork has copied, either the parent's or the
    children's."""
    if len(told) == 1 or not any(each.row.copied for each in told):
        return told
    parents = {each.parent for each in told if each.alive}
    moved_on = {each.pid for each in told if each.alive and not each.row.copied & FORKED_SINCE}
    found = []
    for each in told:
        handed_on = each.row.copied & FORKED_SINCE and each.pid in parents
        left_behind = each.row.copied & BORN_WITH and each.parent in moved_on
        if not (handed_on or left_behind):
            found.append(each)
    return found or told


def _by_process(told: Iterable[_Told]) -> list[_Told]:
    """The newest of each process, the newest last."""
    newest = {each.pid: each for each in sorted(told, key=lambda each: (each.alive, each.moment))}
    return sorted(newest.values(), key=lambda each: each.moment)


def _of_each(labels: LabelSet, told: Sequence[_Told]) -> list[ThirdPartyRow]:
    """A series for each process, told apart by its id, as the library does it."""
    others = tuple((name if name != _PID else f"exported_{name}", value) for name, value in labels)
    return [
        replace(each.row, labels=(*others, (_PID, str(each.pid))), copied=0, pid=0)
        for each in sorted(_by_process(told), key=lambda each: each.pid)
    ]


def _most_recent(told: Sequence[_Told]) -> ThirdPartyRow:
    return max(told, key=lambda each: each.moment).row


def _sum(told: Sequence[_Told]) -> ThirdPartyRow:
    return sum_third_party([each.row for each in told])


def _extreme(told: Sequence[_Told], choose: Callable[..., float]) -> ThirdPartyRow:
    rows = [each.row for each in told]
    numbers = [value for row in rows if isinstance(value := row.value, (int, float)) and not isnan(value)]
    return replace(rows[0], value=choose(numbers)) if numbers else rows[0]


_MODES: Mapping[str, Callable[[Sequence[_Told]], ThirdPartyRow]] = {
    "max": lambda told: _extreme(told, max),
    "min": lambda told: _extreme(told, min),
    "sum": _sum,
    "mostrecent": _most_recent,
}
