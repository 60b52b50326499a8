"""Whoever measures while the application works gets no exception: what is wrong is told once, and counted."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.resources import Resource

from bext_otel import count, metric, operation, record, recording, work
from bext_otel.apps import Budgets
from bext_otel.catalogue import Metric
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.store.streams import Streams
from bext_otel.once import Once
from tests.declaring import forget_rows

__all__ = ["forget_rows"]

pytestmark = pytest.mark.usefixtures("forget_rows")


class Measured:
    def __init__(self) -> None:
        self.streams = Streams(Budgets({"country": 2}))
        self.provider = BextMeterProvider(self.streams, Resource({}))
        self.reading = SnapshotReader(self.streams, self.provider.instruments, include_process=False)
        self.reading.stop()

    def of(self, row: Metric) -> dict[tuple[tuple[str, str], ...], Any]:
        family = self.reading.snapshot().family(row)
        points = family.points if family is not None else ()
        return {point.series.labels: getattr(point.value, "count", point.value) for point in points}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    made = Measured()
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: made.provider)
    monkeypatch.setattr(recording, "_once", Once(100))
    monkeypatch.setattr(recording, "_wrong", 0)
    return made


@pytest.fixture
def orders() -> Metric:
    return metric(
        "shop.orders", kind="counter", text="Orders.", labels={"country": 5, "plan": ("free", "pro")}
    )


def test_one_form_for_all(measured: Measured, orders: Metric) -> None:
    value = metric("shop.value", kind="summary", text="Value.", labels=("plan",))
    level = metric("shop.level", kind="gauge", text="Level.")
    checkout = work("shop.checkout", text="A basket becomes an order.", labels=("plan",))
    count(orders, plan="pro", country="de")
    count(orders, country="de", plan="pro", by=2)
    record(value, 12.5, plan="pro")
    record(level, Decimal(3))
    with operation(checkout, plan="pro"):
        pass
    with pytest.raises(KeyError), operation(checkout, plan="pro"):
        raise KeyError
    assert {(("country", "de"), ("plan", "pro")): 3} == measured.of(orders)
    assert {(("plan", "pro"),): 1} == measured.of(value)
    assert {(): 3} == measured.of(level)
    assert {(("plan", "pro"),): 2} == measured.of(checkout.duration)
    assert checkout.failed is not None
    assert {(("plan", "pro"), ("error_type", "KeyError")): 1} == measured.of(checkout.failed)
    assert {} == recording.wrong_calls()


def test_values_past_a_budget_or_outside_of_a_closed_set_are_one_word_and_counted(
    measured: Measured, orders: Metric
) -> None:
    for country in ("de", "fr", "it", "es"):
        count(orders, country=country, plan="free")
    count(orders, country="de", plan="gold")
    assert {
        (("country", "de"), ("plan", "free")): 1,
        (("country", "fr"), ("plan", "free")): 1,
        (("country", "otel.metric.overflow"), ("plan", "free")): 2,
        (("country", "de"), ("plan", "otel.metric.overflow")): 1,
    } == measured.of(orders)
    assert {"country": 2, "plan": 1} == measured.streams.budgets.overflowed()


@pytest.mark.parametrize(
    ("labels", "shown", "line"),
    [
        ({"country": "de"}, (("country", "de"), ("plan", "otel.metric.overflow")), "'plan' is missing"),
        (
            {"country": "de", "plan": "pro", "colour": "red"},
            (("country", "de"), ("plan", "pro")),
            "'colour' is not one of them",
        ),
    ],
)
def test_a_wrong_label_is_one_line_and_no_exception(
    measured: Measured,
    orders: Metric,
    caplog: pytest.LogCaptureFixture,
    labels: dict[str, str],
    shown: tuple[tuple[str, str], ...],
    line: str,
) -> None:
    with caplog.at_level(logging.WARNING, "bext_otel"):
        for _ in range(3):
            count(orders, **labels)
    assert {shown: 3} == measured.of(orders)
    assert 1 == len([text for text in caplog.messages if line in text])
    assert {"metric_calls_wrong": 3} == recording.wrong_calls()


@pytest.mark.parametrize("labels", [{"plan": ["free"], "country": {}}, {"plan": object(), "country": b"de"}])
def test_odd_values_of_labels_are_text(measured: Measured, orders: Metric, labels: dict[str, Any]) -> None:
    count(orders, **labels)
    assert [1] == list(measured.of(orders).values())


def test_what_is_no_number_or_no_row_is_one_line(
    measured: Measured, orders: Metric, caplog: pytest.LogCaptureFixture
) -> None:
    bad: Any = "many"
    none: Any = None
    with caplog.at_level(logging.WARNING, "bext_otel"):
        count(orders, by=bad, country="de", plan="pro")
        record(orders, 1, country="de", plan="pro")
        count(none)
        record(none, 1)
    assert {} == measured.of(orders)
    assert 4 == len(caplog.messages)
    assert {"metric_calls_wrong": 4} == recording.wrong_calls()


def test_a_label_that_work_does_not_have_is_one_line_and_one_that_was_forgotten_too(
    measured: Measured, caplog: pytest.LogCaptureFixture
) -> None:
    checkout = work("shop.checkout", text="A basket becomes an order.", labels=("plan",))
    with caplog.at_level(logging.WARNING, "bext_otel"):
        for _ in range(2):
            with operation(checkout, colour="red"):
                pass
    assert {(("plan", "unknown"),): 2} == measured.of(checkout.duration)
    assert ["'colour'" in text for text in caplog.messages] == [True, False]
    assert "'plan' was not named" in caplog.messages[1]
    assert {"metric_calls_wrong": 4} == recording.wrong_calls()


def test_an_instrument_of_the_api_has_budgets_by_label(measured: Measured) -> None:
    counter = measured.provider.get_meter("shop").create_counter("plain")
    for country in ("de", "fr", "it", "es", "it", "de"):
        counter.add(1, {"country": country, "size": 1})
    (family,) = [family for family in measured.reading.snapshot().families if family.name == "plain_total"]
    found = {dict(point.series.labels)["country"]: point.value for point in family.points}
    assert {"de": 2, "fr": 1, "otel.metric.overflow": 3} == found
    assert {"country": 2} == measured.streams.budgets.overflowed()
