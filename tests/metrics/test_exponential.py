"""Fixed-scale exponential buckets: quantiles within 1 %, merging is adding."""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.catalogue import QUANTILES
from bext_otel.metrics.exponential import MAX_OTLP_BUCKETS, SCALE, Buckets, counted, quantiles

positive = st.floats(min_value=1e-9, max_value=1e9, allow_nan=False, allow_infinity=False)


def bucketed(values: Sequence[float]) -> Buckets:
    return Buckets().plus_counted(counted([value for value in values if value > 0]))


def of(q: float, values: Sequence[float]) -> float:
    ((_, value),) = quantiles(
        [q], bucketed(values), sum(value == 0 for value in values), min(values), max(values)
    )
    return value


def exact(q: float, values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(q * len(values)) - 1]


def distributions() -> dict[str, list[float]]:
    rng = random.Random(42)
    return {
        "lognormal": [rng.lognormvariate(math.log(2.1), 1.35) for _ in range(42_531)],
        "uniform": [rng.uniform(0.5, 1500) for _ in range(20_000)],
        "bimodal": [rng.gauss(3, 0.2) if rng.random() < 0.9 else rng.gauss(900, 40) for _ in range(20_000)],
        "constant": [7.25] * 1000,
        "microsecond to ten minutes": [10 ** rng.uniform(-3, 5.78) for _ in range(20_000)],
    }


@pytest.mark.parametrize("name", distributions())
@pytest.mark.parametrize("q", QUANTILES)
def test_a_quantile_is_within_one_percent(name: str, q: float) -> None:
    values = distributions()[name]
    assert exact(q, values) == pytest.approx(of(q, values), rel=0.01)


@given(st.lists(positive, min_size=1, max_size=200), st.sampled_from(QUANTILES))
def test_a_quantile_of_any_values_is_within_one_percent(values: list[float], q: float) -> None:
    assert exact(q, values) == pytest.approx(of(q, values), rel=0.01)


def test_a_constant_comes_back_exactly() -> None:
    assert 7.25 == of(0.99, [7.25] * 10)


def test_zeros_are_counted_below_everything() -> None:
    assert 0.0 == of(0.5, [0.0, 0.0, 0.0, 5.0])
    assert 5.0 == pytest.approx(of(0.99, [0.0, 0.0, 0.0, 5.0]), rel=0.01)


def test_nothing_has_no_quantile() -> None:
    ((_, value),) = quantiles([0.5], Buckets(), 0, math.inf, -math.inf)
    assert math.isnan(value)


@given(st.lists(positive, max_size=50), st.lists(positive, max_size=50), st.lists(positive, max_size=50))
def test_merging_is_adding(one: list[float], two: list[float], three: list[float]) -> None:
    assert bucketed(one + two + three) == Buckets.merged([bucketed(one), bucketed(two), bucketed(three)])


@given(st.lists(st.dictionaries(st.integers(-2000, 2000), st.integers(1, 10**10), max_size=5), max_size=6))
def test_counts_of_any_size_add_up(additions: list[dict[int, int]]) -> None:
    """A count outgrows the narrow integers that it starts in."""
    buckets, expected = Buckets(), Counter[int]()
    for more in additions:
        buckets = buckets.plus_counted(more)
        expected.update(more)
    assert sorted(expected.items()) == buckets.items()


def test_a_short_time_is_kept_in_a_byte_for_each_bucket() -> None:
    assert 65 == len(bucketed([2.0, 4.0]).packed)
    assert 2 * 65 == len(bucketed([2.0] + [4.0] * 300).packed)


@given(positive)
def test_a_value_lies_in_its_bucket(value: float) -> None:
    (index,) = counted([value])
    low, high = 2.0 ** (index / (1 << SCALE)), 2.0 ** ((index + 1) / (1 << SCALE))
    assert low * (1 - 1e-12) <= value <= high * (1 + 1e-12)


@pytest.mark.specification(
    "Beyond the rows", "Metrics SDK: buckets of exponential histograms are upper inclusive"
)
def test_the_upper_bound_of_a_bucket_belongs_to_it() -> None:
    assert [-1] == list(counted([1.0]))
    assert [63] == list(counted([2.0]))


@given(st.lists(st.lists(positive, min_size=1, max_size=40), min_size=1, max_size=5))
def test_buckets_for_life_lose_no_value_and_never_grow_past_the_limit(batches: list[list[float]]) -> None:
    held, values = Buckets(), [value for batch in batches for value in batch]
    for batch in batches:
        held = held.plus_counted(counted(batch), MAX_OTLP_BUCKETS)
    assert len(held.counts) <= MAX_OTLP_BUCKETS
    assert len(values) == sum(held.counts)
    ordered, seen = sorted(values), 0
    for bound, count in held.bounds():
        seen += count
        assert ordered[seen - 1] <= bound * (1 + 1e-9)


@given(st.lists(positive, max_size=40), st.lists(positive, max_size=40))
def test_merging_buckets_for_life_is_adding_to_one(one: list[float], other: list[float]) -> None:
    together, first, second = (
        Buckets().plus_counted(counted(values), MAX_OTLP_BUCKETS) for values in (one + other, one, other)
    )
    assert together == Buckets.merged([first, second], MAX_OTLP_BUCKETS)


def test_the_scale_stays_where_the_buckets_fit_and_steps_down_by_pairs_where_not() -> None:
    narrow = Buckets().plus_counted({0: 1, 159: 1}, MAX_OTLP_BUCKETS)
    wide = Buckets().plus_counted({0: 1, 160: 2}, MAX_OTLP_BUCKETS)
    assert (SCALE, SCALE - 1) == (narrow.scale, wide.scale)
    assert [(0, 1), (80, 2)] == wide.items()
    assert wide == Buckets().plus_counted({0: 1}).plus_counted({160: 2}, MAX_OTLP_BUCKETS)


def test_buckets_far_apart_are_added_without_those_between_them() -> None:
    far = Buckets.dense(20, 2**30, [1])
    assert [(0, 1), (2**30 >> 23, 2)] == Buckets.merged(
        [Buckets.dense(20, 0, [1]), far, far], MAX_OTLP_BUCKETS
    ).items()


sparse = st.dictionaries(st.integers(-300, 300), st.integers(1, 10**6), max_size=8)


@given(sparse, sparse, st.integers(0, 4))
def test_a_difference_is_what_was_added_also_where_the_total_became_coarser(
    before: dict[int, int], more: dict[int, int], shift: int
) -> None:
    earlier, later = (Buckets().plus_counted(counts) for counts in (before, more))
    total = earlier.plus(later).coarsened(SCALE - shift)
    found = total.minus(earlier)
    assert found is not None
    assert later.coarsened(SCALE - shift).items() == found.items()
    assert before == {} or Buckets().minus(earlier) is None


def test_no_bound_is_above_the_greatest_number() -> None:
    assert [(sys.float_info.max, 1)] == Buckets.dense(0, 1023, [1]).bounds()
    assert [(0.5, sys.float_info.max)] == list(
        quantiles([0.5], Buckets.dense(-1, 512, [1]), 0, 1.0, sys.float_info.max)
    )
