"""Rows of the application's, of several workers: added up, also by those that have not declared them, or
declare them otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel import catalogue, declarations, metric
from bext_otel.apps import Budgets
from bext_otel.catalogue import METRICS, Metric
from bext_otel.metrics.merging import row_keys
from bext_otel.metrics.merging.row_keys import key_of, known_row
from bext_otel.metrics.snapshot import Distribution, Snapshot
from bext_otel.testing import Clock
from tests.declaring import forget_rows
from tests.metrics.merging.test_sum import Board, Worker

__all__ = ["forget_rows"]

pytestmark = pytest.mark.usefixtures("forget_rows")

HELD: tuple[Any, ...] = (
    declarations._own,
    declarations._BY_NAME,
    declarations._BY_EXPORTED,
    declarations._LABELS,
    catalogue.LABEL_KEYS,
    row_keys._adopted,
)


@contextmanager
def elsewhere() -> Iterator[None]:
    """In a process that has not declared what this one has."""
    now = [dict(each) for each in HELD]
    own = set(declarations._own.values())
    for each in HELD:
        for key, value in list(each.items()):
            if value in own or key in own:
                del each[key]
    yield
    for each, was in zip(HELD, now, strict=True):
        each.clear()
        each.update(was)


def orders(*labels: str) -> Metric:
    return metric("shop.orders", kind="counter", text="Orders.", labels=labels)


def shown(snapshot: Snapshot, name: str = "shop_orders_total") -> dict[str, Any]:
    (family,) = [family for family in snapshot.families if family.name == name]
    return {point.series.text: point.value for point in family.points}


def add(worker: Worker, row: Metric, amount: float, **labels: str) -> None:
    worker.streams.stream(row).cell(labels).add(amount)


@pytest.fixture
def worker() -> Callable[..., Worker]:
    board, clock = Board(), Clock(10_000.0)
    return lambda **budgets: Worker(board, clock, budgets=Budgets(budgets))


def test_every_kind_adds_up_over_workers(worker: Callable[..., Worker]) -> None:
    one, other = worker(), worker()
    rows: dict[str, Metric] = {
        "sum": metric("shop.sum", kind="gauge", text="S."),
        "max": metric("shop.max", kind="gauge", text="M.", merge="max"),
        "min": metric("shop.min", kind="gauge", text="M.", merge="min"),
        "time": metric("shop.time", kind="summary", unit="s", text="T."),
        "size": metric("shop.size", kind="histogram", unit="By", text="H.", bounds=(1, 10)),
    }
    for amount, each in ((2.0, one), (3.0, other)):
        for row in rows.values():
            add(each, row, amount)
        each.publish()
    found = one.reading.snapshot()
    assert {"": 5} == shown(found, "shop_sum")
    assert {"": 3} == shown(found, "shop_max")
    assert {"": 2} == shown(found, "shop_min")
    time = shown(found, "shop_time_seconds")[""]
    assert isinstance(time, Distribution)
    assert (2, 5.0) == (time.count, time.sum)
    assert (0.5, 0.9, 0.95, 0.99) == tuple(quantile for quantile, _ in time.quantiles())
    assert (0, 2, 0) == shown(found, "shop_size_bytes")[""].counts


def test_one_that_has_not_declared_a_row_shows_it_and_passes_it_on(worker: Callable[..., Worker]) -> None:
    """A server's master, or a worker that has not imported the module yet."""
    row = orders("country")
    one, other, third = worker(), worker(), worker()
    add(one, row, 2, country="de")
    add(other, row, 1, country="de")
    for each in (one, other):
        each.publish()
    one.seat.die()
    with elsewhere():
        heir = worker()
        heir.hit()
        heir.publish()
        assert {'country="de"': 3} == shown(heir.reading.snapshot())
    assert row is known_row(key_of(row)).row  # type: ignore[union-attr]
    assert {'country="de"': 3} == shown(third.reading.snapshot())
    assert {'country="de"': 3} == shown(other.reading.snapshot())


def test_one_label_more_while_a_service_is_restarted(worker: Callable[..., Worker]) -> None:
    old, new = worker(), worker()
    row = orders("country")
    add(old, row, 2, country="de")
    old.publish()
    with elsewhere():
        later = orders("plan", "country")
        add(new, later, 1, country="de", plan="pro")
        new.publish()
        assert {'country="de"': 2, 'plan="pro",country="de"': 1} == shown(new.reading.snapshot())
    # Who still has one label less: what differs in the other alone is one.
    assert {'country="de"': 3} == shown(old.reading.snapshot())


def test_another_kind_of_one_name_is_left_out(worker: Callable[..., Worker]) -> None:
    old, new = worker(), worker()
    row = metric("shop.a_total", kind="gauge", text="A.")
    add(old, row, 2)
    old.publish()
    with elsewhere():
        later = metric("shop.a", kind="counter", text="A.")
        add(new, later, 1)
        new.publish()
        assert {"": 1} == shown(new.reading.snapshot(), "shop_a_total")


def test_budgets_hold_for_the_service(worker: Callable[..., Worker]) -> None:
    row = orders("country")
    one, other = worker(country=2), worker(country=2)
    for each, countries in ((one, ("de", "fr")), (other, ("it", "es"))):
        for country in countries:
            add(each, row, 1, country=country)
        each.publish()
    for each in (one, other):
        found = shown(each.reading.snapshot())
        assert 3 == len(found)
        assert 2 == found['country="otel.metric.overflow"']


def test_budgets_of_an_instrument_of_the_api_hold_for_the_service(worker: Callable[..., Worker]) -> None:
    one, other = worker(country=2), worker(country=2)
    for each, countries in ((one, ("de", "fr")), (other, ("it", "es"))):
        for country in countries:
            each.provider.get_meter("").create_counter("plain").add(1, {"country": country})
        each.reading.share()
    for each in (one, other):
        found = shown(each.reading.snapshot(), "plain_total")
        assert 3 == len(found)
        assert 4 == sum(found.values())
        assert 2 == found['country="otel.metric.overflow"']


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
def test_the_catalogues_rows_are_called_by_their_names(row: Metric) -> None:
    assert row.exported == key_of(row)
    known = known_row(row.exported)
    assert known is not None
    assert row is known.row


@given(st.text() | st.text().map(lambda text: f"[{text}]"))
def test_a_key_that_is_none_is_nobodys(key: str) -> None:
    assert known_row(key) is None or not key.startswith("[")
