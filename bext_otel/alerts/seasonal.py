"""What is unusual in a series, learned while it runs: the detector of default.

Three things add up to how odd a value is: its step from where the series just was, its distance from where it
has been for longer, and how far it is outside of all that was seen. The time of day, and later the hour of
the week, is taken off before, as far as that has been seen to help. Each is counted in units of what that
distance usually is, so that the series' own unit does not matter. The sum's own tail says from where on it
is too much: its 99th percentile, and how far beyond that the rest usually is. No sigma, no setting for a
series.
"""

from __future__ import annotations

import math

from bext_otel.alerts.alarm import Alarm
from bext_otel.alerts.profile import SLOT_SECONDS, Profile

__all__ = ["SeasonalDetector"]

_DAY = 86_400.0
_BLOCK = 256  # points: a record is one among as many, and up to twice as many
_RECORD = 1.1
_WARM_UP = 150  # points before anything is said
_TAIL = 0.01
_RARE = 1e-5
_LOG_RARE = math.log(_TAIL / _RARE)
_PACE, _PACE_IN_A_ROW = 0.05, 0.0125  # of itself that the percentile moves, and of the rest beyond it
_EASES = 1 - _PACE * _TAIL
_TEACHES = 6.0  # times the usual excess: more than that teaches no more
_NEAR, _FAR = 0.35, 0.02  # of a step that the levels follow at once
_SCALE = 0.003
_CLIP = 4.0  # times the usual distance: more than that teaches no more
_SETTLED = 8  # points beyond the clip on one side: that is where the series is now
_FOLLOWS = 0.3
_DRIFT, _DRIFT_CLIP = 0.2, 8.0
_GAP = 5.0  # usual steps without a value, after which the last one says nothing about the next
_BACK = 10.0  # usual steps: a clock that goes back by more was set
_SHARE, _WIDTH = 0.002, 0.02  # of the level, and of all that was seen: less than that is no distance
_LARGEST = 1e300
_LATEST = 1e12  # seconds since 1970


class SeasonalDetector:
    """One series. See `bext_otel.alerts.detector` for what it takes, and `feed` for what it answers.

    Memory is constant, below 4 kB; a value costs a few microseconds.
    """

    __slots__ = (
        "_anchored",
        "_block_before",
        "_block_left",
        "_block_max",
        "_drift",
        "_drift_excess",
        "_drift_tail",
        "_excess",
        "_far",
        "_far_scale",
        "_floor",
        "_highest",
        "_is_counter",
        "_last",
        "_lowest",
        "_minimum",
        "_near",
        "_near_scale",
        "_profile",
        "_quiet_until",
        "_run",
        "_season",
        "_seen",
        "_since",
        "_slot_end",
        "_spread",
        "_step",
        "_tail",
        "_total",
        "_total_time",
    )

    def __init__(self, *, counter: bool = False, minimum: float = 0.0) -> None:
        self._is_counter = counter
        self._minimum = minimum
        self._profile = Profile()
        self._last = -math.inf
        self._quiet_until = -math.inf
        self._slot_end = -math.inf
        self._total: float | None = None
        self._total_time = 0.0
        self._anchored = False
        self._seen = self._run = 0
        self._near = self._far = self._season = self._drift = 0.0
        self._near_scale = self._far_scale = 0.0
        self._floor = 1e-12
        self._spread = 1.0
        self._highest, self._lowest = -math.inf, math.inf
        self._tail, self._excess = 3.0, 1.0
        self._drift_tail, self._drift_excess = 1.5, 0.5
        self._block_max = self._block_before = 0.0
        self._block_left = _BLOCK
        self._since = 0.0
        self._step = 0.0

    def quiet(self, until_unix: float) -> None:
        """Say and learn nothing before that time: a deploy's window, say."""
        self._quiet_until = max(self._quiet_until, until_unix)

    def feed(self, timestamp: float, value: float, *, traffic: float | None = None) -> Alarm | None:
        """Take the next value; an `Alarm` if nothing led to expect it, and none like it was seen shortly
        before.

        `timestamp` is seconds since 1970; one that is not after the last one, and a value that is no finite
        number, is passed over. `traffic` is what the value stands on, such as requests a minute: below the
        detector's `minimum` it says and teaches nothing.
        """
        if self._is_counter:
            rate = self._rate(timestamp, value)
            if rate is None:
                return None
            value = rate
        elapsed = timestamp - self._last
        if not (-_LARGEST < value < _LARGEST and elapsed > 0 and timestamp < _LATEST):
            self._set_back(timestamp, elapsed)
            return None
        if timestamp < self._quiet_until or (traffic is not None and traffic < self._minimum):
            self._last = timestamp
            self._anchored = False
            return None
        if timestamp >= self._slot_end or elapsed >= SLOT_SECONDS:
            self._turn(timestamp)
        if self._seen < 2:
            self._begin(timestamp, value)
            return None
        self._last = timestamp
        if elapsed > _GAP * self._step:
            self._anchored = False
        self._step += 0.05 * (min(elapsed, 3 * self._step) - self._step)
        return self._judge(timestamp, value)

    def _judge(self, timestamp: float, value: float) -> Alarm | None:
        level = value - self._season
        if not self._anchored:
            self._anchored, self._near = True, level
        near_unit = self._near_scale * self._spread
        near_away = (level - self._near) / near_unit
        far_away = (level - self._far) / (self._far_scale * self._spread)
        odd = near_away + far_away
        if value > self._highest:
            odd += (value - self._highest) / near_unit
            self._highest = value
        elif value < self._lowest:
            odd += (value - self._lowest) / near_unit
            self._lowest = value
        if odd < 0:
            odd = -odd
        bounded = min(max(far_away, -_DRIFT_CLIP), _DRIFT_CLIP)
        self._drift += _DRIFT * (bounded - self._drift)
        drift = abs(self._drift)
        self._profile.add(value, bounded)
        self._learn(level, near_away, far_away)
        alarm = None
        if odd > self._tail or drift > self._drift_tail:
            alarm = self._beyond(timestamp, value, odd, drift)
        else:
            self._since = 0.0
            self._tail *= _EASES
            self._drift_tail *= _EASES
        self._block_left -= 1
        if not self._block_left:
            self._block_left = _BLOCK
            self._block_before, self._block_max = self._block_max, 0.0
        return alarm

    def _learn(self, level: float, near_away: float, far_away: float) -> None:
        """Move the levels and the usual distances: by no more than what is just unusual would, unless the
        series stays there."""
        floor = self._floor
        self._seen = seen = self._seen + 1
        pace = _SCALE if seen * _SCALE > 1 else 1 / seen
        scale = self._near_scale
        self._near += _NEAR * near_away * scale * self._spread
        scale += pace * scale * (min(abs(near_away), _CLIP) - 1)
        self._near_scale = scale if scale > floor else floor
        scale = self._far_scale
        run = self._run
        if -_CLIP <= far_away <= _CLIP:
            self._run = 0
            self._far += _FAR * far_away * scale * self._spread
        elif far_away > 0:
            self._run = run = run + 1 if run > 0 else 1
            far_away = _CLIP
            self._follow(level, run, _CLIP * scale)
        else:
            self._run = run = run - 1 if run < 0 else -1
            far_away = -_CLIP
            self._follow(level, -run, -_CLIP * scale)
        scale += pace * scale * (abs(far_away) - 1)
        self._far_scale = scale if scale > floor else floor

    def _follow(self, level: float, run: int, bounded: float) -> None:
        """The far level, where a value is beyond what teaches: at once only if many in a row are."""
        if run < _SETTLED:
            self._far += _FAR * bounded * self._spread
            return
        moved = _FOLLOWS * (level - self._far)
        self._far += moved
        self._profile.shift(moved)

    def _beyond(self, timestamp: float, value: float, odd: float, drift: float) -> Alarm | None:
        """What becomes of a value beyond the percentile: it teaches the tail, and may be an alarm."""
        # What comes in a row is one event, and teaches little more than one.
        pace = _PACE if not self._since else _PACE_IN_A_ROW
        self._since = self._since or timestamp
        limit = self._tail + self._excess * _LOG_RARE
        score = max(odd / limit, drift / (self._drift_tail + self._drift_excess * _LOG_RARE))
        self._tail, self._excess = _taught(self._tail, self._excess, odd, pace)
        self._drift_tail, self._drift_excess = _taught(self._drift_tail, self._drift_excess, drift, pace)
        record = max(self._block_max, self._block_before)
        self._block_max = max(self._block_max, score)
        if score <= 1 or score <= record * _RECORD or self._seen < _WARM_UP:
            return None
        expected = self._far + self._season
        reach = limit * self._far_scale * self._spread / 2
        return Alarm(timestamp, value, expected, expected - reach, expected + reach, self._since, score)

    def _set_back(self, timestamp: float, elapsed: float) -> None:
        """Go on from an earlier time if the clock was set, or nothing would be judged until it is there
        again."""
        if elapsed < -_BACK * self._step and self._seen > 1 and timestamp > -_LATEST:
            self._last = timestamp
            self._slot_end = -math.inf
            self._anchored = False

    def _begin(self, timestamp: float, value: float) -> None:
        """The first two values: where the series is, and how often it comes."""
        if self._seen:
            self._step = timestamp - self._last
        self._last = timestamp
        self._near = self._far = value if not self._seen else (self._far + value) / 2
        self._highest, self._lowest = max(self._highest, value), min(self._lowest, value)
        self._near_scale = self._far_scale = max((self._highest - self._lowest) / 2, abs(value) * 0.02, 1e-9)
        self._anchored = True
        self._seen += 1

    def _turn(self, timestamp: float) -> None:
        """Another slot of the day begins."""
        self._slot_end = timestamp - timestamp % SLOT_SECONDS + SLOT_SECONDS
        profile = self._profile
        season = profile.turn(timestamp)
        if profile.switched:  # the season counts from here on, or no more: the levels are others
            self._far -= season - self._season
            self._near -= season - self._season
        self._season = season
        self._spread = profile.spread
        if self._seen > 1:
            width = self._highest - self._lowest
            self._floor = max(abs(self._far + season) * _SHARE, width * _WIDTH, 1e-12)
            self._highest -= 0.0005 * width
            self._lowest += 0.0005 * width

    def _rate(self, timestamp: float, total: float) -> float | None:
        """Increase per second of a counter since its last value; None for the first, and over a reset."""
        before, since = self._total, timestamp - self._total_time
        if not (-_LARGEST < total < _LARGEST) or since <= 0:
            return None
        self._total, self._total_time = total, timestamp
        if before is None or total < before:
            self._anchored = False
            return None
        return (total - before) / since


def _taught(tail: float, excess: float, value: float, pace: float) -> tuple[float, float]:
    """The percentile and the usual excess beyond it, after one more value."""
    if value <= tail:
        return tail * (1 - pace * _TAIL), excess
    over = min(value - tail, _TEACHES * excess)
    return tail * (1 + pace * (1 - _TAIL)), excess + pace * (over - excess)
