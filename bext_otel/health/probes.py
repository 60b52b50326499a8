"""Asking probes: side by side, in threads of their own, each with a limit and a result that is kept for a
moment.

A probe that hangs holds one daemon thread and is not asked again before it answers, so that a dead dependency
costs one thread and not one for each visitor of `/health`.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from opentelemetry.instrumentation.utils import suppress_instrumentation

from bext_otel import threads
from bext_otel.health.checks import Check, found
from bext_otel.process import on_fork

__all__ = ["Ask", "Clock", "Probe", "Prober"]

Ask = Callable[[], "Check | Mapping[str, object] | bool | None"]
Clock = Callable[[], float]

MAX_THREADS = 64
"""Probes that may be under way at once, hung ones included."""


class ProbeRun:
    """One asking of one probe; `check` is None until it answers, which `changed` tells. `deadline` is on the
    monotonic clock."""

    __slots__ = ("changed", "check", "deadline", "finished", "started")

    def __init__(self, started: float, deadline: float, changed: threading.Condition) -> None:
        self.changed = changed
        self.started = started
        self.deadline = deadline
        self.finished = 0.0
        self.check: Check | None = None


@dataclass
class Probe:
    """A registered probe, and its newest run."""

    ask: Ask
    critical: bool
    timeout_seconds: float
    run: ProbeRun | None = field(default=None, compare=False)


class Prober:
    """Runs probes. `clock` measures ages and latencies; `cache_seconds` is how long an answer is good for."""

    def __init__(self, *, cache_seconds: float, clock: Clock) -> None:
        self._cache_seconds = cache_seconds
        self._clock = clock
        self._start_over()
        _probers.add(self)

    def _start_over(self) -> None:
        self._changed = threading.Condition()
        self._threads = 0

    def checks(self, probes: Sequence[Probe]) -> list[Check]:
        """What each of `probes` found, in their order; within the longest of their timeouts."""
        with self._changed:
            runs = [self._run_of(probe) for probe in probes]
            self._wait(runs)
            return [self._outcome(probe, run) for probe, run in zip(probes, runs, strict=True)]

    def _run_of(self, probe: Probe) -> ProbeRun:
        """The run that answers for `probe` now: the one under way, a fresh one, or a new one."""
        now = self._clock()
        run = probe.run
        # After a fork, a run of the parent never ends here.
        ours = run is not None and run.changed is self._changed
        if run is not None and ours and (run.check is None or now - run.finished <= self._cache_seconds):
            return run
        run = probe.run = ProbeRun(now, time.monotonic() + probe.timeout_seconds, self._changed)
        if self._threads >= MAX_THREADS:
            self._conclude(run, Check.unhealthy(reason=f"{MAX_THREADS} probes hang"))
            return run
        self._threads += 1
        if threads.start(self._perform, probe, run, name="bext-health") is None:
            # Asked here, where nobody can limit it: an application is not unhealthy because it has no thread
            # to spare.
            self._perform(probe, run)
        return run

    def _wait(self, runs: Sequence[ProbeRun]) -> None:
        """Until each run answered or is past its deadline."""
        while True:
            now = time.monotonic()
            left = [run.deadline - now for run in runs if run.check is None and run.deadline > now]
            if not left:
                return
            self._changed.wait(max(left))

    def _perform(self, probe: Probe, run: ProbeRun) -> None:
        try:
            # Spans of a `SELECT 1` each second would bury the requests' own.
            with suppress_instrumentation():
                check = found(probe.ask())
        except (
            BaseException
        ) as exc:  # a broken probe is a finding; its message may hold secrets, its type does not
            check = Check.unhealthy(reason=type(exc).__name__)
        if time.monotonic() > run.deadline:
            check = _timed_out(probe)
        with run.changed:
            # A check that was handed in measured for itself.
            latency_ms = (self._clock() - run.started) * 1e3 if check.latency_ms is None else check.latency_ms
            self._conclude(run, replace(check, latency_ms=latency_ms))
            self._threads -= 1
            run.changed.notify_all()

    def _conclude(self, run: ProbeRun, check: Check) -> None:
        run.finished = self._clock()
        run.check = check

    def _outcome(self, probe: Probe, run: ProbeRun) -> Check:
        if run.check is not None:
            return run.check
        return replace(_timed_out(probe), latency_ms=(self._clock() - run.started) * 1e3)


def _timed_out(probe: Probe) -> Check:
    return Check.unhealthy(reason=f"no answer within {probe.timeout_seconds:g} s")


_probers: weakref.WeakSet[Prober] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Threads stay behind in a fork, and a lock may be held by one of them."""
    for prober in list(_probers):
        prober._start_over()


on_fork(in_child=_after_fork_in_child)
