"""`/metrics` as text: Prometheus 0.0.4 and OpenMetrics 1.0.0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bext_otel.endpoints.formats import naming, samples
from bext_otel.endpoints.formats.naming import Head
from bext_otel.metrics.snapshot import Family, Point, Snapshot, escape

__all__ = ["CONTENT_TYPE", "OPENMETRICS_CONTENT_TYPE", "chunks", "render"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# UCUM unit -> the word that names end in (OpenTelemetry's translation to Prometheus); a unit in none of the
# names is not told.
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


def render(snapshot: Snapshot, *, openmetrics: bool = False) -> bytes:
    """All families as UTF-8 text; always legal, whatever the label values, descriptions and names."""
    return b"".join(chunks(snapshot, openmetrics=openmetrics))


def chunks(snapshot: Snapshot, *, openmetrics: bool = False) -> Iterator[bytes]:
    """The same in pieces, none of which takes long to make: between two of them others may work."""
    small = [_resource(snapshot, openmetrics=openmetrics)]
    for family, head in naming.headed(snapshot, openmetrics=openmetrics):
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


def _resource(snapshot: Snapshot, *, openmetrics: bool) -> str:
    """`target_info`, which tells who speaks."""
    told = naming.about_the_resource(snapshot)
    if told is None:
        return ""
    name, kind = ("target", "info") if openmetrics else (naming.RESOURCE, "gauge")
    return (
        f"# HELP {name} Attributes of the resource.\n# TYPE {name} "
        f"{kind}\n{naming.RESOURCE}{{{told.text}}} 1\n"
    )


def _metadata(family: Family, head: Head, *, openmetrics: bool) -> str:
    # Without a help text, tools complain (`promtool check metrics`).
    described = family.description or head.name
    # In 0.0.4 a quote stands for itself here.
    description = (
        escape(described) if openmetrics else '"'.join([escape(part) for part in described.split('"')])
    )
    parts = [f"# HELP {head.name} {description}\n", f"# TYPE {head.name} {head.type}\n"]
    if openmetrics:
        units = (
            (family.unit, _UNIT_WORDS.get(family.unit, "")) if head.type not in {"info", "stateset"} else ()
        )
        parts += [
            f"# UNIT {head.name} {unit}\n" for unit in units if unit and head.name.endswith(f"_{unit}")
        ][:1]
    return "".join(parts)


def _samples(family: Family, head: Head, *, openmetrics: bool) -> Iterator[str]:
    """The lines, a thousand or so at a time."""
    # Rows of the catalogue have distinct label names, all legal, in one order: no two series are written
    # alike, wherever they stand.
    size = samples.QUANTILES_AT_ONCE if family.type == "summary" else samples.AT_ONCE
    for points in samples.slices(family.points, size) if family.metric is not None else (family.points,):
        yield from _lines(family, points, head, openmetrics=openmetrics)


def _lines(family: Family, points: Sequence[Point], head: Head, *, openmetrics: bool) -> Iterator[str]:
    exemplars: samples.Exemplars = {}
    heads: Sequence[str]
    values: Sequence[float]
    declared = family.metric is not None
    if family.type == "summary":
        heads, values, times = samples.summaries(
            head.sample, points, openmetrics=openmetrics, declared=declared
        )
    elif family.type in {"histogram", "gaugehistogram"}:
        gauge = family.type == "gaugehistogram"
        told = samples.histograms(
            head.sample, points, openmetrics=openmetrics, declared=declared, gauge=gauge
        )
        heads, values, exemplars, times = told
    else:
        heads, values, exemplars = samples.numbers(
            head.sample, points, add=family.type == "counter", declared=declared
        )
        times = samples.times(points, heads)
        if openmetrics and head.type == "counter":
            heads, values, exemplars, times = samples.non_negative(heads, values, exemplars, times)
    has_exemplars = openmetrics and head.type in ("counter", "histogram", "gaugehistogram")
    return samples.lines(heads, values, exemplars if has_exemplars else {}, times, openmetrics=openmetrics)
