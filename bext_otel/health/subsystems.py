"""What the service's metrics tell of its parts: caches, isolates, plugins, flows, and each app."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from bext_otel import catalogue
from bext_otel.catalogue import Metric
from bext_otel.config import AppHealthSettings
from bext_otel.health.checks import Check
from bext_otel.metrics.snapshot import Snapshot
from bext_otel.metrics.values import Distribution

__all__ = ["Looked", "Subsystems", "figures"]

# What is recent: error rates look back as far as that.
_WINDOW_SECONDS = 60.0
# Share of a processor that looking may take.
_SHARE = 0.01
_FAILING = 0.5
_DEFAULT = AppHealthSettings()


class Looked(NamedTuple):
    """One look at the metrics: totals by name and label, and the apps' p99 in milliseconds."""

    cache: Mapping[str, float]
    isolates: Mapping[str, float]
    plugins: Mapping[str, tuple[float, float]]
    flows: tuple[float, float] | None
    apps: Mapping[str, tuple[float, float]]
    p99_ms: Mapping[str, float]


def figures(snapshot: Snapshot) -> Looked:
    """What a snapshot tells; what a service does not have is empty. Plugins have (calls, errors), flows
    (active, steps and ends), apps (requests, errors)."""
    hits, misses = _total(snapshot, catalogue.CACHE_HITS), _total(snapshot, catalogue.CACHE_MISSES)
    cache = {"hits": hits or 0.0, "misses": misses or 0.0}
    entries, active = _total(snapshot, catalogue.CACHE_ENTRIES), _total(snapshot, catalogue.ISOLATE_COUNT)
    if entries is not None:
        cache["entries"] = entries
    errors = defaultdict[str, float](float)
    for labels, value in _points(snapshot, catalogue.PLUGIN_ERRORS):
        errors[labels["plugin"]] += value
    calls = defaultdict[str, float](float)
    for labels, value in _points(snapshot, catalogue.PLUGIN_DURATION):
        calls[labels["plugin"]] += value.count
    runs = _total(snapshot, catalogue.FLOW_ACTIVE_RUNS)
    steps = sum(value.count for _, value in _points(snapshot, catalogue.FLOW_STEP_DURATION))
    steps += sum(_total(snapshot, row) or 0 for row in (catalogue.FLOW_COMPLETED, catalogue.FLOW_FAILED))
    return Looked(
        cache if entries is not None or hits is not None or misses is not None else {},
        {} if active is None else {"active": active},
        {plugin: (count, errors[plugin]) for plugin, count in calls.items()},
        None if runs is None else (runs, steps),
        _requests(snapshot),
        _p99(snapshot),
    )


class Subsystems:
    """Looks at the metrics that `read` gives, and keeps what they tell. `apps` has thresholds by app, flows
    are stuck after `stuck_seconds` without a step, and somebody looks each `interval_seconds`."""

    def __init__(
        self,
        read: Callable[[], Snapshot],
        apps: Mapping[str, AppHealthSettings],
        *,
        stuck_seconds: float,
        interval_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._apps = apps
        self._interval_seconds = interval_seconds
        self._stuck_seconds = stuck_seconds
        self._clock = clock
        self._past: deque[tuple[float, Looked]] = deque()
        self._moved = (0.0, clock())
        self._not_before = -math.inf
        self.checks: Mapping[str, Check] = {}
        self.cache: Mapping[str, Any] = {}
        self.apps: Mapping[str, Mapping[str, Check]] = {}

    def latest(self, name: str) -> Check:
        """What was found of a part last; unhealthy where nobody has looked for a long time."""
        age = self._clock() - self._past[-1][0]
        if age > 3 * max(self._interval_seconds, self._not_before - self._past[-1][0]):
            return Check.unhealthy(reason="nobody looks at the metrics any more", age_secs=round(age, 1))
        return self.checks[name]

    def look(self) -> None:
        """Look, unless the last look was so long that another would take too much."""
        began = self._clock()
        if began < self._not_before:
            return
        now = figures(self._read())
        took = self._clock() - began
        self._not_before = began + took / _SHARE
        self._past.append((began, now))
        while len(self._past) > 2 and self._past[1][0] <= began - _WINDOW_SECONDS:
            self._past.popleft()
        before = self._past[0][1]
        self.cache = _cache(now, before)
        self.checks = {
            **({"isolates": Check.healthy(**_whole(now.isolates))} if now.isolates else {}),
            **({"plugins": _plugins(now, before)} if now.plugins else {}),
            **({"flow_engine": self._flows(now.flows, began)} if now.flows is not None else {}),
        }
        self.apps = {app: self._app(app, now, before) for app in now.apps}

    def _flows(self, flows: tuple[float, float], at: float) -> Check:
        active, steps = flows
        if steps != self._moved[0] or not active:
            self._moved = (steps, at)
        idle = at - self._moved[1]
        if active and idle >= self._stuck_seconds:
            reason = f"no step has ended for {idle:.0f} s"
            return Check.degraded(reason=reason, active=int(active), stuck=int(active))
        return Check.healthy(active=int(active), stuck=0)

    def _app(self, app: str, now: Looked, before: Looked) -> dict[str, Check]:
        limits = self._apps.get(app, _DEFAULT)
        requests, errors = now.apps[app]
        were, erred = before.apps.get(app, (0.0, 0.0))
        recent = requests - were
        found: dict[str, Check] = {}
        if recent >= limits.min_requests:
            rate = max(errors - erred, 0.0) / recent
            too_high = bool(limits.max_error_rate) and rate > limits.max_error_rate
            found["error_rate"] = Check("unhealthy" if too_high else "healthy", {"rate": round(rate, 4)})
        if (p99 := now.p99_ms.get(app)) is not None:
            too_slow = bool(limits.max_p99_ms) and p99 > limits.max_p99_ms
            found["p99"] = Check("unhealthy" if too_slow else "healthy", {"p99_ms": round(p99, 1)})
        return found


def _cache(now: Looked, before: Looked) -> dict[str, Any]:
    """Entries, and the hit rate of late; that of the whole life where nothing was asked of late."""
    if not now.cache:
        return {}
    facts: dict[str, Any] = {"entries": int(now.cache["entries"])} if "entries" in now.cache else {}
    for past in (before.cache, {}):
        hits, misses = (now.cache[name] - past.get(name, 0.0) for name in ("hits", "misses"))
        if hits + misses > 0:
            return {**facts, "hit_rate": round(hits / (hits + misses), 3)}
    return facts


def _plugins(now: Looked, before: Looked) -> Check:
    failing = []
    for plugin, (calls, errors) in sorted(now.plugins.items()):
        were, erred = before.plugins.get(plugin, (0.0, 0.0)) if before is not now else (0.0, 0.0)
        if calls > were and (errors - erred) / (calls - were) >= _FAILING:
            failing.append(plugin)
    if failing:
        reason = f"at least every other call fails: {', '.join(failing[:5])}"
        return Check.degraded(reason=reason, loaded=len(now.plugins), failing=len(failing))
    return Check.healthy(loaded=len(now.plugins), failing=0)


def _requests(snapshot: Snapshot) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for labels, value in _points(snapshot, catalogue.REQUESTS):
        app = labels["app"]
        requests, errors = found.get(app, (0.0, 0.0))
        found[app] = (requests + value, errors + (value if labels["status"].startswith("5") else 0.0))
    return found


def _p99(snapshot: Snapshot) -> dict[str, float]:
    parts = defaultdict[str, list[Distribution]](list)
    for labels, value in _points(snapshot, catalogue.REQUEST_DURATION):
        if isinstance(value, Distribution):
            parts[labels["app"]].append(value)
    found = {app: dict(Distribution.merged(each).quantiles()).get(0.99) for app, each in parts.items()}
    return {app: value for app, value in found.items() if value is not None and math.isfinite(value)}


def _points(snapshot: Snapshot, row: Metric) -> Iterator[tuple[dict[str, str], Any]]:
    family = snapshot.family(row)
    for point in family.points if family is not None else ():
        labels = dict.fromkeys(row.label_names, catalogue.UNKNOWN) | dict(point.series.labels)
        yield labels, point.value


def _total(snapshot: Snapshot, row: Metric) -> float | None:
    """All of a row added up; None while it has no series."""
    values = [float(value) for _, value in _points(snapshot, row)]
    return sum(values) if values else None


def _whole(facts: Mapping[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in facts.items() if math.isfinite(value)}
