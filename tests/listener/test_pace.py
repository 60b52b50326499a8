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


def test_a_burst_may_follow_at_once_and_the_next_waits() -> None:
    clock = Clock()
    pace = Pace(share=0.25, burst=3, clock=clock)
    for _ in range(3):
        assert pace.wait_seconds() <= 0
        work(pace, clock, 1.0)
    assert 0 < pace.wait_seconds() <= 4
    clock.now += pace.wait_seconds()
    assert pace.wait_seconds() <= 0


def test_whoever_comes_now_and_then_never_waits() -> None:
    clock = Clock()
    pace = Pace(share=0.2, burst=1, clock=clock)
    for _ in range(20):
        assert pace.wait_seconds() <= 0
        work(pace, clock, 0.5)
        clock.now += 15


@given(st.floats(0.001, 10), st.integers(1, 5), st.sampled_from([0.1, 0.2, 0.5]))
def test_in_the_long_run_the_share_is_kept(seconds: float, burst: int, share: float) -> None:
    clock = Clock()
    pace = Pace(share=share, burst=burst, clock=clock)
    began, pieces = clock.now, 200
    for _ in range(pieces):
        clock.now += max(0.0, pace.wait_seconds())
        work(pace, clock, seconds)
    assert (pieces - burst - 1) * seconds <= share * (clock.now - began) * 1.001
