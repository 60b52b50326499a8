"""Fixed-scale exponential buckets: quantiles within 1 %, merging is adding."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.catalogue import QUANTILES
from bext_otel.pipeline.exponential import MAX_OTLP_BUCKETS, SCALE, Buckets, add_values, dense, downscaled, quantile

positive = st.floats(min_value=1e-9, max_value=1e9, allow_nan=False, allow_infinity=False)


def counted(values: Sequence[float]) -> Buckets:
    buckets = Buckets()
    add_values(buckets, [value for value in values if value > 0])
    return buckets


def of(q: float, values: Sequence[float]) -> float:
    return quantile(q, counted(values), sum(value == 0 for value in values), min(values), max(values))


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
    assert math.isnan(quantile(0.5, {}, 0, math.inf, -math.inf))


@given(st.lists(positive, max_size=50), st.lists(positive, max_size=50))
def test_merging_is_adding(one: list[float], other: list[float]) -> None:
    assert counted(one + other) == counted(one) + counted(other)


@given(positive)
def test_a_value_lies_in_its_bucket(value: float) -> None:
    (index,) = counted([value])
    low, high = 2.0 ** ((index - 1) / (1 << SCALE)), 2.0 ** (index / (1 << SCALE))
    assert low * (1 - 1e-12) <= value <= high * (1 + 1e-12)


@given(st.lists(positive, min_size=1, max_size=100))
def test_downscaling_keeps_every_value_in_a_bucket_that_holds_it(values: list[float]) -> None:
    scale, offset, counts = downscaled(counted(values))
    assert len(counts) <= MAX_OTLP_BUCKETS
    assert len(values) == sum(counts)
    for bound, count in dense(scale, offset, counts):
        below = sum(value <= bound * (1 + 1e-9) for value in values)
        assert below >= count


def test_downscaling_keeps_the_scale_where_the_buckets_fit() -> None:
    assert (SCALE, 0, [1]) == downscaled(Buckets({1: 1}))
    assert (SCALE, 0, []) == downscaled({})


def test_downscaling_merges_pairs_of_neighbours() -> None:
    wide = Buckets({1: 1, 161: 2})
    scale, offset, counts = downscaled(wide)
    assert (SCALE - 1, 0, 3) == (scale, offset, sum(counts))
