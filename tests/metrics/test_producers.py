"""What producers bring, and what filters leave out: for readers of the application's."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel.errors import ConfigError
from bext_otel.metrics.producers import MetricFilter, MetricProducer, Verdict, filtered, producing
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.store.streams import Streams
from tests.waiting import until


def brought(name: str = "cups.washed", **values: int) -> ScopeMetrics:
    """A sum with a point for each kind."""
    points = [sdk.NumberDataPoint({"kind": kind}, 1, 2, value) for kind, value in values.items()]
    data = sdk.Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
    return ScopeMetrics(InstrumentationScope("cups"), [sdk.Metric(name, "Cups", "{cup}", data)], "")


class Cups(MetricProducer):
    asked: list[Any]

    def __init__(self, *scopes: Any) -> None:
        self.scopes, self.asked = scopes, []

    def produce(self, metric_filter: MetricFilter | None = None) -> Iterable[ScopeMetrics]:
        self.asked.append(metric_filter)
        return self.scopes


class Without(MetricFilter):
    """Leaves metrics out by their names, and attribute sets by any of their values."""

    def __init__(self, *names: str, value: str = "") -> None:
        self.names, self.value, self.seen = names, value, []  # type: ignore[var-annotated]

    def test_metric(self, scope: InstrumentationScope, name: str, kind: Any, unit: str) -> Verdict:
        self.seen.append((scope.name, name, kind, unit))
        return Verdict.DROP if name in self.names else Verdict.ACCEPT_PARTIAL

    def test_attributes(
        self, scope: InstrumentationScope, name: str, kind: Any, unit: str, attributes: Mapping[str, Any]
    ) -> Verdict:
        return Verdict.DROP if self.value in attributes.values() else Verdict.ACCEPT


@pytest.fixture
def provider(streams: Streams) -> Iterator[BextMeterProvider]:
    made = BextMeterProvider(streams, Resource({"service.name": "shop"}))
    yield made
    made.shutdown()


def values(reader: InMemoryMetricReader) -> dict[str, list[float]]:
    data = reader.get_metrics_data()
    return {
        metric.name: [point.value for point in metric.data.data_points]  # type: ignore[union-attr]  # numbers
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


@pytest.mark.specification("Metrics", "A metric Producer accepts an optional metric Filter")
@pytest.mark.specification(
    "Metrics",
    "The metric Reader implementation supports registering metric Filter and passing them  its registered "
    "metric Producers",
)
@pytest.mark.specification(
    "Metrics", "The metric SDK's metric Producer implementations uses the metric Filter"
)
def test_a_reader_gets_what_producers_bring_and_nothing_that_its_filter_leaves_out(
    provider: BextMeterProvider,
) -> None:
    """Ours and theirs; the filter is handed on to the producer, which may spare itself the work."""
    cups, without = (
        Cups(brought(red=3, blue=4), brought("cups.lost", red=1)),
        Without("cups.lost", "b", value="red"),
    )
    plain, filters = InMemoryMetricReader(), producing(InMemoryMetricReader(), cups, metric_filter=without)
    provider.add_metric_reader(plain)
    provider.add_metric_reader(filters)
    meter = provider.get_meter("shop")
    for name in ("a", "b"):
        counter = meter.create_counter(name)
        counter.add(1, {"shelf": "red"})
        counter.add(2, {"shelf": "green"})
    assert {"a": [1, 2], "b": [1, 2]} == values(plain)
    assert {"a": [2], "cups.washed": [4]} == values(filters)
    assert [without] == cups.asked
    assert {("shop", "a", "sum", ""), ("cups", "cups.washed", "sum", "{cup}")} <= set(without.seen)


def test_a_producer_alone_is_something_to_collect(provider: BextMeterProvider) -> None:
    reader = producing(InMemoryMetricReader(), Cups(brought(red=3)))
    provider.add_metric_reader(reader)
    assert {"cups.washed": [3]} == values(reader)


@pytest.mark.parametrize("scope", ["cups", brought(red=1).metrics, replace(brought(red=1), metrics=[1])])
def test_what_is_no_metric_costs_its_producer_alone(
    provider: BextMeterProvider, caplog: pytest.LogCaptureFixture, scope: Any
) -> None:
    reader = producing(InMemoryMetricReader(), Cups(scope), Cups(brought(red=3)))
    provider.add_metric_reader(reader)
    assert {"cups.washed": [3]} == values(reader)


class Fails(MetricProducer):
    def produce(self, metric_filter: MetricFilter | None = None) -> Iterable[ScopeMetrics]:
        raise OSError("the cupboard is locked")


def test_a_producer_that_raises_is_one_line(
    provider: BextMeterProvider, caplog: pytest.LogCaptureFixture
) -> None:
    reader = producing(InMemoryMetricReader(), Fails(), Cups(brought(red=3)))
    provider.add_metric_reader(reader)
    with caplog.at_level(logging.WARNING):
        assert [{"cups.washed": [3]}] * 2 == [values(reader), values(reader)]
    assert [
        "metrics: Fails: OSError: the cupboard is locked; what it would bring is left out"
    ] == caplog.messages


class Hangs(MetricProducer):
    def __init__(self) -> None:
        self.go, self.asked = threading.Event(), 0

    def produce(self, metric_filter: MetricFilter | None = None) -> Iterable[ScopeMetrics]:
        self.asked += 1
        self.go.wait(60)
        return [brought("late", red=1)]


def test_a_producer_that_hangs_is_asked_again_when_it_has_answered(provider: BextMeterProvider) -> None:
    hangs = Hangs()
    reader = producing(InMemoryMetricReader(), hangs, Cups(brought(red=3)))
    provider.add_metric_reader(reader)
    reader.collect(timeout_millis=50)
    assert [{"cups.washed": [3]}] * 2 == [values(reader), values(reader)]
    assert 1 == hangs.asked
    hangs.go.set()
    until(lambda: "late" in values(reader))


class Breaks(MetricFilter):
    def test_metric(self, scope: InstrumentationScope, name: str, kind: Any, unit: str) -> Verdict:
        raise KeyError(name)


def test_a_filter_that_raises_leaves_nothing_out() -> None:
    scopes = [brought(red=3)]
    assert scopes == list(filtered(scopes, Breaks()))


def test_what_is_no_producer_or_filter_is_refused() -> None:
    with pytest.raises(ConfigError, match="str is no MetricProducer"):
        producing(InMemoryMetricReader(), "cups")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=re.escape("int is no MetricFilter")):
        producing(InMemoryMetricReader(), metric_filter=5)  # type: ignore[type-var]
