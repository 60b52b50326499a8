from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.viewer.quantiles import Explicit, Exponential, quantile


def exponential(values: list[float], scale: int = 5) -> Exponential:
    """Buckets as the data model defines them: index = ceil(log2(value) * 2^scale) - 1."""
    positive = Counter(math.ceil(math.log2(value) * 2**scale) - 1 for value in values if value > 0)
    return Exponential(scale, sum(1 for value in values if value == 0), positive, {})


_values = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=60)
_shares = st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0])


@given(_values, _shares)
def test_a_quantile_is_within_a_bucket_of_the_exact_one(values: list[float], q: float) -> None:
    """At scale 5 a bucket is 2^(1/32) wide, 2.2 %."""
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    found = quantile(exponential(values).cells(), q, log=True)
    assert found == pytest.approx(exact, rel=2 ** (1 / 32) - 1 + 1e-6)


@given(_values, _values)
def test_what_came_since_is_what_was_added(earlier: list[float], later: list[float]) -> None:
    assert exponential(later) == exponential(earlier + later).minus(exponential(earlier))


@given(_values, _values, st.integers(-2, 5))
def test_histograms_of_different_scales_meet_at_the_coarser(
    earlier: list[float], later: list[float], scale: int
) -> None:
    """An SDK lowers the scale when values spread."""
    since = exponential(earlier + later).at(scale).minus(exponential(earlier))
    assert exponential(later).at(scale) == since


@given(_values, st.integers(-3, 5))
def test_coarser_buckets_hold_as_much(values: list[float], scale: int) -> None:
    assert len(values) == sum(exponential(values).at(scale).positive.values())


def test_a_histogram_that_went_back_is_another_one() -> None:
    assert exponential([1.0]).minus(exponential([1.0, 2.0])) is None
    assert Explicit((1.0,), (1, 0)).minus(Explicit((1.0,), (2, 0))) is None
    assert Explicit((1.0,), (1, 0)).minus(Explicit((2.0,), (1, 0))) is None
    assert Explicit((1.0,), (1, 0)).minus(exponential([1.0])) is None


def test_explicit_buckets_are_even_inside() -> None:
    cells = Explicit((10.0, 20.0), (0, 4, 0)).cells()
    assert 15.0 == quantile(cells, 0.5)
    assert 20.0 == quantile(cells, 1.0)


def test_open_buckets_answer_with_their_closed_side() -> None:
    assert 20.0 == quantile(Explicit((10.0, 20.0), (0, 0, 4)).cells(), 0.99)
    assert 5.0 == quantile(Explicit((10.0,), (2, 0)).cells(), 0.5)


def test_what_is_known_of_the_extremes_bounds_the_answer() -> None:
    cells = Explicit((10.0, 20.0), (0, 0, 4)).cells()
    assert 31.5 == quantile(cells, 0.99, low=31.5)
    assert 12.0 == quantile(cells, 0.99, high=12.0)


def test_values_below_zero_come_first() -> None:
    held = Exponential(0, 1, {0: 1}, {0: 1})
    assert [(-2.0, -1.0, 1), (0.0, 0.0, 1), (1.0, 2.0, 1)] == held.cells()
    assert 0.0 == quantile(held.cells(), 0.5, log=True)


def test_nothing_has_no_quantile() -> None:
    assert quantile([], 0.5) is None


def test_a_bucket_beyond_all_numbers_is_infinite() -> None:
    (cell,) = Exponential(-11, 0, {5: 1}, {}).cells()
    assert (math.inf, math.inf, 1) == cell
