"""What the time of day and the hour of the week do to a series."""

from __future__ import annotations

from array import array
from math import isnan, nan

__all__ = ["SLOT_SECONDS", "Profile"]

_DAY, _HOUR = 86_400.0, 3600.0
_SLOTS = 288
SLOT_SECONDS = _DAY / _SLOTS
"""How long one slot of the day is."""

_HOURS = 168
_MONDAY = 345_600.0  # the first Monday's midnight, in seconds since 1970
_UNSEEN = nan
_LEAST_GAIN = 0.15  # of a day: what is longer ago than a week counts for little
_WEEK_GAIN = 0.5
_ERROR = 1 / 144
_CLIP = 4.0


class Profile:
    """Slots of the day and hours of the week, each with how far the series is usually from its level.

    `add` takes each value, `turn` begins a slot and answers what the season adds in it: 0.0 as long as
    forecasts without it are no worse. `spread` is the noise of this hour of the day, relative to all day's;
    `switched` says that the last turn took the season on, or off.
    """

    __slots__ = (
        "_begun",
        "_count",
        "_day_error",
        "_day_level",
        "_hour",
        "_level",
        "_noise",
        "_plain",
        "_plain_error",
        "_slot",
        "_slots",
        "_sum",
        "_time",
        "_use",
        "_week",
        "_week_error",
        "_week_level",
        "_wild",
        "spread",
        "switched",
    )

    def __init__(self) -> None:
        self._slots = array("f", [_UNSEEN]) * _SLOTS
        self._week = array("f", [_UNSEEN]) * _HOURS
        self._noise = array("f", [1.0]) * 24
        self._begun = self._time = 0.0
        self._slot = self._hour = -1
        self._count = 0
        self._sum = self._wild = 0.0
        self._level = nan
        self._plain = self._day_level = self._week_level = 0.0
        self._plain_error = self._day_error = self._week_error = 0.0
        self._use = 0
        self.spread = 1.0
        self.switched = False

    def add(self, value: float, away: float) -> None:
        """A value of the slot that has begun, and its distance from the level in usual distances."""
        self._sum += value
        self._wild += away if away > 0 else -away
        self._count += 1

    def shift(self, moved: float) -> None:
        """The level has moved for good: nothing of that is the season's."""
        if self._time - self._begun > _DAY:
            self._level += moved
        self._plain += moved
        self._day_level += moved
        self._week_level += moved

    def turn(self, timestamp: float) -> float:
        """The slot that holds this time begins; answers what the season adds in it."""
        if self._count:
            self._learn(timestamp - self._time)
        elif not self._begun:
            self._begun = timestamp
        self._time = timestamp
        # A remainder of nothing less than nothing is a whole day.
        self._slot = min(int(timestamp % _DAY // SLOT_SECONDS), _SLOTS - 1)
        self._hour = int((timestamp - _MONDAY) // _HOUR) % _HOURS
        noise = self._noise[self._hour % 24]
        self.spread = noise if noise > 0.3 else 0.3
        use = 0
        if timestamp - self._begun > _DAY:
            best = min(self._plain_error, self._day_error)
            if self._day_error < 0.9 * self._plain_error:
                use = 1
            if timestamp - self._begun > 7 * _DAY and self._week_error < 0.9 * best:
                use = 2
        self.switched = use != self._use
        self._use = use
        return self._adds(use)

    def _adds(self, use: int) -> float:
        if not use:
            return 0.0
        day = self._slots[self._slot]
        if isnan(day):
            day = self._slots[self._slot - 1]
            day = 0.0 if isnan(day) else day
        week = self._week[self._hour] if use > 1 else 0.0
        return day + (0.0 if isnan(week) else week)

    def _learn(self, elapsed: float) -> None:
        mean = self._sum / self._count
        slot, hour = self._slot, self._hour
        wild = self.spread * self._wild / self._count
        self._noise[hour % 24] += 0.03 * (min(wild, _CLIP) - self._noise[hour % 24])
        self._sum = self._wild = 0.0
        self._count = 0
        if isnan(self._level):
            self._level = self._plain = self._day_level = self._week_level = mean
        day, week = self._slots[slot], self._week[hour]
        known_week = 0.0 if isnan(week) else week
        if not isnan(day):
            self._compare(mean, day, known_week)
        days = (self._time - self._begun) / _DAY
        # All of the first day is told from where it began, or its slots would not fit together.
        pace = max(elapsed, 0.0) / (3 * _DAY) if days >= 1 else 0.0
        known_day = 0.0 if isnan(day) else day
        away = mean - self._level - known_day - known_week
        if isnan(day):
            self._slots[slot] = away
        else:
            limit = _CLIP * max(self._day_error, 1e-12)
            clipped = max(-limit, min(limit, away))
            self._slots[slot] = day + max(1 / (int(days) + 1), _LEAST_GAIN) * clipped
            turns = max(_HOUR / max(elapsed, SLOT_SECONDS), 1)
            self._week[hour] = known_week + _WEEK_GAIN / turns * clipped
        self._level += min(pace, 1.0) * away

    def _compare(self, mean: float, day: float, week: float) -> None:
        """Which forecast is best: where it was, that and the time of day, that and the week's hour."""
        away = mean - self._plain
        self._plain += 0.1 * away
        self._plain_error += _ERROR * (abs(away) - self._plain_error)
        away = mean - day - self._day_level
        self._day_level += 0.1 * away
        self._day_error += _ERROR * (abs(away) - self._day_error)
        away = mean - day - week - self._week_level
        self._week_level += 0.1 * away
        self._week_error += _ERROR * (abs(away) - self._week_error)
