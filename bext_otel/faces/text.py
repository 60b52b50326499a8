"""`/metrics` as text: Prometheus 0.0.4 and OpenMetrics 1.0.0."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bext_otel.faces import samples
from bext_otel.pipeline.snapshot import Family, FamilyType, Series, Snapshot, escape

__all__ = ["CONTENT_TYPE", "OPENMETRICS_CONTENT_TYPE", "chunks", "render"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# Sample names that a family may show besides its own (OpenMetrics 1.0.0, "Metric types"); no other family may have them.
_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "counter": ("", "_total", "_created"),
    "summary": ("", "_count", "_sum", "_created"),
    "histogram": ("", "_count", "_sum", "_bucket", "_created"),
}
# UCUM unit -> the word that names end in (OpenTelemetry's translation to Prometheus); a unit in none of the names is not told.
_UNIT_WORDS: Mapping[str, str] = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "1": "ratio",
    "%": "percent",
}

# Characters: half a millisecond's work; less at a time would cost more in all.
_LARGE = 32 * 1024

# The resource tells who speaks. Its other attributes (command line, user, host) are nobody's business on an open endpoint.
_TOLD_OF_THE_RESOURCE = ("service.", "telemetry.", "deployment.", "bext.")


@dataclass(frozen=True)
class _Head:
    """A family as the format names it: `sample` is the name of its plain samples, `left_out` says that another family has its names."""

    name: str
    type: str
    sample: str
    left_out: bool = False


def render(snapshot: Snapshot, *, openmetrics: bool = False) -> bytes:
    """All families as UTF-8 text; always legal, whatever the label values, descriptions and names."""
    return b"".join(chunks(snapshot, openmetrics=openmetrics))


def chunks(snapshot: Snapshot, *, openmetrics: bool = False) -> Iterator[bytes]:
    """The same in pieces, none of which takes long to make: between two of them others may work."""
    taken: set[str] = set()
    small = [_resource(snapshot, taken, openmetrics=openmetrics)]
    families = list(_merged(snapshot))
    reserved = {family.name for family in families if family.type != "counter"}
    for family in families:
        head = _head(family, taken, reserved, openmetrics=openmetrics)
        if head.left_out:
            if not openmetrics:  # there, a comment is an error
                small.append(f"# {head.name} is left out: another family has its names\n")
            continue
        small.append(_metadata(family, head, openmetrics=openmetrics))
        for lines in _samples(family, head, openmetrics=openmetrics):
            small.append(lines)
            if sum(map(len, small)) >= _LARGE:
                yield "".join(small).encode()
                small.clear()
    if openmetrics:
        small.append("# EOF\n")
    if any(small):
        yield "".join(small).encode()


def _merged(snapshot: Snapshot) -> Iterator[Family]:
    """Families with legal, distinct names: those of one name and type become one, since `# TYPE` may be said only once for a name."""
    groups: dict[tuple[str, FamilyType], list[Family]] = {}
    for family in snapshot.families:
        groups.setdefault((_legal(family.name), family.type), []).append(family)
    for (name, _), group in groups.items():
        first = group[0]
        if len(group) == 1 and first.name == name:
            yield first
        else:
            yield replace(first, name=name, points=[point for family in group for point in family.points], metric=None)


def _resource(snapshot: Snapshot, taken: set[str], *, openmetrics: bool) -> str:
    """`target_info`, which tells who speaks (OpenTelemetry's translation to Prometheus); its names are added to `taken`."""
    told = tuple((key, value) for key, value in snapshot.resource.items() if key.startswith(_TOLD_OF_THE_RESOURCE))
    if not told:
        return ""
    taken |= {"target", "target_info"}
    name, kind = ("target", "info") if openmetrics else ("target_info", "gauge")
    return f"# HELP {name} Attributes of the resource.\n# TYPE {name} {kind}\ntarget_info{{{Series(told).text}}} 1\n"


def _legal(name: str) -> str:
    """A legal metric name; what is not legal becomes `_`."""
    if re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name):
        return name
    legal = re.sub(r"[^a-zA-Z0-9:]+", "_", name) or "_"
    return f"_{legal}" if legal[0].isdigit() else legal


def _head(family: Family, taken: set[str], reserved: set[str], *, openmetrics: bool) -> _Head:
    """How a family is announced; its names are added to `taken`."""
    name, kind = family.name, str(family.type)
    if kind == "unknown" and not openmetrics:
        kind = "untyped"
    if openmetrics and kind == "counter":
        base = name.removesuffix("_total")
        # A counter there ends in `_total`; nothing appends that to a name of the specification, and `base` must be free.
        name, kind = (base, kind) if base not in ("", name) and base not in reserved else (name, "unknown")
    suffixes = _SUFFIXES.get(kind, ("",)) if openmetrics or kind != "counter" else ("",)
    names = {name + suffix for suffix in suffixes}
    left_out = not names.isdisjoint(taken)
    if not left_out:
        taken |= names
    return _Head(name, kind, family.name, left_out)


def _metadata(family: Family, head: _Head, *, openmetrics: bool) -> str:
    parts = []
    if family.description:
        # In 0.0.4 a quote stands for itself here.
        description = escape(family.description) if openmetrics else '"'.join([escape(part) for part in family.description.split('"')])
        parts.append(f"# HELP {head.name} {description}\n")
    parts.append(f"# TYPE {head.name} {head.type}\n")
    if openmetrics:
        units = (family.unit, _UNIT_WORDS.get(family.unit, ""))
        parts += [f"# UNIT {head.name} {unit}\n" for unit in units if unit and head.name.endswith(f"_{unit}")][:1]
    return "".join(parts)


def _samples(family: Family, head: _Head, *, openmetrics: bool) -> Iterator[str]:
    exemplars: samples.Exemplars = {}
    heads: Sequence[str]
    values: Sequence[float]
    # Rows of the catalogue have distinct label names, all legal, in one order.
    declared = family.metric is not None
    if family.type == "summary":
        heads, values = samples.summaries(head.sample, family.points, openmetrics=openmetrics, declared=declared)
    elif family.type == "histogram":
        heads, values, exemplars = samples.histograms(head.sample, family.points, openmetrics=openmetrics, declared=declared)
    else:
        heads, values, exemplars = samples.numbers(head.sample, family.points, add=family.type == "counter", declared=declared)
        if openmetrics and head.type == "counter":
            heads, values, exemplars = samples.non_negative(heads, values, exemplars)
    has_exemplars = openmetrics and head.type in ("counter", "histogram")
    return samples.lines(heads, values, exemplars if has_exemplars else {})
