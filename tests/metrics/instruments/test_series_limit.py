"""Attribute sets past the limit are one point, and totals stay exact."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.resources import Resource

from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.snapshot import Histogram, Point
from bext_otel.metrics.store.streams import Streams

OVERFLOW = 'otel_metric_overflow="true"'


@pytest.fixture
def provider(streams: Streams) -> Iterator[BextMeterProvider]:
    made = BextMeterProvider(streams, Resource({}), scope_labels=False)
    yield made
    made.shutdown()


def points(provider: BextMeterProvider) -> dict[str, Point]:
    provider.instruments.collect()
    provider.streams.drain()
    return {point.series.text: point for family in provider.instruments.families() for point in family.points}


@pytest.mark.specification(
    "Beyond the rows",
    "Metrics SDK: the cardinality limit is 2000 where nobody says another, for synchronous instruments",
)
def test_a_counter_shows_2000_series_and_the_rest_in_one(
    provider: BextMeterProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """Over many collections, as the SDK's own limit begins anew with each; one line says so."""
    counter = provider.get_meter("shop").create_counter("orders")
    with caplog.at_level(logging.WARNING):
        for start in range(0, 5000, 1000):
            for number in range(start, start + 1000):
                counter.add(1, {"customer": number})
            provider.streams.drain()
        counter.add(1, {"customer": 0})
        counter.add(1, {"customer": 4999})
        counter.add(1)
    found = points(provider)
    assert 2002 == len(found), "2000, what was added without attributes, and the rest"
    assert 5003 == sum(point.value for point in found.values())
    assert (3001, 2, 1) == tuple(found[series].value for series in (OVERFLOW, 'customer="0"', ""))
    assert ["metric orders of shop has more than 2000 attribute sets"] == [
        message.partition(" (")[0] for message in caplog.messages
    ]
    assert 0 == provider.instruments.dropped


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: the cardinality limit holds for asynchronous instruments too"
)
def test_a_histogram_and_what_is_observed_are_limited_too(streams: Streams) -> None:
    provider = BextMeterProvider(streams, Resource({}), scope_labels=False, series_limit=10)
    meter = provider.get_meter("shop")
    histogram = meter.create_histogram("wait", explicit_bucket_boundaries_advisory=[1.0])
    for number in range(30):
        histogram.record(0.5, {"order": [str(number)]})  # a list, which no set can hold as it is
    found = points(provider)
    assert 11 == len(found)
    assert Histogram((1.0,), (20, 0), 10.0, 20, 0.5, 0.5) == found[OVERFLOW].value

    def held(_: CallbackOptions) -> list[Observation]:
        return [Observation(1, {"shelf": number}) for number in range(30)]

    meter.create_observable_up_down_counter("held", [held])
    for _ in range(3):
        assert 30 == sum(
            point.value
            for text, point in points(provider).items()
            if "order" not in text and not isinstance(point.value, Histogram)
        )
    provider.shutdown()


def test_instruments_of_one_name_share_a_limit_and_others_have_their_own(streams: Streams) -> None:
    provider = BextMeterProvider(streams, Resource({}), scope_labels=False, series_limit=5)
    for start in (0, 4):
        for name in ("orders", "returns"):
            counter = provider.get_meter("shop").create_counter(name)
            for number in range(start, start + 4):
                counter.add(1, {"customer": number})
    provider.streams.drain()
    assert [6, 6] == [len(family.points) for family in provider.instruments.families()]
    provider.shutdown()


def test_a_higher_limit_than_the_default_holds(streams: Streams) -> None:
    provider = BextMeterProvider(streams, Resource({}), scope_labels=False, series_limit=2500)
    counter = provider.get_meter("shop").create_counter("orders")
    for number in range(2600):
        counter.add(1, {"customer": number})
    found = points(provider)
    assert (2501, 100) == (len(found), found[OVERFLOW].value)
    provider.shutdown()


def test_names_of_attributes_that_are_made_up_without_end_fill_no_memory(streams: Streams) -> None:
    provider = BextMeterProvider(streams, Resource({}), scope_labels=False, series_limit=10)
    counter = provider.get_meter("shop").create_counter("orders")
    for number in range(200):
        counter.add(1, {f"name-{number}": "value"})
        counter.add(1, {f"name-{number}": number})
        counter.add(1, {"a": "1", f"b-{number % 3}": number})
    found = points(provider)
    assert (11, 600) == (len(found), sum(point.value for point in found.values()))
    (stream,) = provider.instruments.every()
    assert 11 >= len(stream.shapes)
    assert 589 + 1 >= stream.folded >= 580
    provider.shutdown()
