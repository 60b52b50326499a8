"""The application's own metrics and kinds of work: what can be declared, and what is told of what can't."""

from __future__ import annotations

from typing import Any

import pytest

from bext_otel import metric, work
from bext_otel.catalogue import APP, Kind
from bext_otel.declarations import UNITS, is_own, own_rows, own_works, row_by_exported, row_by_name
from bext_otel.errors import CatalogueError
from bext_otel.metrics.prometheus_names import prometheus_name
from tests.declaring import forget_rows

__all__ = ["forget_rows"]

pytestmark = pytest.mark.usefixtures("forget_rows")


def test_a_metric_is_a_row() -> None:
    orders = metric(
        "shop.orders",
        kind="counter",
        unit="{order}",
        text="Orders.",
        labels={"country": 50, "plan": ("a", "b")},
    )
    assert "shop_orders_total" == orders.exported
    assert [("country", None, 50), ("plan", ("a", "b"), 2)] == [
        (label.name, label.values, label.budget) for label in orders.labels
    ]
    assert orders is row_by_name("shop.orders") is row_by_exported("shop_orders_total")
    assert is_own(orders)
    assert (orders,) == own_rows()


@pytest.mark.parametrize("unit", ["", "1", "{order}", *UNITS])
@pytest.mark.parametrize("kind", ["counter", "gauge", "summary", "up_down_counter"])
def test_names_are_those_of_the_standard_translation(unit: str, kind: Kind) -> None:
    """The same behind a collector, and as an instrument of the API's had it."""
    made = metric("shop.thing-1", kind=kind, unit=unit, text="Things.")
    assert prometheus_name("shop.thing-1", unit, counter=kind == "counter") == made.exported
    assert ("shop.thing-1", unit) == (made.streamed, made.streamed_unit)


def test_work_has_a_duration_and_counts_failures() -> None:
    checkout = work("shop.checkout", text="A basket becomes an order.", labels=("plan",), slow_ms=200)
    assert ("shop_checkout_duration_seconds", ("plan",)) == (
        checkout.duration.exported,
        checkout.duration.label_names,
    )
    assert checkout.failed is not None
    assert ("shop_checkout_errors_total", ("plan", "error_type")) == (
        checkout.failed.exported,
        checkout.failed.label_names,
    )
    assert (checkout,) == own_works()


def test_the_same_declaration_may_be_made_again() -> None:
    """A module that is loaded twice, or is `__main__` as well."""
    first, second = (metric("shop.a", kind="gauge", text="A.", labels=("x",)) for _ in range(2))
    assert first is second
    one, other = (work("shop.b", text="B.", labels=("x",)) for _ in range(2))
    assert one is other


def test_app_is_the_label_of_the_catalogue() -> None:
    assert (APP,) == metric("shop.a", kind="gauge", text="A.", labels=("app",)).labels


GOOD: dict[str, Any] = {"name": "shop.a", "kind": "counter", "text": "A."}


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"kind": "duration"}, "kind = 'duration': expected one of counter, .* did you mean 'summary'"),
        ({"kind": "conter"}, "did you mean 'counter'"),
        ({"name": "bext.mine"}, "begin with your own"),
        ({"name": "1"}, "a letter first"),
        ({"name": "shop orders"}, "expected ASCII letters"),
        ({"text": " "}, "expected a sentence"),
        ({"unit": "seconds"}, "unit = 'seconds': expected 1, one of"),
        ({"bounds": (1,)}, "bounds belong to a histogram"),
        ({"kind": "histogram"}, "expected numbers that rise"),
        ({"kind": "histogram", "bounds": (2, 1)}, "expected numbers that rise"),
        ({"merge": "max"}, "merge = 'max': expected sum, and for a gauge"),
        ({"labels": "country"}, "labels = 'country': expected names"),
        ({"labels": ("by",)}, "the label 'by' means something else already"),
        ({"labels": ("quantile",)}, "the label 'quantile' means something else"),
        ({"labels": ("a.b", "a_b")}, r"the labels \(a.b, a_b\) are one and the same"),
        ({"labels": {"country": 0}}, "a budget is 1 to 1000000, not 0"),
        ({"labels": {"country": ()}}, "expected its budget, a number, or its values"),
        ({"labels": {"country": (1, 2)}}, "'country': expected its budget"),
        ({"labels": ("no space",)}, "the label 'no space': expected letters"),
    ],
)
def test_what_is_wrong_is_an_error_where_it_is_declared(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(CatalogueError, match=line):
        metric(**{**GOOD, **wrong})
    assert () == own_rows()


def test_another_declaration_of_one_name_names_the_labels_of_both() -> None:
    metric("shop.a", kind="counter", text="A.", labels=("country",))
    with pytest.raises(CatalogueError, match=r"labels \(country\), and now .* labels \(country, plan\)"):
        metric("shop.a", kind="counter", text="A.", labels=("country", "plan"))
    with pytest.raises(CatalogueError, match=r"would be shop_a_total on /metrics, which 'shop.a' is already"):
        metric("shop/a", kind="counter", text="A.")


def test_work_cannot_have_the_labels_of_its_end() -> None:
    with pytest.raises(CatalogueError, match=r"labels \(plan, error_type\): error_type and status"):
        work("shop.b", text="B.", labels=("plan", "error_type"))
    with pytest.raises(CatalogueError, match="unit = 'h'"):
        work("shop.b", text="B.", unit="h")
