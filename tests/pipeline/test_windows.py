"""Windows forget what is old and nothing else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.pipeline.exponential import Buckets, add_values
from bext_otel.pipeline.windows import RateWindow, Window


def add(window: Window, value: float, now: float) -> None:
    counted = Buckets()
    add_values(counted, [value])
    window.add(counted, 0, value, value, now)


def median(window: Window, now: float) -> float:
    return dict(window.quantiles(now))[0.5]


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


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50)), min_size=1, max_size=60))
def test_rates_lose_nothing_that_is_within_the_window(increases: list[tuple[float, int]]) -> None:
    rates: RateWindow[str] = RateWindow(60.0, started=0.0)
    total_in_window = 0
    for now, amount in sorted(increases):
        rates.add("app", amount, now)
    end = max(now for now, _ in increases)
    held = min(55 + end % 5, end)
    total_in_window = sum(amount for now, amount in increases if int(now / 5) > int(end / 5) - 12)
    assert total_in_window / max(held, 1.0) == pytest.approx(rates.rates(end).get("app", 0))


def test_a_rate_right_after_start_is_not_diluted() -> None:
    rates: RateWindow[str] = RateWindow(60.0, started=100.0)
    rates.add("app", 40, 101.0)
    assert 10.0 == rates.rates(104.0)["app"]


def test_a_rate_fades_to_nothing() -> None:
    rates: RateWindow[str] = RateWindow(60.0, started=0.0)
    rates.add("app", 40, 1.0)
    assert {} == rates.rates(3600.0)
