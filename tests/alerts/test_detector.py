"""What the detector says about series whose faults are known."""

from __future__ import annotations

import copy
import math
import pickle
import sys
from collections.abc import Callable, Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bext_otel.alerts import Alarm, detector

_START = 1_700_438_400.0  # a Monday's midnight
_DAY = 1440  # minutes


def _wave(minute: int) -> float:
    return 400 + 240 * math.sin(2 * math.pi * (minute % _DAY) / _DAY)


def _noisy(shape: Callable[[int], float], seed: int = 5) -> Callable[[int], float]:
    random = Random(seed)
    return lambda minute: shape(minute) * (1 + random.gauss(0, 0.05))


def _alarms(shape: Callable[[int], float], minutes: int, **settings: float) -> list[tuple[int, Alarm]]:
    watching = detector(**settings)
    said = ((minute, watching.feed(_START + 60 * minute, shape(minute))) for minute in range(minutes))
    return [(minute, alarm) for minute, alarm in said if alarm is not None]


def test_a_healthy_series_raises_none_in_two_weeks() -> None:
    """A daily wave with noise, one sample a minute, two weeks: not one alarm."""
    assert [] == _alarms(_noisy(_wave), 14 * _DAY)


def test_a_spike_is_one_alarm_that_explains_itself() -> None:
    """The value, where it was expected, and since when, of three odd minutes."""
    healthy, at = _noisy(_wave), 5 * _DAY + 300
    found = _alarms(lambda minute: healthy(minute) + (500 if at <= minute < at + 3 else 0), 6 * _DAY)
    assert [at] == [minute for minute, _ in found]
    alarm = found[0][1]
    assert _START + 60 * at == alarm.time_unix == alarm.since_unix
    assert abs(alarm.expected - _wave(at)) < 60
    assert alarm.low < alarm.expected < alarm.high < alarm.value
    assert alarm.score > 1
    assert f"expected {alarm.expected:.6g}" in str(alarm)


def test_what_is_usual_at_noon_is_odd_at_night() -> None:
    """A value that the series has each day, at an hour where it never has it."""
    healthy, at = _noisy(_wave), 5 * _DAY + 18 * 60
    found = _alarms(lambda minute: 600.0 if at <= minute < at + 20 else healthy(minute), 6 * _DAY)
    assert [at] == [minute for minute, _ in found][:1]


@pytest.mark.parametrize("moved", [150.0, -150.0])
def test_a_level_shift_is_one_alarm_and_then_normal(moved: float) -> None:
    """The new level raises none, and what is odd there does."""
    healthy = _noisy(lambda minute: 250.0)

    def shifted(minute: int) -> float:
        spike = 200 if minute == 9000 else 0
        return healthy(minute) + (moved if minute >= 5000 else 0) + spike

    assert [5000, 9000] == [minute for minute, _ in _alarms(shifted, 10_000)]


def test_traffic_that_stops_is_an_alarm() -> None:
    healthy = _noisy(_wave)
    found = _alarms(lambda minute: 0.0 if minute >= 5 * _DAY else healthy(minute), 5 * _DAY + 120)
    assert [5 * _DAY] == [minute for minute, _ in found][:1]


def test_repeats_are_suppressed_unless_they_are_worse() -> None:
    """Ten spikes alike within an hour are one alarm; a far larger one is another."""
    healthy = _noisy(lambda minute: 250.0)
    spikes = {4000 + 6 * number: 300.0 for number in range(10)} | {4100: 3000.0}
    found = _alarms(lambda minute: healthy(minute) + spikes.get(minute, 0), 5000)
    assert [4000, 4100] == [minute for minute, _ in found]


def test_a_deploys_window_is_silent_and_teaches_nothing() -> None:
    """What happens in it is nobody's alarm; the same right after it is."""
    healthy, said = _noisy(lambda minute: 250.0), []
    watching = detector()
    for minute in range(5000):
        if minute == 4000:
            watching.quiet(_START + 60 * 4030)
        odd = 4000 <= minute < 4030 or minute == 4060
        if watching.feed(_START + 60 * minute, 2000.0 if odd else healthy(minute)):
            said.append(minute)
    assert [4060] == said


def test_a_counters_reset_is_no_alarm_and_its_rate_is_judged() -> None:
    """Values are totals: a restart is nothing, ten times the increase is something."""
    healthy, said = _noisy(lambda minute: 250.0), []
    watching, total = detector(counter=True), 0.0
    for minute in range(5000):
        if minute in {1500, 3000}:
            total = 0.0
        total += healthy(minute) * (10 if minute == 4500 else 1)
        if (alarm := watching.feed(_START + 60 * minute, total)) is not None:
            said.append((minute, alarm))
    assert [4500] == [minute for minute, _ in said]
    assert abs(said[0][1].expected - 250 / 60) < 0.5  # a second


def test_below_a_minimum_of_traffic_nothing_is_judged() -> None:
    """One failure of one request at night is 100 %, and says nothing."""
    random, watching = Random(5), detector(minimum=50)
    said = [
        watching.feed(
            _START + 60 * minute,
            1.0 if minute == 4000 else random.uniform(0, 0.02),
            traffic=1 if minute == 4000 else 400,
        )
        for minute in range(5000)
    ]
    assert [] == [alarm for alarm in said if alarm]


def test_a_hole_of_hours_is_no_alarm() -> None:
    healthy, watching = _noisy(_wave), detector()
    minutes = [minute for minute in range(8 * _DAY) if not 5 * _DAY < minute < 5 * _DAY + 400]
    assert [] == [minute for minute in minutes if watching.feed(_START + 60 * minute, healthy(minute))]


def test_a_clock_that_was_set_years_ahead_and_back_deafens_nobody() -> None:
    healthy, watching = _noisy(lambda minute: 250.0), detector()
    said = []
    for minute in range(6000):
        ahead = 1e9 if 3000 <= minute < 3005 else 0
        value = healthy(minute) + (2000 if minute == 5500 else 0)
        if watching.feed(_START + ahead + 60 * minute, value):
            said.append(minute)
    assert [5500] == said


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e301])
def test_what_is_no_number_is_passed_over(value: float) -> None:
    healthy, watching = _noisy(_wave), detector()
    for minute in range(3 * _DAY):
        assert watching.feed(_START + 60 * minute, value if minute % 50 == 7 else healthy(minute)) is None


def test_a_constant_series_raises_none() -> None:
    assert [] == _alarms(lambda minute: 100.0, 3 * _DAY)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_goes_on_as_the_first_one_would(copied: Callable[[object], object]) -> None:
    """So that it can be kept over a restart."""
    healthy, watching = _noisy(_wave), detector()
    for minute in range(3 * _DAY):
        watching.feed(_START + 60 * minute, healthy(minute))
    other = copied(watching)
    last = _START + 60 * 3 * _DAY
    assert other.feed(last, 3000.0) is not None  # type: ignore[attr-defined]


def _size(thing: object) -> int:
    parts = [getattr(thing, name) for name in getattr(type(thing), "__slots__", ())]
    return sys.getsizeof(thing) + sum(_size(part) for part in parts)


def test_a_series_is_held_in_four_kilobytes_however_long_it_is() -> None:
    healthy, watching = _noisy(_wave), detector()
    sizes = []
    for minute in range(9 * _DAY):
        watching.feed(_START + 60 * minute, healthy(minute))
        if minute % _DAY == 700:
            sizes.append(_size(watching))
    assert max(sizes) <= 4096
    assert sizes[2] == sizes[-1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=400))
def test_no_series_breaks_it(points: Iterable[tuple[float, float]]) -> None:
    """Whatever comes, in whatever order: an answer, and no exception."""
    watching = detector()
    for at, value in points:
        answer = watching.feed(at, value)
        assert answer is None or answer.score > 1


@settings(max_examples=20, deadline=None)
@given(st.floats(min_value=1e-3, max_value=1e9))
def test_the_unit_does_not_matter(factor: float) -> None:
    """A series in milliseconds has the alarms that it has in seconds."""
    healthy = _noisy(lambda minute: 250.0)
    values = [healthy(minute) + (400 if minute == 600 else 0) for minute in range(700)]
    watching = detector()
    said = [
        minute
        for minute, value in enumerate(values)
        if watching.feed(_START + 60 * minute, value * factor) is not None
    ]
    assert [600] == said
