from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.metrics.timeline import NANO, Timeline
from bext_otel.testing import Clock

HOUR = 3600.0


@pytest.fixture
def wall(bext_clock: Clock) -> Clock:
    return bext_clock


@pytest.fixture
def timeline(wall: Clock, monotonic: Clock) -> Timeline:
    return Timeline(wall, monotonic)


def passes(wall: Clock, monotonic: Clock, seconds: float) -> None:
    wall.advance(seconds)
    monotonic.advance(seconds)


def test_it_is_the_wall_clocks_time(timeline: Timeline, wall: Clock, monotonic: Clock) -> None:
    for _ in range(3):
        passes(wall, monotonic, 10)
        assert int(wall() * NANO) == timeline.now()


def test_two_moments_are_never_the_same(timeline: Timeline) -> None:
    assert timeline.started < timeline.now() < timeline.now()


def test_it_goes_on_while_the_wall_clock_is_an_hour_behind(
    timeline: Timeline, wall: Clock, monotonic: Clock
) -> None:
    before = timeline.now()
    wall.advance(-HOUR)
    for seconds in (10, 20, 30):
        passes(wall, monotonic, 10)
        assert before + 0.9 * seconds * NANO == pytest.approx(timeline.now(), abs=1000)


def test_the_wall_clock_is_followed_again_when_it_has_caught_up(
    timeline: Timeline, wall: Clock, monotonic: Clock
) -> None:
    wall.advance(-HOUR)
    passes(wall, monotonic, 9 * HOUR)
    assert int(wall() * NANO) < timeline.now()
    passes(wall, monotonic, 2 * HOUR)
    assert int(wall() * NANO) == timeline.now()


def test_a_clock_that_was_behind_at_the_start_and_is_corrected_is_followed_at_once(
    timeline: Timeline, wall: Clock, monotonic: Clock
) -> None:
    started = timeline.started
    passes(wall, monotonic, 5)
    timeline.now()
    wall.advance(HOUR)
    passes(wall, monotonic, 5)
    assert (int(wall() * NANO), started) == (timeline.now(), timeline.started)


@given(st.lists(st.tuples(st.floats(-1e5, 1e5), st.floats(0, 1e4)), max_size=20))
def test_it_never_goes_back_nor_behind_the_wall_clock(steps: list[tuple[float, float]]) -> None:
    wall, monotonic = Clock(), Clock(1000.0)
    timeline = Timeline(wall, monotonic)
    before = timeline.started
    for jump, seconds in steps:
        wall.advance(jump)
        passes(wall, monotonic, seconds)
        now = timeline.now()
        assert now > before
        assert now >= int(wall() * NANO)
        before = now
