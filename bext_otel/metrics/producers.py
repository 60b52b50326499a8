"""Metrics of other libraries' making that readers bring along, and filters of what a reader gets
(specification, metrics SDK, "MetricProducer" and "MetricFilter"; the SDK's Python has neither)."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData, ScopeMetrics
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel.bounded import within
from bext_otel.errors import ConfigError
from bext_otel.once import Once

__all__ = [
    "NO_PRODUCTION",
    "MetricFilter",
    "MetricProducer",
    "PointKind",
    "Production",
    "Verdict",
    "filtered",
    "producing",
    "production_of",
]

_log = logging.getLogger("bext_otel")

R = TypeVar("R", bound=MetricReader)

PointKind: TypeAlias = Literal["sum", "gauge", "histogram", "exponential_histogram"]
"""What the points of a metric are."""

_KINDS: Mapping[type, tuple[PointKind, type]] = {
    sdk.Sum: ("sum", sdk.NumberDataPoint),
    sdk.Gauge: ("gauge", sdk.NumberDataPoint),
    sdk.Histogram: ("histogram", sdk.HistogramDataPoint),
    sdk.ExponentialHistogram: ("exponential_histogram", sdk.ExponentialHistogramDataPoint),
}


class Verdict(Enum):
    """What a filter says: of a metric, that it is kept, left out, or asked about by its attribute sets; of an
    attribute set, that it is kept or left out."""

    ACCEPT = "accept"
    DROP = "drop"
    ACCEPT_PARTIAL = "accept_partial"


class MetricFilter(ABC):
    """Says which metrics, and which attribute sets of them, a reader gets. It is asked at each collection, in
    the thread that collects. Where it raises, what it was asked about is kept."""

    @abstractmethod
    def test_metric(self, scope: InstrumentationScope, name: str, kind: PointKind, unit: str) -> Verdict:
        """Of a metric as a whole."""

    def test_attributes(
        self,
        scope: InstrumentationScope,
        name: str,
        kind: PointKind,
        unit: str,
        attributes: Mapping[str, Any],
    ) -> Verdict:
        """Of one attribute set, where `test_metric` said `ACCEPT_PARTIAL`: `ACCEPT` or `DROP`."""
        return Verdict.ACCEPT


class MetricProducer(ABC):
    """Brings metrics that another library has counted, as the SDK's data."""

    @abstractmethod
    def produce(self, metric_filter: MetricFilter | None = None) -> Iterable[ScopeMetrics]:
        """What there is now, without what `metric_filter` leaves out (see `filtered`). It is called at each
        collection, in a thread of its own."""


def filtered(scopes: Iterable[ScopeMetrics], metric_filter: MetricFilter | None) -> Iterator[ScopeMetrics]:
    """Without what the filter leaves out, and without what is empty then."""
    for each in scopes:
        if metric_filter is None:
            yield each
            continue
        kept = [
            found
            for metric in each.metrics
            if (found := _filtered(each.scope, metric, metric_filter)) is not None
        ]
        if kept:
            yield replace(each, metrics=kept)


def _filtered(
    scope: InstrumentationScope, metric: sdk.Metric, metric_filter: MetricFilter
) -> sdk.Metric | None:
    data: Any = metric.data
    about = (scope, metric.name, _KINDS[type(metric.data)][0], metric.unit or "")
    try:
        verdict = metric_filter.test_metric(*about)
        if verdict is not Verdict.ACCEPT_PARTIAL:
            return None if verdict is Verdict.DROP else metric
        points: list[Any] = [
            point
            for point in metric.data.data_points
            if metric_filter.test_attributes(*about, point.attributes or {}) is not Verdict.DROP
        ]
    except Exception as error:  # a filter of the application's
        _tell(metric_filter, error, "what it was asked about is kept")
        return metric
    return replace(metric, data=replace(data, data_points=points)) if points else None


class _Source:
    """A producer, which is not asked again while it is at it."""

    def __init__(self, producer: MetricProducer) -> None:
        self.producer = producer
        self.is_busy = False

    def ask(self, metric_filter: MetricFilter | None) -> tuple[ScopeMetrics, ...]:
        try:
            return tuple(filtered(map(_sound, self.producer.produce(metric_filter)), metric_filter))
        finally:
            self.is_busy = False


class Production:
    """What one reader or exporter gets beside our own metrics, and what it does not get."""

    def __init__(
        self, producers: Iterable[MetricProducer] = (), metric_filter: MetricFilter | None = None
    ) -> None:
        self._sources = tuple(map(_Source, producers))
        self._filter = metric_filter
        self._is_nothing = not self._sources and metric_filter is None

    def reset(self) -> None:
        """Start over, as a forked child does: who was asked in the parent is not at it here."""
        for source in self._sources:
            source.is_busy = False

    def complete(self, found: MetricsData, seconds: float) -> MetricsData:
        """The data, filtered, with what the producers bring within `seconds`."""
        if self._is_nothing:
            return found
        (ours, *others) = found.resource_metrics
        scopes = [*filtered(ours.scope_metrics, self._filter), *self._produced(seconds)]
        return MetricsData([replace(ours, scope_metrics=scopes), *others])

    def _produced(self, seconds: float) -> Iterator[ScopeMetrics]:
        """One that raises or hangs costs what it alone would bring."""
        asked = [source for source in self._sources if not source.is_busy]
        for source in asked:
            source.is_busy = True
        answers = within(seconds, [partial(source.ask, self._filter) for source in asked])
        for source, answer in zip(asked, answers, strict=True):
            if answer is None:
                _tell(source.producer, "no answer in time", "it is asked again when it has answered")
            elif answer.error is not None:
                _tell(source.producer, answer.error, "what it would bring is left out")
            else:
                yield from answer.value  # type: ignore[misc]  # of `ask`


NO_PRODUCTION = Production()

_productions: WeakKeyDictionary[MetricReader, Production] = WeakKeyDictionary()


def producing(reader: R, *producers: MetricProducer, metric_filter: MetricFilter | None = None) -> R:
    """The reader, which also collects what the producers bring, and gets nothing that the filter leaves out,
    ours or theirs. Before or after it is added to a provider of ours.

    Raises ConfigError for what is no producer or no filter.
    """
    for producer in producers:
        if not isinstance(producer, MetricProducer):
            raise ConfigError(
                f"{type(producer).__name__} is no MetricProducer of bext_otel.metrics.producers"
            )
    if metric_filter is not None and not isinstance(metric_filter, MetricFilter):
        raise ConfigError(f"{type(metric_filter).__name__} is no MetricFilter of bext_otel.metrics.producers")
    _productions[reader] = Production(producers, metric_filter)
    return reader


def production_of(reader: MetricReader) -> Production:
    """What was registered with a reader."""
    return _productions.get(reader, NO_PRODUCTION)


def _sound(scope: Any) -> ScopeMetrics:
    """Raises for what an exporter could not write: it would cost everybody's metrics."""
    if not isinstance(scope, ScopeMetrics) or not isinstance(scope.scope, InstrumentationScope):
        raise TypeError(f"a {type(scope).__name__} is no ScopeMetrics with a scope")
    for metric in scope.metrics:
        kind, point = _KINDS.get(type(metric.data), ("", object))
        texts = (metric.name, metric.description, metric.unit)
        if not kind or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"metric {metric.name}: its data are none that the SDK has")
        if not all(isinstance(each, point) for each in metric.data.data_points):
            raise TypeError(f"metric {metric.name}: its data are none that the SDK has")
    return scope


_told = Once(64)


def _tell(part: object, error: object, what_then: str) -> None:
    reason = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error)
    name = type(part).__qualname__
    with suppress(Exception):
        if _told.is_first(f"{name}: {reason[:80]}"):
            _log.warning("metrics: %s: %s; %s", name, reason[:300], what_then)
