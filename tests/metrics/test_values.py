"""Values add up in any order, exactly; what was added can be taken away; coarser is the same whenever it is
done."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import reduce
from itertools import permutations
from operator import add
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.catalogue import QUANTILES
from bext_otel.metrics.exponential import MAX_OTLP_BUCKETS, SCALE, Buckets, counted
from bext_otel.metrics.values import (
    Distribution,
    Histogram,
    Recent,
    Summary,
    Total,
    Value,
    merged,
    minus,
    plain,
    total,
)

NOW = 10_000.0
BOUNDS = (0.1, 1.0, 100.0)
amounts = st.lists(st.floats(1e-6, 1e12), min_size=1, max_size=20)
some = st.lists(st.just(0.0) | st.floats(1e-6, 1e9), max_size=12)


def number(values: Sequence[float]) -> Any:
    return merged([0.0, *values])


def histogram(values: Sequence[float], bounds: tuple[float, ...] = BOUNDS) -> Histogram:
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[sum(value > bound for bound in bounds)] += 1
    extremes = min(values, default=math.inf), max(values, default=-math.inf)
    parts = [Histogram(bounds, (0,) * len(counts), value, 0) for value in values]
    return Histogram.merged([Histogram(bounds, tuple(counts), 0.0, len(values), *extremes), *parts])


def summary(values: Sequence[float]) -> Summary:
    return Summary.merged([Summary(0, 0.0), *[Summary(1, value) for value in values]])


def distribution(values: Sequence[float]) -> Distribution:
    return Distribution.merged([Distribution(), *map(single, values)]).compacted(NOW)


def single(value: float, at: float = NOW) -> Distribution:
    life, zeros = Buckets().plus_counted(counted([value] if value else [])), int(not value)
    window = Recent(life, zeros, value, value, at + 360.0 - at % 60.0)
    return Distribution(1, value, zeros, value, value, (life,), (window,))


def normal(value: Any) -> Any:
    return value.compacted(NOW) if isinstance(value, Distribution) else value


KINDS: dict[str, Callable[[Sequence[float]], Any]] = {
    "number": number,
    "histogram": histogram,
    "summary": summary,
    "distribution": distribution,
}


@pytest.mark.parametrize("kind", KINDS)
@given(one=some, two=some, three=some)
def test_adding_is_associative_and_commutative_and_of_many_at_once(
    kind: str, one: list[float], two: list[float], three: list[float]
) -> None:
    make = KINDS[kind]
    a, b, c = make(one), make(two), make(three)
    expected = normal(merged([a, b, c]))
    assert expected == normal(make([*one, *two, *three]))
    assert expected == normal(merged([c, b, a]))
    assert expected == normal(merged([normal(merged([a, b])), c]))
    assert expected == normal(merged([a, normal(merged([b, c]))]))
    if kind != "number":
        assert expected == normal(a.plus(b).plus(c)) == normal(a.plus(b.plus(c)))


@pytest.mark.parametrize("kind", KINDS)
@given(values=some)
def test_nothing_added_changes_nothing(kind: str, values: list[float]) -> None:
    value = KINDS[kind](values)
    assert (
        normal(value) == normal(merged([value, KINDS[kind]([])])) == normal(merged([KINDS[kind]([]), value]))
    )


@pytest.mark.parametrize("kind", KINDS)
@given(values=some)
def test_a_value_is_what_it_was_after_a_way_through_bytes(kind: str, values: list[float]) -> None:
    value = KINDS[kind](values)
    assert value == msgspec.msgpack.Decoder(Value).decode(msgspec.msgpack.encode(value))
    with pytest.raises((AttributeError, TypeError)):
        value.sum = 0.0


def told(value: Any) -> Any:
    """All that taking away gives back: extremes of an interval inside a life are not known, and windows are
    no totals."""
    if isinstance(value, Distribution):
        return value.count, value.sum, value.lost, value.zeros, value.life.items()
    return (value.counts, value.sum, value.lost, value.count) if isinstance(value, Histogram) else value


@pytest.mark.parametrize("kind", ["histogram", "summary", "distribution"])
@given(one=some, two=some)
def test_taking_away_undoes_adding(kind: str, one: list[float], two: list[float]) -> None:
    earlier, later = KINDS[kind](one), KINDS[kind](two)
    both = merged([earlier, later])
    found = minus(both, earlier)
    if kind == "distribution":
        later = later.coarsened(min(later.life.scale, both.life.scale))
    assert told(later) == told(found)


@given(one=some, two=some)
def test_an_extreme_of_an_interval_is_known_where_it_is_a_new_one(one: list[float], two: list[float]) -> None:
    for make in (histogram, distribution):
        earlier, both = make(one), make([*one, *two])
        found = minus(both, earlier)
        assert isinstance(found, (Histogram, Distribution))
        assert found.minimum == (min(two) if two and min(two) < min(one, default=math.inf) else math.inf)
        assert found.maximum == (max(two) if two and max(two) > max(one, default=-math.inf) else -math.inf)


def test_what_has_begun_anew_is_no_past() -> None:
    assert minus(histogram([0.5]), histogram([5.0])) is None
    assert minus(histogram([0.5], (1.0,)), histogram([0.5], (2.0,))) is None
    assert minus(distribution([0.5]), distribution([5.0])) is None
    assert minus(distribution([5.0, 5.0]), distribution([0.0])) is None
    assert minus(summary([0.5]), summary([0.5, 1.0])) is None
    assert minus(1, 2) is None
    assert minus(1, histogram([])) is None
    assert minus(histogram([]), 1) is None
    assert 3 == minus(5, 2)


@given(some, some, st.integers(0, 8))
def test_coarser_buckets_add_up_to_the_coarser_sum(one: list[float], two: list[float], shift: int) -> None:
    a, b = (Buckets().plus_counted(counted([value for value in values if value])) for values in (one, two))
    assert (
        a.plus(b).coarsened(SCALE - shift).items()
        == a.coarsened(SCALE - shift).plus(b.coarsened(SCALE - shift)).items()
    )
    assert a.coarsened(SCALE - shift) == reduce(
        lambda found, step: found.coarsened(SCALE - step), range(shift + 1), a
    )


@given(some, some)
def test_explicit_buckets_made_coarser_add_up_to_the_coarser_sum(one: list[float], two: list[float]) -> None:
    a, b, few = histogram(one), histogram(two), (1.0,)
    assert a.plus(b).coarsened(few) == a.coarsened(few).plus(b.coarsened(few))
    assert histogram(one, few) == a.coarsened(few)


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=60), st.integers(1, 4))
def test_quantiles_of_a_sum_are_within_one_percent(values: list[float], workers: int) -> None:
    whole = merged([distribution(values[worker::workers]) for worker in range(workers)])
    for q, found in whole.quantiles():
        assert sorted(values)[math.ceil(q * len(values)) - 1] == pytest.approx(found, rel=0.01)


def test_nothing_recent_has_no_quantiles() -> None:
    assert list(QUANTILES) == [q for q, found in Distribution().quantiles() if math.isnan(found)]
    assert all(math.isnan(found) for _, found in single(1.0).recent_at(NOW + 400).quantiles())
    assert 1 == single(1.0).recent_at(NOW + 400).count


@given(st.lists(st.floats(1e-300, 1e300), max_size=40))
def test_a_life_has_every_value_in_no_more_buckets_than_otlp_takes(values: list[float]) -> None:
    whole = distribution(values)
    assert (len(values), len(values)) == (whole.count, sum(whole.life.counts))
    assert len(whole.life.counts) <= MAX_OTLP_BUCKETS


@given(amounts)
def test_a_sum_is_exact_and_rounded_once_however_often_it_is_made_anew(values: list[float]) -> None:
    kept: Any = 0.0
    for value in values:
        kept = merged([kept, value])
    parts = (kept.sum, *kept.lost) if isinstance(kept, Total) else (kept,)
    assert sum(map(Fraction, values)) == sum(map(Fraction, parts))
    assert math.fsum(values) == plain(kept)
    assert len(parts) <= 5
    assert kept == number(values)


def test_ints_stay_ints_and_what_is_not_finite_is_no_error() -> None:
    assert (3, int) == (total([1, 2]), type(total([1, 2])))
    assert (2.0**70, float) == (merged([2**69, 2**69]), type(merged([2**69, 2**69])))
    for values in ([math.inf, 1.0], [1e308, 1e308], [math.nan], [math.inf, -math.inf]):
        assert str(sum(values)) == str(total(values)) == str(plain(merged([0.0, *values])))


def test_every_order_has_the_same_sum() -> None:
    values = (0.1, 0.2, 0.3, 1e10, 0.7)
    assert 1 < len(
        {reduce(add, order) for order in permutations(values)}
    )  # from Python 3.12 on, `sum` makes up for much of it
    for make in KINDS.values():
        assert 1 == len({normal(make(order)) for order in permutations(values)})


def test_buckets_that_moved_keep_every_count_below_its_own_bound() -> None:
    one, other = Histogram((0.0, 2.0, 4.0), (0, 1, 2, 0), 7.0, 3), Histogram((0.0, 3.0), (1, 5, 1), 20.0, 7)
    assert Histogram((0.0, 2.0, 3.0, 4.0), (1, 1, 5, 2, 1), 27.0, 10) == one.plus(other) == other.plus(one)


def test_buckets_that_always_move_take_no_more_room_for_ever() -> None:
    parts = [
        Histogram(tuple(start + step / 7 for step in range(100)), (1,) * 101, 1.0, 101) for start in range(40)
    ]
    found = merged(parts)
    assert 320 <= len(found.bounds) <= 640
    assert 40 * 101 == sum(found.counts)


def test_of_quantiles_that_nobody_can_add_up_the_busiest_ones_stay() -> None:
    assert Summary(3, 6.0, ((0.5, 2.0),)) == Summary(1, 3.0, ((0.5, 3.0),)).plus(
        Summary(2, 3.0, ((0.5, 2.0),))
    )


@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.integers(0, 200)), min_size=1, max_size=25))
def test_windows_fade_as_if_they_had_never_been_put_together(taken: list[tuple[float, int]]) -> None:
    now, kept, apart = NOW, Distribution(), Distribution()
    for value, wait in taken:
        apart = apart.plus(single(value, now))
        kept = kept.plus(single(value, now))
        now += wait
        kept = kept.compacted(now)
        assert len(kept.windows) <= 8
        assert apart.recent_at(now).recent == kept.recent
    assert (len(taken), math.fsum(value for value, _ in taken)) == (kept.count, kept.sum)


def test_windows_of_many_lengths_are_few_and_none_ends_later_than_it_would_have() -> None:
    apart = merged(
        [
            msgspec.structs.replace(
                single(float(value)), windows=(Recent(Buckets(), value, 0.0, 0.0, NOW + value),)
            )
            for value in range(1, 31)
        ]
    )
    kept = apart.compacted(NOW)
    assert 8 == len(kept.windows)
    for now in range(int(NOW), int(NOW) + 40):
        assert kept.recent_at(now).recent.zeros <= apart.recent_at(now).recent.zeros
    assert sum(range(1, 31)) == kept.sum
