"""Windows forget what is old and nothing else."""

from __future__ import annotations

import math
import random
import sys

from hypothesis import given
from hypothesis import strategies as st

from bext_otel.metrics.exponential import MAX_OTLP_BUCKETS, SCALE, Buckets, counted
from bext_otel.metrics.values import Recent
from bext_otel.metrics.window import Window


def add(window: Window, value: float, now: float) -> None:
    window.put(*window.plus(counted([value]), 0, value, value, now))


def median(window: Window, now: float) -> float:
    return dict(window.recent(now).quantiles())[0.5]


def test_a_new_window_is_empty() -> None:
    assert math.isnan(median(Window(300), 1000))


def test_a_value_is_seen_for_the_window_and_at_most_one_step_more() -> None:
    window = Window(300)
    add(window, 5.0, 1000)
    assert 5.0 == median(window, 1299)
    assert math.isnan(median(window, 1000 + 300 + 61))


def test_an_idle_hour_empties_the_window_without_a_tick() -> None:
    window = Window(300)
    add(window, 5.0, 1000)
    assert math.isnan(median(window, 4600))


def test_old_values_leave_and_new_ones_stay() -> None:
    window = Window(300)
    for _ in range(100):
        add(window, 1.0, 0)
    add(window, 50.0, 350)
    add(window, 50.0, 400)
    assert 50.0 == median(window, 420)


moments = st.lists(st.tuples(st.floats(0, 2000), st.floats(0.001, 1e5)), min_size=1, max_size=40)


@given(moments)
def test_a_window_holds_what_came_within_it_whatever_the_order_of_adding_and_reading(
    measured: list[tuple[float, float]],
) -> None:
    window = Window(300)
    for now, value in sorted(measured):
        add(window, value, now)
        window.recent(now)
    end = max(now for now, _ in measured)
    kept = [value for now, value in measured if int(now / 60) >= int(end / 60) - 5]
    expected = Buckets().plus_counted(counted(kept))
    assert expected == window.recent(end).buckets
    assert (min(kept), max(kept)) == (window.recent(end).low, window.recent(end).high)


def test_a_window_says_when_it_will_be_empty() -> None:
    window = Window(300)
    assert 0.0 == window.recent(1000).empty_at
    add(window, 5.0, 1000)
    end = window.recent(1000).empty_at
    assert 5.0 == median(window, end - 0.001)
    assert math.isnan(median(window, end))


def test_windows_of_workers_merge_like_one() -> None:
    one, other, both = Window(300), Window(300), Window(300)
    for value in range(1, 100):
        add(one if value % 3 else other, float(value), 1000)
        add(both, float(value), 1000)
    merged = Recent.merged([one.recent(1000), other.recent(1000)])
    assert both.recent(1000).quantiles() == merged.quantiles()


def test_a_busy_series_is_small() -> None:
    """200 records a second of a lognormal for five minutes, at 1 %, in less than 12 kB with everything around
    it."""
    rng, window, life = random.Random(7), Window(300), Buckets()
    for second in range(300):
        values = [rng.lognormvariate(math.log(2.1), 1.35) for _ in range(200)]
        counts = counted(values)
        window.put(*window.plus(counts, 0, min(values), max(values), 6000 + second))
        life = life.plus_counted(counts, MAX_OTLP_BUCKETS)
        window.recent(6000 + second)
    assert life.scale < SCALE
    assert deep_size(window) + deep_size(life) < 12_000


def deep_size(thing: object) -> int:
    if isinstance(thing, (int, float, str, bytes)) or thing is None:
        return sys.getsizeof(thing)
    size = sys.getsizeof(thing)
    if isinstance(thing, (list, tuple)):
        return size + sum(map(deep_size, thing))
    names = getattr(thing, "__struct_fields__", None) or getattr(type(thing), "__slots__", ())
    return size + sum(deep_size(getattr(thing, name)) for name in names if hasattr(thing, name))
