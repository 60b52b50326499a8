"""Names on a page: legal, distinct, and each for one family only, whatever instruments of other libraries are
called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from math import inf

from bext_otel.metrics.snapshot import Family, FamilyType, Histogram, Point, Series, Snapshot
from bext_otel.metrics.third_party.name_conflicts import OUR_PAGE, log_left_out
from bext_otel.text import legal_name

__all__ = ["RESOURCE", "Head", "about_the_resource", "headed", "occupied"]

RESOURCE = "target_info"
"""The metric whose labels tell who speaks (OpenTelemetry's translation to Prometheus)."""

# Sample names that a family may show besides its own (OpenMetrics 1.0.0, "Metric types"); no other family may
# have them.
_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "counter": ("", "_total", "_created"),
    "summary": ("", "_count", "_sum", "_created"),
    "histogram": ("", "_count", "_sum", "_bucket", "_created"),
    "gaugehistogram": ("", "_gcount", "_gsum", "_bucket"),
    "info": ("", "_info"),
}

_OPENMETRICS_ONLY = frozenset({"info", "stateset", "gaugehistogram"})

# Arguments may hold a secret; whoever gave us a resource that has them meant them for a backend.
_NOT_TOLD = "process.command"


@dataclass(frozen=True)
class Head:
    """A family as the format names it: `sample` is the name of its plain samples, `left_out` says that
    another family has its names.

    `names` are all that it occupies.
    """

    name: str
    type: str
    sample: str
    names: frozenset[str]
    left_out: bool = False


def about_the_resource(snapshot: Snapshot) -> Series | None:
    """The labels of `RESOURCE`; None where there is nothing to tell."""
    told = tuple((key, value) for key, value in snapshot.resource.items() if not key.startswith(_NOT_TOLD))
    return Series(told) if told else None


def occupied(name: str, kind: str) -> frozenset[str]:
    """All names that a family of OpenMetrics has for itself."""
    return frozenset(name + suffix for suffix in _SUFFIXES.get(kind, ("",)))


def headed(snapshot: Snapshot, *, openmetrics: bool = False) -> Iterator[tuple[Family, Head]]:
    """Every family with its head. Families of one name and type become one, since a type may be said only
    once for a name."""
    taken = {"target", RESOURCE} if about_the_resource(snapshot) is not None else set()
    families = list(_merged(snapshot if openmetrics else _plain(snapshot)))
    reserved = {family.name for family in families if family.type != "counter"}
    for family in families:
        yield family, _head(family, taken, reserved, openmetrics=openmetrics)


def _plain(snapshot: Snapshot) -> Snapshot:
    """With the types of OpenMetrics as those that Prometheus' other formats know: all of them are gauges
    there."""
    if not any(family.type in _OPENMETRICS_ONLY for family in snapshot.families):
        return snapshot
    return replace(
        snapshot, families=tuple(plain for family in snapshot.families for plain in _as_gauges(family))
    )


def _as_gauges(family: Family) -> Iterator[Family]:
    if family.type not in _OPENMETRICS_ONLY:
        yield family
        return
    if family.type != "gaugehistogram":
        yield replace(family, type="gauge")
        return
    held: dict[str, list[Point]] = {"_bucket": [], "_gcount": [], "_gsum": []}
    for point in family.points:
        value, labels = point.value, point.series.labels
        if isinstance(value, Histogram):
            for bound, total in zip((*value.bounds, inf), accumulate(value.counts), strict=True):
                limit = "+Inf" if bound == inf else str(float(bound))
                series = Series(
                    (
                        *((f"exported_{name}" if name == "le" else name, text) for name, text in labels),
                        ("le", limit),
                    )
                )
                held["_bucket"].append(Point(series, total, time_unix=point.time_unix))
            held["_gcount"].append(Point(point.series, value.count, time_unix=point.time_unix))
            held["_gsum"].append(Point(point.series, value.sum, time_unix=point.time_unix))
    for suffix, points in held.items():
        yield replace(family, name=f"{family.name}{suffix}", type="gauge", unit="", points=points)


def _merged(snapshot: Snapshot) -> Iterator[Family]:
    groups: dict[tuple[str, FamilyType], list[Family]] = {}
    for family in snapshot.families:
        groups.setdefault((_legal(family.name), family.type), []).append(family)
    for (name, _), group in groups.items():
        first = group[0]
        if len(group) == 1 and first.name == name:
            yield first
        else:
            yield replace(
                first, name=name, points=[point for family in group for point in family.points], metric=None
            )


def _legal(name: str) -> str:
    """A legal metric name; what is not legal becomes `_`."""
    if re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name):
        return name
    return legal_name(name, colons=True)


def _head(family: Family, taken: set[str], reserved: set[str], *, openmetrics: bool) -> Head:
    """How a family is announced; its names are added to `taken`."""
    name, kind = family.name, str(family.type)
    if kind == "unknown" and not openmetrics:
        kind = "untyped"
    if openmetrics and kind == "counter":
        base = name.removesuffix("_total")
        # A counter there ends in `_total`; nothing appends that to a name of the specification, and `base`
        # must be free.
        name, kind = (base, kind) if base not in ("", name) and base not in reserved else (name, "unknown")
    if kind == "info":
        name = name.removesuffix("_info")
    names = occupied(name, kind) if openmetrics or kind != "counter" else frozenset({name})
    left_out = not names.isdisjoint(taken)
    if left_out:
        log_left_out(name, of=OUR_PAGE, holder=f"another one that shows {min(names & taken)}")
    else:
        taken |= names
    return Head(name, kind, family.name, names, left_out)
