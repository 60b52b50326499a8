"""Instruments of any meter, of several workers: added up exactly, within one limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.metrics import Observation

from bext_otel.metrics.snapshot import Histogram, Snapshot
from bext_otel.testing import Clock
from tests.metrics.merging.test_sum import Board, Worker

WHOSE = ("otel_scope_name", "shop")


@pytest.fixture
def clock() -> Clock:
    return Clock(10_000.0)


@pytest.fixture
def worker(clock: Clock) -> Callable[[], Worker]:
    board = Board()
    return lambda: Worker(board, clock)


def shown(snapshot: Snapshot) -> dict[str, Any]:
    return {
        f"{family.name}{{{point.series.sorted_text}}}": point.value
        for family in snapshot.families
        if family.metric is None
        for point in family.points
    }


def measure(worker: Worker, amount: float, **attributes: Any) -> None:
    """By every kind of instrument."""
    meter = worker.provider.get_meter("shop")
    meter.create_counter("orders").add(amount, attributes)
    meter.create_up_down_counter("open").add(amount, attributes)
    meter.create_gauge("level").set(amount, attributes)
    meter.create_histogram("wait", explicit_bucket_boundaries_advisory=[2.0]).record(amount, attributes)


def test_every_kind_adds_up_over_workers(worker: Callable[[], Worker], clock: Clock) -> None:
    one, other, third = worker(), worker(), worker()
    measure(one, 0.1, kind="tea", size=1)
    clock.advance(1)
    # The same, in another order.
    measure(other, 0.2, size=1, kind="tea")
    third.provider.get_meter("shop").create_observable_counter("seen", [lambda _: [Observation(7)]])
    other.provider.get_meter("shop").create_observable_counter("seen", [lambda _: [Observation(5)]])
    for each in (one, other, third):
        each.reading.share()
    labels = '{kind="tea",otel_scope_name="shop",size="1"}'
    total = 0.30000000000000004
    expected = {
        f"orders_total{labels}": total,
        f"open{labels}": total,
        f"level{labels}": 0.2,
        f"wait{labels}": Histogram((2.0,), (2, 0), total, 2, 0.1, 0.2, (-2.7755575615628914e-17,)),
        'seen_total{otel_scope_name="shop"}': 12,
    }
    assert expected == shown(third.reading.snapshot())
    assert expected == shown(one.reading.snapshot())


def test_what_a_worker_counted_stays_when_it_is_gone_and_what_it_held_does_not(
    worker: Callable[[], Worker],
) -> None:
    one, other = worker(), worker()
    measure(one, 2, kind="tea")
    measure(other, 3, kind="tea")
    for each in (one, other):
        each.reading.share()
    one.seat.die()
    heir = worker()
    labels = '{kind="tea",otel_scope_name="shop"}'
    for reader in (other, heir):
        found = shown(reader.reading.snapshot())
        assert (5, 3, 3) == (
            found[f"orders_total{labels}"],
            found[f"open{labels}"],
            found[f"level{labels}"],
        )
        assert (2, 5) == (found[f"wait{labels}"].count, found[f"wait{labels}"].sum)


def test_scopes_and_kinds_of_one_name_stay_apart(worker: Callable[[], Worker]) -> None:
    one, other = worker(), worker()
    for amount, each in enumerate((one, other), 1):
        each.provider.get_meter("pool.a", "1").create_up_down_counter("open").add(amount)
        each.provider.get_meter("pool.b", "1").create_up_down_counter("open").add(10 * amount)
        each.provider.get_meter("pool.b", "1").create_gauge("open").set(7)
        each.provider.get_meter("pool.b", "1").create_histogram("open").record(7)
        each.reading.share()
    found = one.reading.snapshot().families
    values = {
        (family.type, point.series.text): getattr(point.value, "count", point.value)
        for family in found
        if family.metric is None
        for point in family.points
        if point.value != 7
    }
    a, b = (f'otel_scope_name="pool.{letter}",otel_scope_version="1"' for letter in "ab")
    assert {("gauge", a): 3, ("gauge", b): 30, ("histogram", b): 2} == values


def test_the_limit_is_that_of_the_service(worker: Callable[[], Worker], clock: Clock) -> None:
    """Each worker has its own first series; those that began first of all stay, and totals are exact."""
    one, other = worker(), worker()
    for each in (one, other):
        each.provider.instruments.planner.limit = 3
    for number in range(3):
        measure(one, 1, customer=f"one-{number}")
        clock.advance(1)
    for number in range(5):
        measure(other, 1, customer=f"other-{number}")
        clock.advance(1)
    measure(other, 1)
    for each in (one, other):
        each.reading.share()
    for each in (one, other):
        found = shown(each.reading.snapshot())
        orders = {name: value for name, value in found.items() if name.startswith("orders")}
        assert {
            **{f'orders_total{{customer="one-{n}",otel_scope_name="shop"}}': 1 for n in range(3)},
            'orders_total{otel_metric_overflow="true",otel_scope_name="shop"}': 5,
            'orders_total{otel_scope_name="shop"}': 1,
        } == orders
        waits = [value for name, value in found.items() if name.startswith("wait")]
        assert (5, 9) == (len(waits), sum(value.count for value in waits))
    other.seat.die()
    heir = worker()
    assert (
        5
        == shown(heir.reading.snapshot())['orders_total{otel_metric_overflow="true",otel_scope_name="shop"}']
    )
