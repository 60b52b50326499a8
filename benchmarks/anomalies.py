"""What the anomaly detector finds, and how often it is wrong: event-wise F1, false alarms and delay, beside
rules that are in use.

`python -m benchmarks.anomalies` judges 48 labelled series (benchmarks/anomaly_series.py), half of which were
never looked at while the detector was made; `--seen` judges the other half. A fault counts as found by an
alarm up to its end, once; other alarms are false. The rivals get what the detector gets: rates of counters,
nothing in a deploy's window, and repeats suppressed by the same rule (a new alarm only for a record). Their
one threshold is chosen on the very series that they are judged by; ours is fixed.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.anomaly_series import LabelledSeries, all_series
from bext_otel.alerts import detector

_RECORD = 300  # points
_DAY = 86_400.0
_LEAST_POINTS = 150
_THRESHOLDS = tuple(1.15**power for power in range(4, 30))


@dataclass
class Verdict:
    """What a rule did on some series."""

    found: int = 0
    missed: int = 0
    false: int = 0
    weeks: float = 0.0
    minute_false: int = 0
    minute_weeks: float = 0.0
    delays: list[float] = field(default_factory=list)

    @property
    def f1(self) -> float:
        """Of faults, 0.0 to 1.0."""
        return 2 * self.found / max(2 * self.found + self.false + self.missed, 1)

    def add(self, series: LabelledSeries, alarms: list[float]) -> tuple[int, int, int]:
        """Count what was said about a series; answers how many were found, missed and false."""
        found: dict[int, float] = {}
        false = 0
        for alarm in alarms:
            hit = [
                index
                for index, (first, last) in enumerate(series.faults)
                if first - 1 <= alarm <= last + 10 * series.step_seconds
            ]
            if hit:
                found.setdefault(hit[0], alarm)
            else:
                false += 1
        self.found += len(found)
        missed = len(series.faults) - len(found)
        self.missed += missed
        self.false += false
        self.weeks += series.weeks
        if series.step_seconds == 60:
            self.minute_false += false
            self.minute_weeks += series.weeks
        self.delays += [
            (alarm - series.faults[index][0]) / series.step_seconds for index, alarm in found.items()
        ]
        return len(found), missed, false

    def row(self, name: str) -> str:
        """A line of the table."""
        delay = statistics.median(self.delays) if self.delays else math.nan
        return (
            f"{name:<34}{self.f1:6.3f}{self.found:7}{self.missed:8}{self.false:7}"
            f"{self.minute_false / max(self.minute_weeks, 1e-9):10.2f}{delay:8.1f}"
        )


def ours(series: LabelledSeries) -> list[float]:
    """When our detector raises an alarm."""
    judge = detector(counter=series.is_counter)
    alarms = []
    deploys = iter(sorted(series.deploys))
    deploy = next(deploys, None)
    for at, value in series.points:
        while deploy is not None and at >= deploy[0]:
            judge.quiet(deploy[1])
            deploy = next(deploys, None)
        if judge.feed(at, value) is not None:
            alarms.append(at)
    return alarms


def _given(series: LabelledSeries) -> Iterator[tuple[float, float]]:
    """The values that rivals judge: rates, without those of deploys."""
    before: tuple[float, float] | None = None
    for at, raw in series.points:
        value, last = raw, before
        before = (at, raw)
        if series.is_counter:
            if last is None or raw < last[1]:
                continue
            value = (raw - last[1]) / (at - last[0])
        if not any(first <= at < end for first, end in series.deploys):
            yield at, value


Scores = list[tuple[float, float]]


def k_sigma(series: LabelledSeries, memory: float) -> Scores:
    """Distance from the mean in standard deviations, both over `memory` points back."""
    mean = square = 0.0
    scores: Scores = []
    for number, (at, value) in enumerate(_given(series)):
        deviation = math.sqrt(max(square - mean * mean, 1e-12))
        scores.append((at, abs(value - mean) / deviation if number >= _LEAST_POINTS else 0.0))
        pace = max(1 / (number + 1), 1 / memory)
        mean += pace * (value - mean)
        square += pace * (value * value - square)
    return scores


def ewma(series: LabelledSeries) -> Scores:
    """An EWMA control chart: the smoothed value's distance from the mean, in its own deviations."""
    mean = square = smooth = 0.0
    scores: Scores = []
    for number, (at, value) in enumerate(_given(series)):
        smooth = value if not number else smooth + 0.2 * (value - smooth)
        deviation = math.sqrt(max(square - mean * mean, 1e-12) * 0.2 / 1.8)
        scores.append((at, abs(smooth - mean) / deviation if number >= _LEAST_POINTS else 0.0))
        pace = max(1 / (number + 1), 1 / 1440)
        mean += pace * (value - mean)
        square += pace * (value * value - square)
    return scores


def seasonal_naive(series: LabelledSeries) -> Scores:
    """Distance from the value of the same time yesterday, in deviations of that distance."""
    held: dict[int, float] = {}
    square = 0.0
    scores: Scores = []
    for number, (at, value) in enumerate(_given(series)):
        slot = int(at % _DAY / series.step_seconds)
        away = value - held.get(slot, value)
        held[slot] = value
        scores.append((at, abs(away) / math.sqrt(max(square, 1e-12)) if number >= _LEAST_POINTS else 0.0))
        square += max(1 / (number + 1), 1 / 1440) * (away * away - square)
    return scores


def alarms_of(scores: Scores, threshold: float) -> list[float]:
    """Times where a score is past the threshold, and a record among the last hundreds."""
    alarms: list[float] = []
    record, since = 0.0, -_RECORD
    for number, (at, score) in enumerate(scores):
        if score <= threshold:
            continue
        if number - since > _RECORD or score > record:
            alarms.append(at)
            record = score
            since = number
    return alarms


RIVALS: dict[str, Callable[[LabelledSeries], Scores]] = {
    "k-sigma, all so far": lambda series: k_sigma(series, math.inf),
    "k-sigma, a day back": lambda series: k_sigma(series, _DAY / series.step_seconds),
    "k-sigma, an hour back": lambda series: k_sigma(series, 60),
    "EWMA": ewma,
    "seasonal-naive": seasonal_naive,
}


def judge_rival(
    score: Callable[[LabelledSeries], Scores], half: list[LabelledSeries]
) -> tuple[Verdict, float]:
    """The best that one threshold does on these very series."""
    scored = [(series, score(series)) for series in half]
    best, at = Verdict(), 0.0
    for threshold in _THRESHOLDS:
        verdict = Verdict()
        for series, scores in scored:
            verdict.add(series, alarms_of(scores, threshold))
        if verdict.f1 > best.f1:
            best, at = verdict, threshold
    return best, at


def costs() -> tuple[float, int]:
    """Microseconds of CPU a value, and bytes a series, after a week at one sample a minute."""
    series = next(iter(all_series(unseen=False)))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    judge = detector()
    for at, value in series.points[:10_080]:
        judge.feed(at, value)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    least = math.inf
    for _ in range(5):
        judge = detector()
        started = time.process_time()
        for at, value in series.points:
            judge.feed(at, value)
        least = min(least, time.process_time() - started)
    return least / len(series.points) * 1e6, held


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seen", action="store_true", help="the half that it was made with")
    parser.add_argument("--only-ours", action="store_true", help="without the rivals")
    parser.add_argument("--each", action="store_true", help="what was found in each series")
    options = parser.parse_args()
    half = list(all_series(unseen=not options.seen))
    verdict = Verdict()
    for series in half:
        counts = verdict.add(series, ours(series))
        if options.each:
            print(f"  {series.name:<28} found {counts[0]} missed {counts[1]} false {counts[2]}")
    print(f"{'':<34}{'F1':>6}{'found':>7}{'missed':>8}{'false':>7}{'a week':>10}{'delay':>8}")
    print(verdict.row("ours"))
    if not options.only_ours:
        for name, score in RIVALS.items():
            best, threshold = judge_rival(score, half)
            print(best.row(f"{name} (best: {threshold:.1f})"))
    microseconds, held = costs()
    print(f"{microseconds:.2f} us of CPU a value, {held} bytes a series")


if __name__ == "__main__":
    main()
