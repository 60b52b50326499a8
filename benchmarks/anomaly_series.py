"""Labelled series for benchmarks/anomalies.py: shapes of traffic with faults put in, by fixed seeds.

A series is a shape (what a healthy service does), a noise, what is normal though it looks odd (deploys,
counter resets, holes), and faults, which are labelled. Half of the shapes of the unseen series are not among
the seen ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

__all__ = ["SEEN", "UNSEEN", "LabelledSeries", "all_series"]

_DAY = 86_400.0
_START = 1_700_438_400.0  # a Monday, 00:00 UTC

Shape = Callable[[float, Random], float]


@dataclass
class LabelledSeries:
    """`points` are (seconds since 1970, value); `faults` are (first, last) time of each fault; `deploys` are
    (begin, end) of windows that the platform has announced. With `is_counter`, values are totals."""

    name: str
    step_seconds: float
    points: list[tuple[float, float]] = field(default_factory=list)
    faults: list[tuple[float, float]] = field(default_factory=list)
    deploys: list[tuple[float, float]] = field(default_factory=list)
    is_counter: bool = False

    @property
    def weeks(self) -> float:
        """How long it is."""
        return (self.points[-1][0] - self.points[0][0]) / (7 * _DAY)


def _hour(time: float) -> float:
    return time % _DAY / 3600


def _is_weekend(time: float) -> bool:
    return int((time - _START) // _DAY) % 7 >= 5


def _sine(time: float, level: float = 400.0, swing: float = 0.6) -> float:
    return level * (1 + swing * math.sin(2 * math.pi * (_hour(time) - 8) / 24))


def _office(time: float) -> float:
    hour = _hour(time)
    humps = math.exp(-(((hour - 10.5) / 2) ** 2)) + 0.8 * math.exp(-(((hour - 15.5) / 2.2) ** 2))
    return 60 + (120 if _is_weekend(time) else 700) * humps


def _flat(time: float) -> float:
    return 250.0


def _cron(time: float) -> float:
    """A job of ten minutes each hour, and a backup at three."""
    return 80 + (90 if time % 3600 < 600 else 0) + (400 if 3 <= _hour(time) < 3.5 else 0)


def _trend(time: float) -> float:
    return 300 + 25 * (time - _START) / _DAY


def _sawtooth(time: float) -> float:
    """A heap that fills for 50 minutes and is collected."""
    return 200 + 300 * (time % 3000) / 3000


def _evening(time: float) -> float:
    hour = _hour(time)
    return 100 + (900 if not _is_weekend(time) else 1300) * math.exp(-(((hour - 20.5) / 2.5) ** 2))


def _plateaus(time: float) -> float:
    return 500.0 if 7 <= _hour(time) < 19 else 150.0


def _two_waves(time: float) -> float:
    return (
        300 + 120 * math.sin(2 * math.pi * _hour(time) / 12) + 60 * math.cos(2 * math.pi * _hour(time) / 24)
    )


def _normal(value: float, random: Random) -> float:
    return value * (1 + random.gauss(0, 0.05))


def _poisson(value: float, random: Random) -> float:
    return max(round(random.gauss(value / 8, math.sqrt(max(value / 8, 0.01)))), 0)


def _heavy(value: float, random: Random) -> float:
    return value * random.lognormvariate(0, 0.3)


def _laplace(value: float, random: Random) -> float:
    return value + 0.04 * 300 * random.choice((-1, 1)) * random.expovariate(1)


class _Drifting:
    """Noise that remembers: each error is most of the last one."""

    def __init__(self) -> None:
        self.error = 0.0

    def __call__(self, value: float, random: Random) -> float:
        self.error = 0.85 * self.error + random.gauss(0, 0.03)
        return value * (1 + self.error)


_SEEN_SHAPES = (_sine, _office, _flat, _cron, _trend, _sawtooth)
_UNSEEN_SHAPES = (_sine, _evening, _flat, _plateaus, _trend, _two_waves)
_SEEN_NOISES: tuple[Callable[[], Shape], ...] = (lambda: _normal, lambda: _poisson, lambda: _heavy, _Drifting)
_UNSEEN_NOISES: tuple[Callable[[], Shape], ...] = (
    lambda: _poisson,
    _Drifting,
    lambda: _laplace,
    lambda: _heavy,
)

_KINDS = ("spike", "dip", "shift", "variance", "odd_hour", "burst")


def _fault(kind: str, value: float, into: float, random: Random, unit: float, size: float) -> float:
    """What a fault of this kind makes of a healthy value, `into` seconds after it began. `unit` is how large
    the series usually is, `size` how bad the fault."""
    if kind == "spike":
        return value + unit * size
    if kind == "dip":
        return value * 0.08
    if kind == "shift":
        return value + 0.5 * unit * size
    if kind == "variance":
        return max(value + unit * size * random.gauss(0, 0.5), 0)
    if kind == "odd_hour":  # a climb to what would be usual at another time of the day
        return value + 0.6 * unit * size * min(into / 600, 1)
    return value * (1 + 0.8 * size)


# Seconds that a fault lasts, for one sample a minute; a shift stays until the end.
_LASTS = {"spike": 180, "dip": 1500, "shift": math.inf, "variance": 3000, "odd_hour": 5400, "burst": 900}


def _times(random: Random, number: int, first: float, last: float, apart: float) -> list[float]:
    slots = [first + (last - first) * (index + random.uniform(0.1, 0.7)) / number for index in range(number)]
    return [slot for index, slot in enumerate(slots) if not index or slot - slots[index - 1] > apart]


def _series(index: int, *, unseen: bool) -> LabelledSeries:
    random = Random(9000 + index if unseen else 100 + index)
    shapes, noises = (_UNSEEN_SHAPES, _UNSEEN_NOISES) if unseen else (_SEEN_SHAPES, _SEEN_NOISES)
    shape, noise = shapes[index % len(shapes)], noises[index // len(shapes) % len(noises)]()
    step = 300.0 if index % 8 == 7 else 60.0
    days = 28 if step == 300 else 14
    made = LabelledSeries(
        f"{'unseen' if unseen else 'seen'}-{index}-{shape.__name__.strip('_')}",
        step,
        is_counter=index % 6 == 5,
    )
    begin, end = _START, _START + days * _DAY
    stretch = step / 60
    kinds = random.sample(_KINDS, 3)
    # A day to learn, as the docs say.
    starts = _times(random, 3, begin + 2 * _DAY, end - 6 * 3600, 6 * 3600)
    begins = list(zip(starts, kinds, (random.uniform(0.6, 1.6) for _ in kinds), strict=False))
    unit = max(sum(shape(begin + hour * 3600) for hour in range(24)) / 24, 1)
    for start, kind, _ in begins:
        made.faults.append((start, start + min(_LASTS[kind], 3600) * stretch))
    holes = [(at, at + random.uniform(0.2, 5) * 3600) for at in _times(random, 2, begin, end, 0)]
    restarts = [at + 9 * 3600 for at in _times(random, 3, begin + _DAY, end - _DAY, 0)]
    near = [fault for fault, _ in made.faults]
    restarts = [at for at in restarts if all(abs(at - other) > 3 * 3600 for other in near)]
    holes = [hole for hole in holes if all(abs(hole[0] - other) > 6 * 3600 for other in near)]
    made.deploys = [(at, at + 10 * step) for at in restarts]
    total = 0.0
    time = begin
    while time < end:
        value = noise(shape(time), random)
        for start, kind, size in begins:
            if 0 <= time - start < _LASTS[kind] * stretch:
                value = _fault(kind, value, time - start, random, unit, size)
        if any(a <= time < b for a, b in made.deploys):
            value *= random.choice((0.1, 0.4, 2.5))
        if made.is_counter:
            if any(0 <= time - at < step for at in (a for a, _ in made.deploys)):
                total = 0.0
            total += max(value, 0) * step
        if not any(a <= time < b for a, b in holes):
            made.points.append((time + random.uniform(0, 0.02) * step, total if made.is_counter else value))
        time += step
    return made


SEEN, UNSEEN = 24, 24
"""How many series there are of each half."""


def all_series(*, unseen: bool) -> Iterator[LabelledSeries]:
    """One half of the series, each made anew; always the same ones."""
    for index in range(UNSEEN if unseen else SEEN):
        yield _series(index, unseen=unseen)
