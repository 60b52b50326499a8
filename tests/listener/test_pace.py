from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bext_otel.listener.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def work(pace: Pace, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    pace.spend(seconds)


def test_some_may_follow_each_other_at_once_and_the_next_waits() -> None:
    clock = Clock()
    pace = Pace(share=0.25, credit_seconds=2.0, clock=clock)
    for _ in range(3):
        assert pace.wait_seconds() <= 0
        work(pace, clock, 1.0)
    assert 12.0 - 2.0 - 8.0 == pace.wait_seconds()
    clock.now += 2.0
    assert pace.wait_seconds() <= 0


def test_whoever_comes_now_and_then_never_waits() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    for _ in range(20):
        assert pace.wait_seconds() <= 0
        work(pace, clock, 0.5)
        clock.now += 15


@given(st.floats(0.001, 10), st.floats(0, 5), st.sampled_from([0.1, 0.2, 0.5]))
def test_in_the_long_run_the_share_is_kept(seconds: float, credit: float, share: float) -> None:
    clock = Clock()
    pace = Pace(share=share, credit_seconds=credit, clock=clock)
    began, pieces = clock.now, 200
    for _ in range(pieces):
        clock.now += max(0.0, pace.wait_seconds())
        work(pace, clock, seconds)
    assert pieces * seconds <= credit + 2 * seconds + share * (clock.now - began) * 1.001
