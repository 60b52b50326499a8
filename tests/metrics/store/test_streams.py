"""Cells: exact totals whoever measures, one cell for one set of labels, budgets that hold."""

from __future__ import annotations

import math
import signal
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.apps import Budgets
from bext_otel.catalogue import (
    CACHE_ENTRIES,
    CACHE_HITS,
    FLOW_ACTIVE_RUNS,
    HTTP_SERVER_REQUEST_DURATION,
    OVERFLOW,
    PLUGIN_FUEL_CONSUMED,
    REQUEST_DURATION,
    REQUESTS,
    Metric,
)
from bext_otel.metrics.store.cell import Cell
from bext_otel.metrics.store.cells import (
    CounterCell,
    GaugeCell,
    HistogramCell,
    SummaryCell,
    UpDownCounterCell,
)
from bext_otel.metrics.store.streams import Streams

LABELS = {"app": "shop", "layer": "isr"}


def counter(streams: Streams, metric: Metric = CACHE_HITS, **labels: Any) -> CounterCell:
    cell = streams.stream(metric).cell(labels or LABELS)
    assert isinstance(cell, CounterCell)
    return cell


def total(streams: Streams, metric: Metric = CACHE_HITS) -> float:
    streams.drain()
    return sum(cell.value for cell in streams.stream(metric).cells() if isinstance(cell, CounterCell))


def test_a_counter_adds_up(streams: Streams) -> None:
    cell = counter(streams)
    for amount in (1, 2, 0.5):
        cell.add(amount)
    assert 3.5 == total(streams)


@given(
    st.lists(st.one_of(st.integers(0, 10**6), st.floats(0, 1e6)), max_size=30),
    st.lists(st.integers(0, 30), max_size=5),
)
def test_draining_in_between_changes_no_total(amounts: list[float], drains: list[int]) -> None:
    streams = Streams(Budgets({}))
    for position, amount in enumerate(amounts):
        if position in drains:
            streams.drain()
        counter(streams).add(amount)
    assert sum(amounts) == pytest.approx(total(streams))


@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf, "1", None, object()])
def test_what_a_counter_cannot_take_is_dropped_and_counted_and_the_rest_stays(
    streams: Streams, wrong: Any
) -> None:
    cell = counter(streams)
    for amount in (1, wrong, 2):
        cell.add(amount)
    assert 3 == total(streams)
    assert 1 == streams.stream(CACHE_HITS).rejected


@pytest.mark.parametrize("wrong", [-0.001, math.nan, math.inf, -math.inf, "1"])
def test_what_a_histogram_cannot_take_is_dropped_and_counted(streams: Streams, wrong: Any) -> None:
    cell = streams.stream(HTTP_SERVER_REQUEST_DURATION).cell({"http.request.method": "GET"})
    for value in (4.0, wrong, 4.0):
        cell.add(value)
    streams.drain()
    assert isinstance(cell, HistogramCell)
    assert (2, 8.0, 2, 4.0, 4.0, 1) == (
        cell.count,
        cell.sum,
        sum(cell.counts),
        cell.minimum,
        cell.maximum,
        cell.stream.rejected,
    )


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, "1", None])
def test_what_a_gauge_cannot_take_leaves_the_value_before_it(streams: Streams, wrong: Any) -> None:
    cell = streams.stream(CACHE_ENTRIES).cell(LABELS)
    for value in (4, -7, wrong):
        cell.add(value)
    streams.drain()
    assert isinstance(cell, GaugeCell)
    assert (-7, 1) == (cell.value, cell.stream.rejected)


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf, "1"])
def test_what_a_summary_cannot_take_is_dropped_and_counted(streams: Streams, wrong: Any) -> None:
    cell = streams.stream(REQUEST_DURATION).cell({"app": "shop", "route": "/"})
    for value in (4.0, wrong, 4.0):
        cell.add(value)
    streams.drain()
    assert isinstance(cell, SummaryCell)
    assert (2, 8.0, 1) == (cell.count, cell.sum, cell.stream.rejected)


@given(
    st.lists(
        st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), st.just(math.nan), st.just(-math.inf))
    )
)
def test_an_up_down_counter_adds_up_what_is_a_finite_number(amounts: list[float]) -> None:
    streams = Streams(Budgets({}))
    cell = streams.stream(FLOW_ACTIVE_RUNS).cell({})
    for amount in amounts:
        cell.add(amount)
    streams.drain()
    assert isinstance(cell, UpDownCounterCell)
    taken = [amount for amount in amounts if math.isfinite(amount)]
    assert (sum(taken), len(amounts) - len(taken)) == (
        pytest.approx(cell.value, abs=1e-6),
        streams.stream(FLOW_ACTIVE_RUNS).rejected,
    )


def test_lists_of_many_series_are_kept_as_long_as_there_are_no_others(streams: Streams) -> None:
    """Python's garbage collector looks at what is in a young list, time and again."""
    stream = streams.stream(CACHE_HITS)
    first, idle = (stream.cell({"app": app, "layer": "isr"}) for app in ("one", "two"))
    first.add(1)
    streams.drain()
    every, cells, series = stream.every(), *stream.columns()
    assert ([first, idle], [first], [first.series]) == (every, cells, series)
    first.add(1)
    streams.drain()
    assert (every, cells, series) == (stream.every(), *stream.columns())
    assert every is stream.every()
    assert cells is stream.cells()
    assert series is stream.columns()[1]
    idle.add(1)
    streams.drain()
    assert ([first, idle], [first.series, idle.series]) == stream.columns()
    assert ([first], [first.series]) == (cells, series), "who has the former ones keeps them"
    streams.reset()
    assert ([], []) == stream.columns()
    idle.add(1)
    streams.drain()
    assert ([idle], [idle.series]) == stream.columns()


def test_a_gauge_keeps_the_newest_value(streams: Streams) -> None:
    cell = streams.stream(CACHE_ENTRIES).cell(LABELS)
    for value in (5, 9, 7):
        cell.add(value)
    streams.drain()
    assert isinstance(cell, GaugeCell)
    assert 7 == cell.value


def test_a_histograms_bound_is_inclusive(streams: Streams) -> None:
    cell = streams.stream(HTTP_SERVER_REQUEST_DURATION).cell({"http.request.method": "GET"})
    for seconds in (0.005, 0.0051, 99.0):
        cell.add(seconds)
    streams.drain()
    assert isinstance(cell, HistogramCell)
    assert [1, 1] == cell.counts[:2]
    assert 1 == cell.counts[-1]


@pytest.mark.parametrize("threads", [1, 4, 32])
def test_totals_are_exact_from_many_threads_while_somebody_drains(streams: Streams, threads: int) -> None:
    each, stop = 20_000 // threads, threading.Event()
    cell = counter(streams)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        workers = [
            threading.Thread(target=lambda: [cell.add(1) for _ in range(each)]) for _ in range(threads)
        ]
        drainer = threading.Thread(target=lambda: [streams.drain() for _ in iter(stop.is_set, True)])
        drainer.start()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        stop.set()
        drainer.join()
    finally:
        sys.setswitchinterval(before)
    assert each * threads == total(streams)


def test_a_signal_handler_may_measure_and_drain_in_the_middle_of_a_drain(streams: Streams) -> None:
    cell, handled = counter(streams), 0

    def handler(*_: Any) -> None:
        nonlocal handled
        handled += 1
        cell.add(1)
        streams.drain()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        measured = 0
        while handled < 50:
            cell.add(1)
            streams.drain()
            measured += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert measured + handled == total(streams)


def test_a_list_that_nobody_drains_stays_short(streams: Streams) -> None:
    cell = counter(streams)
    longest = 0
    for _ in range(20_000):
        cell.add(1)
        longest = max(longest, len(cell.pending))
    assert longest <= 5000
    assert 20_000 == total(streams)


def test_the_order_of_attributes_does_not_matter(streams: Streams) -> None:
    stream = streams.stream(CACHE_HITS)
    assert stream.cell({"app": "shop", "layer": "isr"}) is stream.cell({"layer": "isr", "app": "shop"})


def test_attributes_that_the_catalogue_does_not_declare_are_left_out(streams: Streams) -> None:
    stream = streams.stream(CACHE_HITS)
    assert stream.cell(LABELS) is stream.cell({**LABELS, "user": "alice"})


def test_values_that_python_calls_equal_are_told_apart(streams: Streams) -> None:
    stream = streams.stream(PLUGIN_FUEL_CONSUMED)
    values: list[Any] = [1, True, 1.0]
    assert ["1", "true", "1.0"] == [
        dict(stream.cell({"plugin": value}).series.labels)["plugin"] for value in values
    ]


def test_a_number_and_its_text_are_one_series(streams: Streams) -> None:
    stream = streams.stream(REQUESTS)
    labels = {"app": "shop", "method": "GET", "route": "/"}
    assert stream.cell({**labels, "status": 200}) is stream.cell({**labels, "status": "200"})


def test_a_status_code_stays_an_integer_on_its_way_out(streams: Streams) -> None:
    cell = streams.stream(HTTP_SERVER_REQUEST_DURATION).cell(
        {"http.request.method": "GET", "http.response.status_code": 200}
    )
    assert {"http.request.method": "GET", "http.response.status_code": 200} == cell.attributes


def test_a_value_that_cannot_be_hashed_still_has_a_series(streams: Streams) -> None:
    cell = streams.stream(PLUGIN_FUEL_CONSUMED).cell({"plugin": ["a", "b"]})
    assert (("plugin", '["a", "b"]'),) == cell.series.labels


def test_values_past_the_budget_fold_into_one_and_the_total_stays_exact() -> None:
    streams = Streams(Budgets({"plugin": 10}))
    for number in range(1000):
        counter(streams, PLUGIN_FUEL_CONSUMED, plugin=f"plugin-{number}").add(1)
    assert 1000 == total(streams, PLUGIN_FUEL_CONSUMED)
    shown = {dict(cell.series.labels)["plugin"] for cell in streams.stream(PLUGIN_FUEL_CONSUMED).cells()}
    assert 11 == len(shown)
    assert OVERFLOW in shown
    assert 990 == streams.budgets.overflowed()["plugin"]


def test_folded_values_are_not_remembered() -> None:
    streams = Streams(Budgets({"plugin": 2}))
    stream = streams.stream(PLUGIN_FUEL_CONSUMED)
    for number in range(1000):
        stream.cell({"plugin": f"plugin-{number}"})
    assert not stream._known, "which is for values that are not text"
    assert 3 == len(stream._cells)


def test_values_that_are_not_text_find_their_series_by_type() -> None:
    """1, 1.0 and True are equal in Python, and shown differently."""
    stream = Streams(Budgets({})).stream(PLUGIN_FUEL_CONSUMED)
    for _ in range(2):
        found = [stream.cell({"plugin": value}) for value in (1, True, "1", 1.0, "true", b"true")]
        assert ["1", "true", "1", "1.0", "true", "true"] == [cell.key[0] for cell in found]
        assert 3 == len(set(found))


ALIKE: dict[str, Callable[[int], Any]] = {
    "long text that differs after what is shown": lambda number: "x" * 300 + str(number),
    "text that cannot be written": lambda number: "".join(
        chr(0xD800 + (number >> shift) % 16) for shift in (0, 4, 8, 12)
    ),
    "bytes": lambda number: b"%d" % number,
    "NaN": lambda _: float("nan"),
    "ints longer than what is shown": lambda number: 10**300 + number,
    "Decimals": Decimal,
}


@pytest.mark.parametrize("kind", ALIKE)
def test_values_that_are_shown_alike_cost_no_memory_each(streams: Streams, kind: str) -> None:
    stream = streams.stream(REQUESTS)
    for number in range(3000):
        stream.cell({"app": "shop", "method": "GET", "status": 200, "route": ALIKE[kind](number)})
    assert len(stream._cells) <= 1001
    assert not stream._known


def test_numbers_and_members_of_enumerations_are_remembered_and_no_text_of_the_caller(
    streams: Streams,
) -> None:
    method = Enum("method", {"GET": "GET"}, type=str)
    stream = streams.stream(REQUESTS)
    for number in range(100):
        stream.cell(
            {"app": f"app-{number}", "method": method.GET, "status": 200, "route": "".join(("/", "a"))}
        )
    assert 100 == len(stream._known)
    for typed, cell in stream._known.items():
        texts = [(text, shown) for text, shown in zip(typed, cell.key, strict=False) if type(text) is str]
        assert 2 == len(texts)
        assert all(text is shown for text, shown in texts), "what is shown, not each caller's"


def test_ways_to_write_a_series_are_bounded(streams: Streams) -> None:
    stream = streams.stream(PLUGIN_FUEL_CONSUMED)
    for number in range(100):
        stream.cell({"plugin": Enum(f"made_{number}", {"ONE": "one"}, type=str).ONE})
    assert len(stream._known) <= 4
    assert 1 == len(stream._cells)


def test_minus_zero_is_not_zero(streams: Streams) -> None:
    stream = streams.stream(PLUGIN_FUEL_CONSUMED)
    assert ["0.0", "-0.0", "0.0"] == [stream.cell({"plugin": value}).key[0] for value in (0.0, -0.0, 0.0)]


def test_observers_are_asked_at_each_reading_and_a_broken_one_is_counted(streams: Streams) -> None:
    stream = streams.stream(CACHE_ENTRIES)

    def broken() -> Any:
        return 1 / 0

    stream.observers += [lambda: [(4, LABELS)], broken]
    assert [(4, (("app", "shop"), ("layer", "isr")))] == [
        (value, cell.series.labels) for cell, value, _ in stream.observed()
    ]
    assert 1 == stream.rejected


def test_a_reset_forgets_what_was_measured_and_keeps_the_handles(streams: Streams) -> None:
    cell = counter(streams)
    cell.add(5)
    streams.drain()
    cell.add(5)
    streams.reset()
    assert [] == streams.stream(CACHE_HITS).cells()
    cell.add(1)
    assert 1 == total(streams)


def test_a_cell_that_was_never_measured_is_not_shown(streams: Streams) -> None:
    cell: Cell = counter(streams)
    assert not cell.live
    assert [] == streams.stream(CACHE_HITS).cells()
