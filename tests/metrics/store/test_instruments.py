"""The provider serves the catalogue's rows from their cells, and tells them from everybody else's instruments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, MeterProvider, NoOpMeter, Observation
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.resources import Resource

from bext_otel.apps import Budgets
from bext_otel.catalogue import CACHE_ENTRIES, CACHE_HITS, HTTP_SERVER_REQUEST_DURATION, REQUEST_DURATION
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.store.cells import CounterCell
from bext_otel.metrics.store.streams import Streams
from bext_otel.operation import SCOPE

SHOP = {"app": "shop", "layer": "isr"}


@pytest.fixture
def streams() -> Streams:
    return Streams(Budgets({}))


@pytest.fixture
def provider(streams: Streams) -> Iterator[BextMeterProvider]:
    made = BextMeterProvider(streams, Resource({}))
    yield made
    if not made._shutdown:
        made.shutdown()


def live(streams: Streams) -> list[str]:
    streams.drain()
    return [stream.metric.name for stream in streams if stream.cells()]


def test_applications_that_test_for_the_sdks_provider_find_one(provider: BextMeterProvider) -> None:
    assert isinstance(provider, SdkMeterProvider)
    assert isinstance(provider, MeterProvider)


def test_instruments_are_the_apis(provider: BextMeterProvider) -> None:
    meter = provider.get_meter("any")
    assert isinstance(meter.create_counter(CACHE_HITS.name), Counter)
    assert isinstance(meter.create_histogram(REQUEST_DURATION.name), Histogram)


def test_a_bound_handle_and_an_unbound_call_meet_in_one_cell(
    provider: BextMeterProvider, streams: Streams
) -> None:
    counter = provider.get_meter("any").create_counter(CACHE_HITS.name)
    counter.add(1, SHOP)
    counter.bind(SHOP)(2)  # type: ignore[attr-defined]  # more than the API offers
    streams.drain()
    (cell,) = streams.stream(CACHE_HITS).cells()
    assert isinstance(cell, CounterCell)
    assert 3 == cell.value


def test_an_instrument_that_no_row_declares_has_cells_of_its_own(
    provider: BextMeterProvider, streams: Streams
) -> None:
    provider.get_meter("any").create_counter("queue.jobs").add(1)
    streams.drain()
    assert ["queue_jobs_total"] == [family.name for family in provider.instruments.families()]
    assert [] == live(streams)


def test_a_rows_name_with_another_kind_has_cells_of_its_own(
    provider: BextMeterProvider, streams: Streams
) -> None:
    provider.get_meter("any").create_histogram(CACHE_HITS.name).record(1)
    assert [] == live(streams)


def test_the_standard_request_duration_of_another_library_is_not_counted_with_ours(
    provider: BextMeterProvider, streams: Streams
) -> None:
    provider.get_meter("opentelemetry.instrumentation.asgi").create_histogram(
        HTTP_SERVER_REQUEST_DURATION.name
    ).record(1)
    assert [] == live(streams)
    provider.get_meter(SCOPE).create_histogram(HTTP_SERVER_REQUEST_DURATION.name).record(1)
    assert [HTTP_SERVER_REQUEST_DURATION.name] == live(streams)


def observe(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(4, SHOP)]


def generate() -> Iterator[Iterable[Observation]]:
    yield ()
    while True:
        yield [Observation(4, SHOP)]


@pytest.mark.parametrize("callback", [observe, generate()], ids=["function", "generator"])
def test_an_observable_gauge_is_asked_at_each_reading(
    provider: BextMeterProvider, streams: Streams, callback: object
) -> None:
    provider.get_meter("any").create_observable_gauge(CACHE_ENTRIES.name, [callback])  # type: ignore[list-item]
    for _ in range(2):
        assert [4] == [value for _, value, _ in streams.stream(CACHE_ENTRIES).observed()]


@pytest.mark.specification("Beyond the rows", "Metrics SDK: after Shutdown nothing is measured")
def test_after_shutdown_nothing_is_measured(provider: BextMeterProvider) -> None:
    provider.shutdown()
    assert isinstance(provider.get_meter("any"), NoOpMeter)
