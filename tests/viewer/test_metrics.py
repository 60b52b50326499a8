from __future__ import annotations

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.metrics import MetricStore
from tests.viewer.otlp import counter, gauge, metrics


def test_series_are_kept_apart_by_labels_and_sender() -> None:
    held = MetricStore(Limits())
    held.add(metrics(gauge("g", [(1, 1)], app="a"), gauge("g", [(1, 1)], app="b")))
    held.add(metrics(gauge("g", [(1, 1)], app="a"), instance="two"))
    assert 3 == len(held) == len(held.families["g"].series)
    assert [("shop", "one"), ("shop", "two")] == list(held.sources())


def test_the_series_not_heard_of_for_longest_goes_first() -> None:
    held = MetricStore(Limits(series=2))
    held.add(metrics(gauge("g", [(1, 1)], app="a"), gauge("g", [(1, 1)], app="b")))
    held.add(metrics(gauge("g", [(2, 1)], app="a")))
    held.add(metrics(gauge("other", [(3, 1)], app="c")))
    assert {"a"} == {dict(labels)["app"] for _, _, labels in held.families["g"].series}
    assert (2, 1) == (len(held), held.dropped_series)


def test_a_metric_without_series_is_gone() -> None:
    held = MetricStore(Limits(series=1))
    held.add(metrics(gauge("one", [(1, 1)])))
    held.add(metrics(gauge("two", [(1, 1)])))
    assert ["two"] == list(held.families)


def test_a_metric_that_changed_its_kind_begins_anew() -> None:
    held = MetricStore(Limits())
    held.add(metrics(gauge("m", [(1, 1)], app="a")))
    held.add(metrics(counter("m", [(2, 1)], app="a")))
    assert ["counter"] == [family.kind for family in held.families.values()]
    assert 1 == len(held)


def test_a_nameless_metric_is_refused() -> None:
    held = MetricStore(Limits())
    assert 1 == held.add(metrics(gauge("", [(1, 1)])))
    assert 0 == len(held)


def test_a_point_that_comes_too_late_is_counted_and_one_that_comes_twice_is_not() -> None:
    held = MetricStore(Limits())
    for at in (2, 2, 1):
        held.add(metrics(gauge("g", [(at, 1)])))
    assert (3, 1) == (held.received, held.dropped)
