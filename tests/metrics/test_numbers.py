"""Whatever type a number has, what leaves here is Python's own; what is no number is counted and spoils
nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.metrics import Observation
from opentelemetry.sdk.resources import Resource

from bext_otel.catalogue import (
    CACHE_ENTRIES,
    CACHE_HITS,
    CACHE_MISSES,
    FLOW_ACTIVE_RUNS,
    HTTP_SERVER_REQUEST_DURATION,
    REQUEST_DURATION,
)
from bext_otel.endpoints.formats import json, protobuf, text
from bext_otel.export.periodic import metrics_data
from bext_otel.metrics.numbers import exact, exact_family
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.snapshot import Family, Histogram, Point, Series, Summary
from bext_otel.metrics.store.cells import HistogramCell, SummaryCell
from bext_otel.metrics.store.streams import Streams
from bext_otel.testing import Clock
from tests.metrics.merging.test_sum import PAGE, SHOP, Board, Worker, number


class Float(float):
    """As numpy.float64: a float, whose sums are of its own type."""

    def __add__(self, other: float) -> Float:
        return Float(float(self) + float(other))

    __radd__ = __add__


class Single:
    """As numpy.float32: no float, adds up and compares like one."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"{self.value}"

    def __float__(self) -> float:
        return float(self.value)

    def __add__(self, other: Any) -> Single:
        return Single(self.value + float(other))

    def __lt__(self, other: Any) -> bool:
        return self.value < float(other)

    def __le__(self, other: Any) -> bool:
        return self.value <= float(other)

    def __gt__(self, other: Any) -> bool:
        return self.value > float(other)

    def __ge__(self, other: Any) -> bool:
        return self.value >= float(other)

    __radd__ = __add__


class Whole(Single):
    """As numpy.int64."""

    def __index__(self) -> int:
        return int(self.value)


class Broken:
    def __float__(self) -> float:
        raise RuntimeError("more than one value")

    def __radd__(self, other: Any) -> Any:
        raise RuntimeError("more than one value")


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (1, True),
        (0, False),
        (3, 3),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (float(2**63), 2**63),
        (1e30, 10**30),
        (2.5, Float(2.5)),
        (2.5, Single(2.5)),
        (3, Whole(3)),
        (2.5, Decimal("2.5")),
        (0.5, Fraction(1, 2)),
        (-math.inf, -math.inf),
        (float(2**70), Whole(2**70)),
    ],
)
def test_a_number_of_any_type_is_an_int_of_64_bits_or_a_float(expected: float, given: Any) -> None:
    assert (expected, type(expected)) == (exact(given), type(exact(given)))


@pytest.mark.parametrize(
    "wrong",
    ["1", b"1", None, 1j, object(), [1], Broken(), 10**400, Decimal("sNaN"), memoryview(b"1")],
    ids=lambda wrong: type(wrong).__name__,
)
def test_what_is_no_number_is_none_not_even_if_a_float_can_be_read_from_it(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        exact(wrong)


ODD = [True, Float(2.0), Single(2.0), Whole(2), Decimal(2), Fraction(4, 2), 2**64, 10**30]
WRONG = [Broken(), "2", None, 10**400, math.nan]
ROWS = {
    CACHE_HITS: SHOP,
    FLOW_ACTIVE_RUNS: {},
    CACHE_ENTRIES: SHOP,
    REQUEST_DURATION: PAGE,
    HTTP_SERVER_REQUEST_DURATION: {"http.request.method": "GET"},
}


def told(worker: Worker) -> dict[str, bytes]:
    """What every face says; none of them may fail."""
    worker.reading.tick()
    snapshot = worker.reading.snapshot()
    encode_metrics(metrics_data(worker.reading, Resource({})))
    return {
        "text": text.render(snapshot),
        "json": json.render(snapshot),
        "protobuf": protobuf.render(snapshot),
    }


@pytest.mark.parametrize("has_peers", [False, True], ids=["alone", "in company"])
@pytest.mark.parametrize("before", [(), (1.5,)], ids=["first", "after a float"])
@pytest.mark.parametrize("beside", [(), (1.5, 1)], ids=["by itself", "among others"])
@pytest.mark.parametrize("metric", ROWS, ids=lambda metric: metric.kind)
@pytest.mark.parametrize(
    "amount", [*ODD, *WRONG], ids=lambda amount: f"{type(amount).__name__}-{str(amount)[:8]}"
)
def test_an_odd_amount_is_taken_or_counted_and_spoils_nothing(
    amount: Any, metric: Any, beside: Any, before: Any, has_peers: bool
) -> None:
    board, clock = Board(), Clock(10_000.0)
    worker = Worker(board, clock)
    if has_peers:
        Worker(board, clock).publish()
    stream = worker.streams.stream(metric)
    cell = stream.cell(ROWS[metric])
    for value in before:
        cell.add(value)
        worker.streams.drain()
    for value in (amount, *beside):
        cell.add(value)
    worker.hit(0)
    worker.streams.stream(CACHE_MISSES).cell(SHOP).add(5)
    told(worker)
    assert 5 == number(worker.reading.snapshot(), CACHE_MISSES)
    wrong = any(amount is each for each in WRONG)
    assert int(wrong) == stream.rejected
    taken = [*before, *([] if wrong else [exact(amount)]), *beside]
    if isinstance(cell, (SummaryCell, HistogramCell)):
        assert (len(taken), pytest.approx(sum(taken))) == (cell.count, cell.sum)
        assert not taken or (min(taken), max(taken), float, float) == (
            cell.minimum,
            cell.maximum,
            type(cell.minimum),
            type(cell.maximum),
        )
    elif metric.kind == "gauge":
        assert not taken or taken[-1] == cell.value  # type: ignore[attr-defined]
    else:
        assert pytest.approx(sum(taken)) == cell.value  # type: ignore[attr-defined]
        assert type(cell.value) in {int, float}  # type: ignore[attr-defined]
    assert [] == cell.pending


def test_a_series_of_nothing_but_wrong_amounts_is_not_shown(streams: Streams) -> None:
    streams.stream(CACHE_ENTRIES).cell(SHOP).add(math.nan)
    streams.drain()
    assert ([], 1) == (streams.stream(CACHE_ENTRIES).cells(), streams.stream(CACHE_ENTRIES).rejected)


def test_a_total_past_64_bits_goes_on_as_a_float(streams: Streams) -> None:
    cell = streams.stream(CACHE_HITS).cell(SHOP)
    for _ in range(3):
        cell.add(2**62)
        streams.drain()
    assert (3.0 * 2**62, float) == (cell.value, type(cell.value))  # type: ignore[attr-defined]


def test_workers_whose_totals_come_to_more_than_64_bits_are_shown() -> None:
    board, clock = Board(), Clock(1000.0)
    workers = [Worker(board, clock) for _ in range(3)]
    for worker in workers:
        worker.hit(2**63 - 1)
        worker.publish()
        worker.seat.die()
    heir = Worker(board, clock)
    told(heir)
    assert 3.0 * 2**63 == number(heir.reading.snapshot())


def kinds() -> dict[str, Callable[[Any, Any], object]]:
    """How another library measures, by kind."""
    return {
        "counter": lambda meter, value: meter.create_counter("x").add(value),
        "up_down": lambda meter, value: meter.create_up_down_counter("x").add(value),
        "gauge": lambda meter, value: meter.create_gauge("x").set(value),
        "histogram": lambda meter, value: meter.create_histogram(
            "x", explicit_bucket_boundaries_advisory=[Float(1)]
        ).record(value),
        "observable gauge": lambda meter, value: meter.create_observable_gauge(
            "x", [lambda _: [Observation(value)]]
        ),
        "observable counter": lambda meter, value: meter.create_observable_counter(
            "x", [lambda _: [Observation(value)]]
        ),
    }


@pytest.mark.parametrize("has_peers", [False, True], ids=["alone", "in company"])
@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("amount", ODD, ids=lambda amount: f"{type(amount).__name__}-{str(amount)[:8]}")
def test_an_odd_amount_of_another_library_is_shown_and_spoils_nothing(
    amount: Any, kind: str, has_peers: bool
) -> None:
    board, clock = Board(), Clock(10_000.0)
    worker = Worker(board, clock)
    if has_peers:
        Worker(board, clock).publish()
    kinds()[kind](worker.provider.get_meter("theirs"), amount)
    worker.hit(7)
    shown = told(worker)["text"].decode()
    assert 7 == number(worker.reading.snapshot())
    assert [line for line in shown.splitlines() if line.startswith("x")]


@pytest.mark.parametrize(
    "value", [*ODD, *WRONG], ids=lambda amount: f"{type(amount).__name__}-{str(amount)[:8]}"
)
def test_what_a_callback_answers_is_a_number_or_counted(value: Any) -> None:
    board, clock = Board(), Clock(10_000.0)
    worker = Worker(board, clock)
    Worker(board, clock).publish()
    stream = worker.streams.stream(CACHE_ENTRIES)
    stream.observers.append(lambda: [(value, SHOP), (1, {"app": "other", "layer": "isr"})])
    worker.hit(7)
    told(worker)
    assert 7 == number(worker.reading.snapshot())
    wrong = any(value is each for each in WRONG)
    assert pytest.approx(1 if wrong else 1 + float(value)) == number(worker.reading.snapshot(), CACHE_ENTRIES)
    assert wrong == (stream.rejected > 0)


def test_what_others_registered_is_made_of_plain_numbers_too(streams: Streams) -> None:
    given: list[tuple[Any, Any]] = [
        (1, True),
        (2.5, Decimal("2.5")),
        (Histogram((1.0,), (1, 0), 2.5, 1), Histogram((Float(1.0),), (1, 0), Single(2.5), 1)),  # type: ignore[arg-type]
        (Summary(1, 2.0, ((0.5, 2.0),)), Summary(1, Whole(2), ((0.5, Float(2.0)),))),  # type: ignore[arg-type]
    ]
    points = tuple(Point(Series((("n", str(position)),)), value) for position, (_, value) in enumerate(given))
    family = Family("theirs", "gauge", "", "", (*points, Point(Series(()), "no number")))  # type: ignore[arg-type]
    assert [expected for expected, _ in given] == [point.value for point in exact_family(family).points]
    reading = SnapshotReader(streams, registered=lambda: [family], include_process=False)
    try:
        text.render(reading.snapshot())
        assert 1 == reading.rejected
    finally:
        reading.stop()


def test_a_payload_of_ones_own_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    board, clock = Board(), Clock(10_000.0)
    worker, other = Worker(board, clock), Worker(board, clock)
    other.hit(2)
    other.publish()
    monkeypatch.setattr("bext_otel.metrics.publisher.encode", lambda *_: b"\xc1")
    assert 2 == number(worker.reading.snapshot())
    assert worker.reading.failing
    monkeypatch.undo()
    worker.reading.snapshot()
    assert not worker.reading.failing
