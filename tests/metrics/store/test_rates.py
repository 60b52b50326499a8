from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.metrics.store.rates import RateWindow, floats


class Counters:
    """Counters as a stream has them: marked before they grow."""

    def __init__(self, started: float = 0.0) -> None:
        self.totals: list[float] = []
        self.rates = RateWindow(60.0, started)

    def add(self, position: int, amount: float, now: float) -> None:
        self.rates.mark(now, lambda: floats(self.totals))
        self.totals += [0] * (position + 1 - len(self.totals))
        self.totals[position] += amount

    def per_second(self, position: int, now: float) -> float:
        base, seconds = self.rates.base(now)
        if base is None:
            return 0.0
        return (self.totals[position] - (base[position] if position < len(base) else 0)) / seconds


@given(
    st.lists(st.tuples(st.floats(0, 200), st.integers(0, 2), st.integers(0, 50)), min_size=1, max_size=60),
    st.floats(0, 100),
)
def test_rates_have_all_that_is_within_the_window_and_nothing_else(
    increases: list[tuple[float, int, int]], later: float
) -> None:
    counters = Counters()
    for now, position, amount in sorted(increases):
        counters.add(position, amount, now)
    end = max(now for now, _, _ in increases) + later
    held = max(min(55 + end % 5, end), 1.0)
    for position in range(len(counters.totals)):
        grown = sum(
            amount for now, its, amount in increases if its == position and int(now / 5) > int(end / 5) - 12
        )
        assert grown / held == pytest.approx(counters.per_second(position, end))


def test_a_rate_right_after_start_is_not_diluted() -> None:
    counters = Counters(started=100.0)
    counters.add(0, 40, 101.0)
    assert 10.0 == counters.per_second(0, 104.0)


def test_a_rate_fades_to_nothing() -> None:
    counters = Counters()
    counters.add(0, 40, 1.0)
    assert (None, 55.0) == counters.rates.base(3600.0)


def test_what_no_float_can_hold_is_infinite() -> None:
    assert [1.0, math.inf] == list(floats([1, 10**400]))
