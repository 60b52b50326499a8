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


def test_metrics_are_bounded_by_memory_too_and_the_series_heard_of_last_stay() -> None:
    held = MetricStore(Limits(metric_bytes=20_000))
    for number in range(20):
        held.add(metrics(gauge("g", [(number + 1, 1)], app=f"{number}", blob="x" * 400)))
        assert held.size <= 20_000
    apps = [int(dict(labels)["app"]) for _, _, labels in held.families["g"].series]
    assert list(range(20 - len(apps), 20)) == apps
    assert held.dropped_series == 20 - len(apps) > 0


def test_what_is_let_go_of_is_not_counted_any_more() -> None:
    held = MetricStore(Limits(series=1))
    held.add(metrics(gauge("m", [(1, 1)], app="a")))
    alone = held.size
    held.add(metrics(gauge("m", [(2, 1)], app="b")))
    held.add(metrics(counter("m", [(3, 1)], app="c")))
    assert alone == held.size


def test_a_batch_in_parts_counts_from_the_one_before_it() -> None:
    """A series that appears in a later part began after the sender's last batch, not after its first part."""
    held = MetricStore(Limits())
    held.add(metrics(counter("old", [(10, 1)], start=0)))
    heard: dict[tuple[str, str], int] = {}
    held.add(metrics(counter("old", [(20, 1)], start=0)), heard)
    held.add(metrics(counter("new", [(20, 30)], start=0)), heard)
    (series,) = held.families["new"].series.values()
    assert [(20_000.0, 3.0)] == series.rows
