from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.metrics.exponential import Buckets
from bext_otel.metrics.values import Histogram
from bext_otel.viewer.quantiles import Exponential, cells, quantile, since


def exponential(values: list[float], scale: int = 5) -> Exponential:
    """Buckets as the data model defines them: index = ceil(log2(value) * 2^scale) - 1."""
    positive = Counter(math.ceil(math.log2(value) * 2**scale) - 1 for value in values if value > 0)
    zeros = sum(1 for value in values if value == 0)
    return Exponential(zeros, buckets(scale, positive), Buckets(scale))


def buckets(scale: int, counts: dict[int, int]) -> Buckets:
    low = min(counts, default=0)
    return Buckets.dense(
        scale, low, [counts.get(index, 0) for index in range(low, max(counts, default=0) + 1)]
    )


def coarsened(histogram: Exponential, scale: int) -> Exponential:
    return Exponential(
        histogram.zeros, histogram.positive.coarsened(scale), histogram.negative.coarsened(scale)
    )


def explicit(bounds: tuple[float, ...], counts: tuple[int, ...]) -> Histogram:
    return Histogram(bounds, counts, 0.0, sum(counts))


_values = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=60)
_shares = st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0])


@given(_values, _shares)
def test_a_quantile_is_within_a_bucket_of_the_exact_one(values: list[float], q: float) -> None:
    """At scale 5 a bucket is 2^(1/32) wide, 2.2 %."""
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    found = quantile(cells(exponential(values)), q, log=True)
    assert found == pytest.approx(exact, rel=2 ** (1 / 32) - 1 + 1e-6)


@given(_values, _values)
def test_what_came_since_is_what_was_added(earlier: list[float], later: list[float]) -> None:
    assert exponential(later) == since(exponential(earlier + later), exponential(earlier))


@given(_values, _values, st.integers(-2, 5))
def test_histograms_of_different_scales_meet_at_the_coarser(
    earlier: list[float], later: list[float], scale: int
) -> None:
    """An SDK lowers the scale when values spread."""
    coarser = coarsened(exponential(earlier + later), scale)
    assert coarsened(exponential(later), scale) == since(coarser, exponential(earlier))


@given(_values, st.integers(-3, 5))
def test_coarser_buckets_hold_as_much(values: list[float], scale: int) -> None:
    assert len(values) == sum(coarsened(exponential(values), scale).positive.counts)


def test_a_histogram_that_went_back_is_another_one() -> None:
    assert since(exponential([1.0]), exponential([1.0, 2.0])) is None
    assert since(explicit((1.0,), (1, 0)), explicit((1.0,), (2, 0))) is None
    assert since(explicit((1.0,), (1, 0)), explicit((2.0,), (1, 0))) is None
    assert since(explicit((1.0,), (1, 0)), exponential([1.0])) is None


def test_explicit_buckets_are_even_inside() -> None:
    held = cells(explicit((10.0, 20.0), (0, 4, 0)))
    assert 15.0 == quantile(held, 0.5)
    assert 20.0 == quantile(held, 1.0)


def test_open_buckets_answer_with_their_closed_side() -> None:
    assert 20.0 == quantile(cells(explicit((10.0, 20.0), (0, 0, 4))), 0.99)
    assert 5.0 == quantile(cells(explicit((10.0,), (2, 0))), 0.5)


def test_what_is_known_of_the_extremes_bounds_the_answer() -> None:
    held = cells(explicit((10.0, 20.0), (0, 0, 4)))
    assert 31.5 == quantile(held, 0.99, low=31.5)
    assert 12.0 == quantile(held, 0.99, high=12.0)


def test_values_below_zero_come_first() -> None:
    held = cells(Exponential(1, buckets(0, {0: 1}), buckets(0, {0: 1})))
    assert [(-2.0, -1.0, 1), (0.0, 0.0, 1), (1.0, 2.0, 1)] == held
    assert 0.0 == quantile(held, 0.5, log=True)


def test_nothing_has_no_quantile() -> None:
    assert quantile([], 0.5) is None


def test_a_bucket_beyond_all_numbers_is_infinite() -> None:
    (cell,) = cells(Exponential(0, buckets(-11, {5: 1}), Buckets()))
    assert (math.inf, math.inf, 1) == cell
