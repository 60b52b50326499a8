"""What one rule sees in each reading: by key, the value, and whether it is on the wrong side."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bext_otel.alerts.alarm import Alarm, Detector
from bext_otel.alerts.reading import Reading
from bext_otel.alerts.rules import BURN_RATES
from bext_otel.alerts.windows import MOST_SERIES, Increases, Key, Window
from bext_otel.config.model import AlertRule

__all__ = ["Finding", "Watched"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found of one series: `is_odd` is what it alerts on. `alarm` explains an anomaly."""

    value: float
    is_odd: bool
    alarm: Alarm | None = None


class Watched:
    """One rule with what it remembers. `detector` makes what judges each series of an anomaly."""

    def __init__(self, rule: AlertRule, *, detector: Callable[[], Detector]) -> None:
        self.rule = rule
        self._detector = detector
        self._patterns = {name: re.compile(pattern) for name, pattern in rule.match.items()}
        self._some, self._all = Increases(), Increases()
        lengths = [rule.window_seconds]
        if rule.kind == "burn_rate":
            lengths = sorted({seconds for pair in BURN_RATES for seconds in pair[:2]})
        self._windows = {seconds: (Window(seconds), Window(seconds)) for seconds in lengths}
        self._detectors: dict[Key, Detector] = {}
        self._odd: dict[Key, Alarm] = {}

    def look(self, reading: Reading) -> dict[Key, Finding]:
        """What it finds now, by the values of `by`."""
        rule = self.rule
        if rule.kind == "threshold":
            return {key: Finding(value, self._beyond(value)) for key, value in self._values(reading).items()}
        if rule.kind == "absence":
            return {(): Finding(0.0, not self._values(reading))}
        self._count(reading)
        if rule.kind == "burn_rate":
            return self._burning(reading.time_unix)
        if rule.kind == "ratio":
            return {key: Finding(share, self._beyond(share)) for key, share in self._shares().items()}
        if rule.kind == "rate":
            return {key: Finding(rate, self._beyond(rate)) for key, rate in self._rates(reading).items()}
        return self._anomalies(reading)

    def _beyond(self, value: float) -> bool:
        return value > self.rule.limit if self.rule.comparison == "above" else value < self.rule.limit

    def _key(self, labels: Mapping[str, str]) -> Key:
        return tuple([labels.get(name, "") for name in self.rule.by])

    def _matches(self, labels: Mapping[str, str]) -> bool:
        return all(pattern.fullmatch(labels.get(name, "")) for name, pattern in self._patterns.items())

    def _values(self, reading: Reading) -> dict[Key, float]:
        """The worst value of each key; NaN, which is an empty window, is none."""
        worst = max if self.rule.comparison == "above" else min
        wanted = f"{self.rule.quantile:g}" if self.rule.quantile else None
        found: dict[Key, float] = {}
        for labels, value in reading.sample(self.rule.metric):
            if math.isnan(value) or not self._matches(labels) or wanted not in {None, labels.get("quantile")}:
                continue
            key = self._key(labels)
            if key in found or len(found) < MOST_SERIES:
                found[key] = worst(found.get(key, value), value)
        return found

    def _count(self, reading: Reading) -> None:
        """Put what came since the last reading into the windows."""
        rule = self.rule
        some = self._some.since_last(
            {
                (rule.metric, *labels.items()): value
                for labels, value in reading.sample(rule.metric)
                if self._matches(labels)
            }
        )
        whole: dict[object, float] = {}
        if rule.kind != "rate":
            for name in rule.of or (rule.metric,):
                whole.update({(name, *labels.items()): value for labels, value in reading.sample(name)})
        whole = self._all.since_last(whole)
        for one, other in self._windows.values():
            one.add(reading.time_unix, self._by_key(some))
            other.add(reading.time_unix, self._by_key(whole))

    def _by_key(self, increases: Mapping[object, float]) -> dict[Key, float]:
        found: dict[Key, float] = {}
        for series, increase in increases.items():
            key = self._key(dict(series[1:]))  # type: ignore[index]
            found[key] = found.get(key, 0.0) + increase
        return found

    def _shares(self, seconds: float | None = None) -> dict[Key, float]:
        """`metric` over `of` in a window, where there was enough of it."""
        some, whole = self._windows[seconds or self.rule.window_seconds]
        parts = some.sums()
        least = max(self.rule.minimum, 1e-12)
        return {key: parts.get(key, 0.0) / count for key, count in whole.sums().items() if count >= least}

    def _rates(self, reading: Reading) -> dict[Key, float]:
        window = self._windows[self.rule.window_seconds][0]
        seconds = window.covered(reading.time_unix)
        found = {
            self._key(labels): 0.0 for labels, _ in reading.sample(self.rule.metric) if self._matches(labels)
        }
        found.update(window.sums())
        return {key: increase / seconds for key, increase in found.items()} if seconds > 0 else {}

    def _burning(self, now: float) -> dict[Key, Finding]:
        budget = 1 - self.rule.objective
        found: dict[Key, Finding] = {}
        for long, short, factor in BURN_RATES:
            lately = self._shares(short)
            for key, share in self._shares(long).items():
                burns = min(share, lately.get(key, 0.0)) / budget
                before = found.get(key)
                if before is None or not before.is_odd:
                    found[key] = Finding(burns, burns > factor)
        return found

    def _anomalies(self, reading: Reading) -> dict[Key, Finding]:
        if self.rule.of:
            values = self._shares()
        elif self.rule.metric.endswith("_total"):
            values = self._rates(reading)
        else:
            values = self._values(reading)
        now, found = reading.time_unix, {}
        for key, value in values.items():
            judge = self._detectors.get(key)
            if judge is None:
                if len(self._detectors) >= MOST_SERIES:
                    continue
                judge = self._detectors[key] = self._detector()
            alarm = judge.feed(now, value)
            if alarm is not None and (alarm.value > alarm.expected) is (self.rule.comparison == "above"):
                self._odd[key] = alarm
            odd = self._odd.get(key)
            if odd is not None and not 0 <= now - odd.time_unix < self.rule.window_seconds:
                odd = self._odd.pop(key) and None
            found[key] = Finding(value, odd is not None, odd)
        return found
