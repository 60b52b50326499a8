"""What of a snapshot somebody may see."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from bext_otel.catalogue import SERVER_ADDRESS, SERVER_PORT
from bext_otel.metrics.snapshot import Family, Point, Series, Snapshot

__all__ = ["WHOLE", "View", "seen"]

_ADDRESS = frozenset({SERVER_ADDRESS.name, SERVER_PORT.name})


class View(NamedTuple):
    """Which details are shown: `system`'s of the process, `telemetry`'s of queues, exports and backends."""

    system: bool
    telemetry: bool


WHOLE = View(system=True, telemetry=True)


def seen(snapshot: Snapshot, view: View) -> Snapshot:
    """The snapshot without the details that are not shown."""
    if view == WHOLE:
        return snapshot
    return replace(
        snapshot,
        system=snapshot.system if view.system else {},
        telemetry=snapshot.telemetry if view.telemetry else {},
        families=snapshot.families if view.telemetry else tuple(map(_without_address, snapshot.families)),
    )


def _without_address(family: Family) -> Family:
    """Our own metrics about exports without the backend's address; the component's name still tells them
    apart."""
    row = family.metric
    if row is None or SERVER_ADDRESS not in row.labels:
        return family
    points = [
        Point(Series(tuple(label for label in point.series.labels if label[0] not in _ADDRESS)), point.value)
        for point in family.points
    ]
    return replace(family, points=points)
