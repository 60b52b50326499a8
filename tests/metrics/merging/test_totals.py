"""Rows of one series as one."""

from __future__ import annotations

from itertools import permutations

from bext_otel.metrics.merging.totals import one_row, sum_third_party
from bext_otel.metrics.merging.wire import ForeignExemplar, Row, ThirdPartyRow
from bext_otel.metrics.values import Histogram

A = ("a",)


def test_every_order_has_the_same_total() -> None:
    values = (0.1, 0.2, 0.3, 1e10, 0.7)
    buckets = [Row(A, Histogram((1.0,), (1, 0), value, 1)) for value in values]
    assert 1 == len({one_row(A, order, 0.0) for order in permutations(buckets)})
    theirs = [ThirdPartyRow((), value) for value in values]
    assert 1 == len({sum_third_party(order) for order in permutations(theirs)})


def test_the_newest_exemplar_stays() -> None:
    old, new = (1.0, 10.0, "ab", "cd"), (2.0, 20.0, "ef", "01")
    value = Histogram((), (1,), 1.0, 1)
    assert new == one_row(A, [Row(A, value, new), Row(A, value, old), Row(A, value)], 0.0).exemplar


def test_of_each_bucket_the_newest_exemplar_stays_where_its_buckets_do() -> None:
    def row(bound: float, *exemplars: ForeignExemplar) -> ThirdPartyRow:
        return ThirdPartyRow((), Histogram((bound,), (1, 1), 3.0, 2), exemplars)

    old, new, other = (0, 0.5, 10.0, ()), (0, 0.7, 20.0, ()), (1, 2.0, 5.0, ())
    assert (new, other) == sum_third_party([row(1.0, old, other), row(1.0, new)]).exemplars
    assert () == sum_third_party([row(1.0, old), row(2.0, new)]).exemplars
