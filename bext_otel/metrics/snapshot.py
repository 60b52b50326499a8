"""What a reading hands out: one immutable picture of the service's metrics, as plain data.

Text, JSON, alert rules and pages are pure functions of a `Snapshot`, so they agree with each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeAlias, overload

from bext_otel.catalogue import Metric
from bext_otel.metrics.values import Distribution, Histogram, Summary
from bext_otel.text import legal_name

__all__ = [
    "BORN_WITH",
    "FORKED_SINCE",
    "Distribution",
    "Exemplar",
    "Family",
    "FamilyType",
    "GaugeMerge",
    "Histogram",
    "LabelSet",
    "Numbers",
    "Point",
    "Series",
    "Snapshot",
    "Summary",
]

LabelSet: TypeAlias = tuple[tuple[str, str], ...]
"""(name, value) pairs in declared order."""

FamilyType: TypeAlias = Literal[
    "counter", "gauge", "summary", "histogram", "gaugehistogram", "info", "stateset", "unknown"
]

GaugeMerge: TypeAlias = Literal[
    "all", "liveall", "max", "livemax", "min", "livemin", "sum", "livesum", "mostrecent", "livemostrecent"
]
"""How what is no count becomes one value of several workers: `prometheus_client`'s multiprocess modes. Those
that begin with `live` know nothing of workers that are gone."""

BORN_WITH, FORKED_SINCE = 1, 2
"""What a fork has copied: this process was forked with the value, and has not changed it; it had the value
when it forked others."""

# What must not stand in a quoted label value as it is. NUL ends the input for Prometheus' own lexer; a lone
# surrogate is not UTF-8.
_AWKWARD = re.compile('["\\\\\n\x00\ud800-\udfff]')
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}


class Series:
    """One combination of labels of one family, made once and kept as long as the series lives.

    Labels stand in their declared order. `cache` belongs to whoever renders text: `(key, what it computed
    from the labels under that key)`, replaced as a whole, so that label text is computed once and not for
    every scrape.
    """

    __slots__ = ("_names", "_values", "cache")

    def __init__(self, labels: LabelSet) -> None:
        self._names: tuple[str, ...] = tuple([name for name, _ in labels])
        self._values: tuple[str | None, ...] = tuple([value for _, value in labels])
        self.cache: tuple[object, Any] | None = None

    @classmethod
    def of(cls, names: tuple[str, ...], values: tuple[str | None, ...]) -> Series:
        """The series of these names and values, without those that are None. Both are kept as they are:
        others may hold them too."""
        made = cls.__new__(cls)
        made._names, made._values, made.cache = names, values, None
        return made

    @property
    def labels(self) -> LabelSet:
        """(name, value) pairs; made for each use, since pairs take more memory than everything else about a
        series."""
        return tuple(
            [
                (name, value)
                for name, value in zip(self._names, self._values, strict=True)
                if value is not None
            ]
        )

    @property
    def text(self) -> str:
        r"""The labels as Prometheus writes them, without braces: `app="a",route="/x"`, with `\`, `"` and
        newlines escaped.

        Safe for any label: names become legal (`http.route` is `http_route`; two that become the same are
        joined by `;`), and what cannot be written as UTF-8, or is NUL, becomes U+FFFD. Computed on each use,
        since what readers keep is made of it.
        """
        return label_text(self.labels)

    @property
    def sorted_text(self) -> str:
        """The same in the order of names: alike for series that differ in the order of their labels only."""
        return label_text(tuple(sorted(self.labels)), by_name=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Series) and self.labels == other.labels

    def __hash__(self) -> int:
        return hash(self.labels)

    def __repr__(self) -> str:
        return f"Series({self.labels!r})"


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One measurement and the trace it was made in; ids in lower-case hexadecimal, time in seconds since 1970
    (NaN: not known).

    `labels` are all labels of one that the application has given itself, the ids among them if it named them;
    `dropped` are the attributes of the measurement that its series has not.
    """

    value: float
    time_unix: float
    trace_id: str
    span_id: str
    labels: LabelSet = ()
    dropped: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """The value of one series.

    `exemplars` are those of a histogram whose buckets have one each: (position of the bucket, exemplar).
    `time_unix` is the time that another library's collector gave the value, `set_at` when a gauge was set
    (Unix seconds; 0 where nobody knows), and `copied` says whether a fork has copied it: `BORN_WITH`,
    `FORKED_SINCE`, or both added up.
    """

    series: Series
    value: float | Distribution | Histogram | Summary
    exemplar: Exemplar | None = None
    exemplars: tuple[tuple[int, Exemplar], ...] = ()
    time_unix: float | None = None
    set_at: float = 0.0
    copied: int = 0


class Numbers(Sequence[Point]):
    """Points whose values are plain numbers, kept as two columns of one length: 100,000 points cost no object
    each.

    `exemplars` has the position of a point -> its exemplar, for those that have one.
    """

    __slots__ = ("exemplars", "series", "values")

    def __init__(
        self,
        series: Sequence[Series],
        values: Sequence[float],
        exemplars: Mapping[int, Exemplar] | None = None,
    ) -> None:
        if len(series) != len(values):
            raise ValueError(f"{len(series)} series, {len(values)} values: expected as many of both")
        self.series = series
        self.values = values
        self.exemplars = exemplars or {}

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Point: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Point]: ...
    def __getitem__(self, index: int | slice) -> Point | Sequence[Point]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        return Point(self.series[position], self.values[position], self.exemplars.get(position))

    def __iter__(self) -> Iterator[Point]:
        exemplars = self.exemplars
        for position, (series, value) in enumerate(zip(self.series, self.values, strict=True)):
            yield Point(series, value, exemplars.get(position))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence)
            and len(self) == len(other)
            and all(mine == its for mine, its in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]  # a column may be as long as a service has series


@dataclass(frozen=True, slots=True)
class Family:
    """All series of one metric.

    `name` is the exported one (`bext_requests_total`), `unit` the UCUM unit. `metric` is its row in the
    catalogue; None for an instrument of another library. Values are as `type` says. `merge` is how several
    workers become one, where the type does not say it: counters, summaries and histograms are added up. The
    unit of another library is as that library says it.
    """

    name: str
    type: FamilyType
    description: str
    unit: str
    points: Sequence[Point]
    metric: Metric | None = None
    merge: GaugeMerge = "livesum"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The service at one moment.

    Times are seconds since 1970; `rates` has increases per second over the rate window, by exported name and
    labels; `system` has `memory_mb`, `cpu_percent` and `open_fds` as far as they are known; `telemetry` tells
    how telemetry itself fares; `resource` has the attributes of the resource as text.
    """

    time_unix: float
    started_unix: float
    uptime_seconds: float
    families: tuple[Family, ...] = ()
    rates: Mapping[str, Mapping[LabelSet, float]] = field(default_factory=dict)
    system: Mapping[str, float] = field(default_factory=dict)
    telemetry: Mapping[str, int | float | str] = field(default_factory=dict)
    resource: Mapping[str, str] = field(default_factory=dict)

    def family(self, metric: Metric) -> Family | None:
        """The family of a row of the catalogue; None while nothing was recorded for it."""
        return next((family for family in self.families if family.metric is metric), None)


def label_text(labels: LabelSet, *, by_name: bool = False) -> str:
    """Labels as Prometheus writes them, without braces; see `Series.text`."""
    written = legal_labels(labels)
    names = sorted(written) if by_name else written
    return ",".join([f'{name}="{escape(written[name])}"' for name in names])


def legal_labels(labels: LabelSet) -> dict[str, str]:
    """Labels by legal, distinct names; values stay as they are, those of names that become the same are
    joined by `;`."""
    written: dict[str, str] = {}
    for name, value in labels:
        legal, text = label_name(name), str(value)
        written[legal] = f"{written[legal]};{text}" if legal in written else text
    return written


@lru_cache(maxsize=1024)
def label_name(name: str) -> str:
    """A legal label name."""
    return legal_name(name)


def escape(value: str) -> str:
    """A label value as it stands between quotes."""
    if _AWKWARD.search(value) is None:
        return value
    return _AWKWARD.sub(lambda found: _ESCAPES.get(found[0], "\N{REPLACEMENT CHARACTER}"), value)
