"""Callbacks that raise, hang, collect, or are many: each costs its own series."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from bext_otel.catalogue import CACHE_BYTES, CACHE_ENTRIES
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.store.streams import Streams
from tests.waiting import until


@pytest.fixture
def provider(streams: Streams) -> Iterator[BextMeterProvider]:
    made = BextMeterProvider(streams, Resource({}), scope_labels=False)
    yield made
    made.shutdown()


def shown(provider: BextMeterProvider) -> dict[str, object]:
    provider.streams.drain()
    return {
        f"{family.name}{{{point.series.sorted_text}}}": point.value
        for family in provider.instruments.families()
        for point in family.points
    }


def in_time(call: threading.Thread) -> None:
    call.start()
    call.join(20)
    assert not call.is_alive(), "it waits for itself"


@pytest.mark.specification("Beyond the rows", "Metrics SDK: a callback that raises harms no other")
def test_a_callback_that_raises_costs_its_own_series_and_one_line(
    provider: BextMeterProvider, caplog: pytest.LogCaptureFixture
) -> None:
    works = False

    def broken(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(1, {"part": "first"})
        if not works:
            raise LookupError("no such table")
        yield Observation(2, {"part": "second"})

    meter = provider.get_meter("some.library")
    meter.create_observable_gauge("broken", [broken])
    meter.create_observable_gauge("level", [lambda _: [Observation(7)]])
    for _ in range(3):
        provider.instruments.collect()
    assert {'broken{part="first"}': 1, "level{}": 7} == shown(provider)
    assert ["a callback of metric broken failed: LookupError: no such table"] == [
        record.getMessage().partition(";")[0]
        for record in caplog.records
        if record.levelno >= logging.WARNING
    ]
    assert 3 == provider.instruments.dropped
    works = True
    provider.instruments.collect()
    assert 2 == shown(provider)['broken{part="second"}']


def test_a_callback_that_raises_beside_one_that_works_is_one_line(
    provider: BextMeterProvider, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: CallbackOptions) -> Iterator[Observation]:
        raise LookupError("no such table")

    def odd(_: CallbackOptions) -> list[Observation]:
        return [Observation(1, 5)]  # type: ignore[arg-type]  # what cannot be read

    meter = provider.get_meter("some.library")
    meter.create_observable_gauge("mixed", [broken, lambda _: [Observation(7)]])
    meter.create_observable_gauge("odd", [odd])
    for _ in range(3):
        provider.instruments.collect()
    assert 7 == shown(provider)["mixed{}"]
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert 1 == len([line for line in lines if "mixed" in line])
    assert 1 >= len([line for line in lines if "odd" in line])


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: a callback that does not return keeps no collection from its end"
)
def test_a_callback_that_hangs_holds_up_no_other(
    provider: BextMeterProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is waited for once, asked no more until it answers, and what it says then is shown."""
    monkeypatch.setattr("bext_otel.metrics.asking._HANGS_SECONDS", 0.05)
    goes_on, asked = threading.Event(), []

    def hangs(_: CallbackOptions) -> list[Observation]:
        asked.append(threading.current_thread())
        goes_on.wait(20)
        return [Observation(1)]

    meter = provider.get_meter("some.library")
    meter.create_observable_gauge("hangs", [hangs])
    meter.create_observable_gauge("level", [lambda _: [Observation(7)]])
    for _ in range(20):
        provider.instruments.collect()
    assert {"level{}": 7} == shown(provider)
    assert 1 == len(asked)
    assert ["a callback of metric hangs has not answered within 0.05 s"] == [
        message.partition(":")[0] for message in caplog.messages
    ]
    goes_on.set()
    asked[0].join(20)
    assert {"hangs{}": 1, "level{}": 7} == shown(provider)


def test_a_callback_that_collects_finds_what_was_there_before(provider: BextMeterProvider) -> None:
    meter = provider.get_meter("some.library")
    meter.create_counter("queue.jobs").add(2)
    seen: list[object] = []

    def observe(_: CallbackOptions) -> list[Observation]:
        provider.instruments.collect()
        seen.append(shown(provider))
        return [Observation(1)]

    meter.create_observable_gauge("level", [observe])
    in_time(threading.Thread(target=provider.instruments.collect, daemon=True))
    assert [{"queue_jobs_total{}": 2}] == seen
    assert {"queue_jobs_total{}": 2, "level{}": 1} == shown(provider)


def test_a_callback_may_collect_whatever_reader_of_the_application_asks_it(
    provider: BextMeterProvider,
) -> None:
    theirs = InMemoryMetricReader()
    provider.add_metric_reader(theirs)
    calls: list[None] = []

    def observe(_: CallbackOptions) -> list[Observation]:
        calls.append(None)
        provider.instruments.collect()
        return [Observation(len(calls))]

    provider.get_meter("some.library").create_observable_gauge("level", [observe])
    in_time(threading.Thread(target=theirs.collect, daemon=True))
    assert {"level{}": 1} == shown(provider)


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: every callback of an instrument is called at a collection"
)
def test_all_callbacks_of_one_instrument_are_asked(provider: BextMeterProvider) -> None:
    """Those of a second maker too, and a generator's until it ends."""

    def generate() -> Iterator[list[Observation]]:
        yield []
        yield [Observation(3, {"of": "generator"})]

    meter = provider.get_meter("some.library")
    meter.create_observable_gauge("level", [lambda _: [Observation(1, {"of": "first"})]])
    meter.create_observable_gauge("LEVEL", [lambda _: [Observation(2, {"of": "second"})], generate()])
    provider.instruments.collect()
    assert {'level{of="first"}': 1, 'level{of="second"}': 2, 'level{of="generator"}': 3} == shown(provider)
    provider.instruments.collect()
    assert {'level{of="first"}': 1, 'level{of="second"}': 2} == shown(provider)


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: asynchronous instruments alone are collected and exported"
)
def test_who_is_only_asked_is_read_too(streams: Streams) -> None:
    """A process with observable instruments alone has a page and exports."""
    woken: list[bool] = []
    streams.wake = lambda: woken.append(True) or True
    provider = BextMeterProvider(streams, Resource({}))
    provider.get_meter("some.library").create_observable_gauge("level", [lambda _: [Observation(1)]])
    assert [True] == woken
    provider.shutdown()


def test_where_no_thread_can_be_had_callbacks_are_asked_all_the_same(
    provider: BextMeterProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bext_otel.threads.start", lambda *_, **__: None)
    provider.get_meter("some.library").create_observable_gauge("level", [lambda _: [Observation(1)]])
    provider.instruments.collect()
    assert {"level{}": 1} == shown(provider)


def test_an_observer_of_the_catalogues_that_hangs_holds_up_no_page(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bext_otel.metrics.asking._HANGS_SECONDS", 0.05)
    reading = SnapshotReader(streams, include_process=False)
    goes_on, answers = threading.Event(), [3.0]
    labels = {"app": "shop", "layer": "isr"}

    def observe() -> list[tuple[float, dict[str, str]]]:
        if not answers:
            goes_on.wait(20)
            return [(5.0, labels)]
        return [(answers.pop(), labels)]

    streams.stream(CACHE_ENTRIES).observers.append(observe)
    streams.stream(CACHE_BYTES).observers.append(lambda: [(7.0, labels)])

    def values() -> list[object]:
        told = reading.snapshot()
        return [point.value for row in (CACHE_ENTRIES, CACHE_BYTES) for point in told.family(row).points]  # type: ignore[union-attr]  # measured

    assert [3.0, 7.0] == values()
    for _ in range(3):
        assert [3.0, 7.0] == values(), "what it said last"
    assert 1 == len(caplog.messages)
    goes_on.set()
    until(lambda: [5.0, 7.0] == values(), why="it answers")
    reading.stop()
