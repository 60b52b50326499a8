"""Rows of one series as one: exactly, in any order, and in few rows."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import reduce
from itertools import permutations
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.metrics.exponential import Scaled, counted
from bext_otel.metrics.merging.totals import (
    compact_histograms,
    compact_numbers,
    compact_summaries,
    compact_third_party,
    partials,
    recent,
    sum_histograms,
    sum_third_party,
    total,
)
from bext_otel.metrics.merging.wire import HistogramRow, NumberRow, SummaryRow, ThirdPartyRow
from bext_otel.metrics.window import Window

amounts = st.lists(st.floats(1e-6, 1e12), min_size=1, max_size=20)
A = ("a",)


@given(amounts)
def test_partials_have_the_exact_sum_of_the_values_however_often_they_are_made_anew(
    values: list[float],
) -> None:
    kept: list[float] = []
    for value in values:
        kept = partials([*kept, value])
    assert sum(map(Fraction, values)) == sum(map(Fraction, kept))
    assert math.fsum(values) == total(kept)
    assert len(kept) <= 5


def test_ints_stay_ints_and_what_is_not_finite_is_no_error() -> None:
    assert [2**70] == partials([2**69, 2**69])
    assert isinstance(total([1, 2]), int)
    for values in ([math.inf, 1.0], [1e308, 1e308], [math.nan], [math.inf, -math.inf]):
        assert str(sum(values)) == str(total(values)) == str(total(partials(values)))


def test_every_order_has_the_same_total() -> None:
    values = (0.1, 0.2, 0.3, 1e10, 0.7)
    assert 1 < len(
        {reduce(add, order) for order in permutations(values)}
    )  # from Python 3.12 on, `sum` makes up for much of it
    assert 1 == len({total(order) for order in permutations(values)})
    buckets = [HistogramRow(A, (1, 0), value, 1) for value in values]
    assert 1 == len({sum_histograms(order).sum for order in permutations(buckets)})
    theirs = [ThirdPartyRow((), value) for value in values]
    assert 1 == len({sum_third_party(order).number for order in permutations(theirs)})


@given(amounts)
def test_few_rows_say_the_same_as_many(values: list[float]) -> None:
    numbers = [NumberRow(A, value) for value in values]
    assert math.fsum(values) == total([each.value for each in compact_numbers(A, numbers)])
    histograms = [HistogramRow(A, (1, 2), value, 3) for value in values]
    assert sum_histograms(histograms) == sum_histograms(compact_histograms(A, histograms))
    theirs = [ThirdPartyRow((), None, ((1.0,), (1, 2), value, 3)) for value in values]
    assert sum_third_party(theirs) == sum_third_party(compact_third_party(theirs))
    assert sum_third_party(theirs[:1]) == sum_third_party(compact_third_party(theirs[:1]))


def test_the_newest_exemplar_stays() -> None:
    old, new = (1.0, 10.0, "ab", "cd"), (2.0, 20.0, "ef", "01")
    rows = [
        HistogramRow(A, (1,), 1.0, 1, new),
        HistogramRow(A, (1,), 1.0, 1, old),
        HistogramRow(A, (1,), 1.0, 1),
    ]
    assert new == sum_histograms(rows).exemplar == compact_histograms(A, rows)[0].exemplar


def test_buckets_that_moved_keep_every_count_below_its_own_bound() -> None:
    one = ThirdPartyRow((), None, ((0.0, 2.0, 4.0), (0, 1, 2, 0), 7.0, 3))
    other = ThirdPartyRow((), None, ((0.0, 3.0), (1, 5, 1), 20.0, 7))
    expected = ThirdPartyRow((), None, ((0.0, 2.0, 3.0, 4.0), (1, 1, 5, 2, 1), 27.0, 10))
    assert expected == sum_third_party([one, other]) == sum_third_party([other, one])


def test_buckets_that_always_move_take_no_more_room_for_ever() -> None:
    rows = [
        ThirdPartyRow((), None, (tuple(start + step / 7 for step in range(100)), (1,) * 101, 1.0, 101))
        for start in range(40)
    ]
    histogram = sum_third_party(rows).histogram
    assert histogram is not None
    assert 320 <= len(histogram[0]) <= 640
    assert 40 * 101 == sum(histogram[1])


def row(value: float, now: float) -> SummaryRow:
    window, life = Window(300.0), Scaled()
    counts = counted([value])
    window.add(counts, 0, value, value, now)
    life.add(counts)
    return SummaryRow.of(A, (1, value, 0, value, value), life, window.recent(now), window.empty_at())


@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.integers(0, 200)), min_size=1, max_size=25))
def test_windows_fade_as_if_they_had_never_been_put_together(taken: list[tuple[float, int]]) -> None:
    now, kept, apart = 10_000.0, list[SummaryRow](), list[SummaryRow]()
    for value, wait in taken:
        apart.append(row(value, now))
        now += wait
        kept = compact_summaries(A, [*kept, row(value, now - wait)], now)
        assert len(kept) <= 8
        assert recent(apart, now) == recent(kept, now)
    assert len(taken) == sum(each.count for each in kept)
    assert math.fsum(value for value, _ in taken) == total([each.sum for each in kept])


def test_windows_of_many_lengths_are_few_rows_and_none_ends_later_than_it_would_have() -> None:
    rows = [row(float(value), 10_000.0) for value in range(1, 31)]
    rows = [
        SummaryRow(*(getattr(each, name) for name in SummaryRow.__struct_fields__[:-2]), 10_001.0 + at)
        for at, each in enumerate(rows)
    ]
    kept = compact_summaries(A, rows, 10_000.0)
    assert 8 == len(kept)
    for now in range(10_000, 10_040):
        together, apart = recent(kept, now), recent(rows, now)
        assert sum(together.buckets.counts if together else ()) <= sum(apart.buckets.counts if apart else ())
    assert pytest.approx(sum(range(1, 31))) == total([each.sum for each in kept])
