"""One look at the service's metrics, as rules see it: samples by the names that `/metrics` has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from bext_otel.metrics.snapshot import Family, Snapshot
from bext_otel.metrics.values import Distribution, Histogram, Summary, Total

__all__ = ["Reading", "Samples", "readings_of"]

Samples: TypeAlias = Sequence[tuple[Mapping[str, str], float]]
"""(labels, value) of each series of one name."""

_AT = "# at "


class Reading:
    """Samples at one moment. `sample` finds those of a name: `bext_requests_total`,
    `bext_request_duration_ms` (with a label `quantile`), `bext_request_duration_ms_count`."""

    def __init__(self, time_unix: float, sample: Callable[[str], Samples]) -> None:
        self.time_unix = time_unix
        self.sample = sample

    @classmethod
    def of(cls, snapshot: Snapshot) -> Reading:
        """What a snapshot says; families that no rule names cost nothing."""
        families = {family.name: family for family in snapshot.families}
        held: dict[str, Samples] = {}

        def sample(name: str) -> Samples:
            if name not in held:
                held[name] = list(_samples(families, name))
            return held[name]

        return cls(snapshot.time_unix, sample)


def _samples(families: Mapping[str, Family], name: str) -> Iterator[tuple[Mapping[str, str], float]]:
    family, part = families.get(name), ""
    if family is None:
        name, _, part = name.rpartition("_")
        family = families.get(name)
        if family is None or part not in {"count", "sum"}:
            return
    for point in family.points:
        labels, value = dict(point.series.labels), point.value
        if isinstance(value, (Distribution, Histogram, Summary)):
            if part:
                yield labels, float(value.count if part == "count" else value.sum)
            elif not isinstance(value, Histogram):
                for quantile, at in value.quantiles():
                    yield {**labels, "quantile": f"{quantile:g}"}, at
        elif not part:
            yield labels, float(value.sum if isinstance(value, Total) else value)


def readings_of(text: str) -> Iterator[Reading]:
    """Pages of `/metrics` that were written one after the other, each below a line `# at SECONDS` (since
    1970); a page without such a line is at 0. Raises ValueError for what is no such text."""
    time_unix, lines = 0.0, list[str]()
    for line in [*text.splitlines(), f"{_AT}0"]:
        if not line.startswith(_AT):
            lines.append(line)
            continue
        if any(each.strip() for each in lines):
            yield _page(time_unix, "\n".join(lines) + "\n")
        time_unix, lines = float(line.removeprefix(_AT)), []


def _page(time_unix: float, text: str) -> Reading:
    from prometheus_client.parser import text_string_to_metric_families

    held: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            held.setdefault(sample.name, []).append((sample.labels, sample.value))
    return Reading(time_unix, lambda name: held.get(name, []))
