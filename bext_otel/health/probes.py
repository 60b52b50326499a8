"""Asking probes in the background, each at its interval, side by side, in threads: whoever wants to know what
they said waits for nobody.

A probe that hangs holds one daemon thread and is not asked again before it answers, so that a dead dependency
costs one thread and not one for each interval.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import isawaitable
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from opentelemetry.instrumentation.utils import suppress_instrumentation

from bext_otel import threads
from bext_otel.health.checks import Check, found
from bext_otel.health.standing import Patience, Standing, timed_out
from bext_otel.process import on_fork

if TYPE_CHECKING:
    import asyncio

__all__ = ["Ask", "Clock", "Concluded", "Probe", "Prober"]

Answer: TypeAlias = Check | Mapping[str, object] | bool | None
Ask: TypeAlias = Callable[[], Answer | Awaitable[Answer]]
Clock: TypeAlias = Callable[[], float]

MAX_THREADS = 64
"""Probes that may be under way at once, hung ones included."""

# A thread that has asked waits so long for the next probe: where several are asked each second they have some
# threads between them instead of a new one each.
_IDLE_SECONDS = 2.0
# So that the processes of a service, and the checks of a process, don't ask all at once for ever.
_JITTER = 0.1


class ProbeRun:
    """One asking of one probe. `deadline` is on the monotonic clock; `life` is the prober's that began it;
    `told`: it is past its limit, and has counted as failed."""

    __slots__ = ("deadline", "life", "started", "told")

    def __init__(self, started: float, deadline: float, life: object) -> None:
        self.started = started
        self.deadline = deadline
        self.life = life
        self.told = False

    def is_late(self) -> bool:
        """Whether it is past its limit."""
        return time.monotonic() > self.deadline


@dataclass(eq=False)
class Probe:
    """A registered probe, its newest run while that is under way, and what its results add up to.

    `loop` is the event loop in which a coroutine is awaited, if it runs; otherwise it has a loop of its own.
    One that `at_once` says what is takes no thread and no interval. `watched`: somebody looks at the end of
    its run's time. `is_late`: it was found while others were asked already.
    """

    ask: Ask
    critical: bool
    patience: Patience
    loop: asyncio.AbstractEventLoop | None = None
    at_once: bool = False
    run: ProbeRun | None = None
    standing: Standing | None = None
    removed: bool = False
    name: str = ""
    watched: bool = False
    is_late: bool = False


class Concluded(NamedTuple):
    """What a run has made of a probe's standing."""

    probe: Probe
    latency_ms: float
    before: Standing | None
    now: Standing


class Prober:
    """Runs probes. `clock` measures ages and latencies, `judge` says what a result is with the figures that
    it tells, `tell` is told of each run that has ended or is past its limit."""

    def __init__(
        self,
        *,
        clock: Clock,
        tell: Callable[[Concluded], object] = bool,
        judge: Callable[[Check], Check] = lambda check: check,
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._judge = judge
        self._start_over()
        _probers.add(self)

    def _start_over(self) -> None:
        # Looked up in its module now: gevent's workers patch it after the fork.
        self._changed = threading.Condition()
        # When, the manieth, which probe, and whether a run of it is at its limit then.
        self._due: list[tuple[float, int, Probe, bool]] = []
        self._numbers = count()
        self._waiting: list[tuple[Probe, ProbeRun]] = []
        self._idle = 0
        self._threads = 0
        self._begun = False
        self._life = object()

    @property
    def begun(self) -> bool:
        """Whether probes are asked in this process."""
        return self._begun

    def begin(self, probes: Sequence[Probe]) -> None:
        """Ask `probes` from now on."""
        with self._changed:
            if self._begun:
                return
            self._begun = True
            for probe in probes:
                probe.run = probe.standing = None
                probe.watched = False
                if not probe.at_once:
                    self._schedule(probe, time.monotonic())
        self._begun = threads.start(self._keep_asking, self._life, name="bext-otel-health") is not None

    def add(self, probe: Probe) -> None:
        """Ask one probe more, at once, if any are asked."""
        with self._changed:
            if self._begun and not probe.at_once:
                self._schedule(probe, time.monotonic())
                self._changed.notify_all()

    def end(self) -> None:
        """Ask nobody any more."""
        with self._changed:
            self._begun = False
            self._due.clear()
            self._life = object()
            self._changed.notify_all()

    def wait(self, probes: Sequence[Probe], seconds: float) -> None:
        """For the first result of each, or until one is late, as long as that."""
        until = time.monotonic() + seconds
        with self._changed:
            while any(_is_awaited(probe) for probe in probes):
                left = until - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(min(left, 0.05))

    def shown(self, probe: Probe) -> Check:
        """What a probe said last, or that it should have. Takes no lock and waits for nobody."""
        if probe.at_once:
            return self._judge(_timed(probe, self._clock))
        run, standing = probe.run, probe.standing
        if run is not None and run.life is self._life and run.is_late():
            latency_ms = (self._clock() - run.started) * 1e3
            return replace(timed_out(probe.patience), latency_ms=latency_ms)
        if standing is None:
            return Check("starting", {"reason": "not asked yet"})
        in_time = run is not None and run.started - standing.at <= 2 * probe.patience.interval_seconds
        return standing.shown(self._clock(), probe.patience, in_time=in_time)

    def ask_now(self, probes: Sequence[Probe]) -> None:
        """Ask those that are due, here: for a process that can have no thread."""
        for probe in probes:
            standing = probe.standing
            if probe.at_once:
                continue
            if standing is None or self._clock() - standing.at >= probe.patience.interval_seconds:
                self._perform(probe, self._new_run(probe))

    def _schedule(self, probe: Probe, due: float, *, ends: bool = False) -> None:
        heapq.heappush(self._due, (due, next(self._numbers), probe, ends))

    def _keep_asking(self, life: object) -> None:
        while (due := self._next(life)) is not None:
            concluded, works = due
            if concluded is not None:
                self._tell(concluded)
            if works and threads.start(self._work, life, name="bext-health") is None:
                # In this thread: better a probe that hangs up the others than none that is asked.
                self._work(life, idle_seconds=0.0)

    def _next(self, life: object) -> tuple[Concluded | None, bool] | None:
        """Wait for what is due and do it: what it has made of a probe, and whether one thread more is wanted.
        None: this life is over."""
        with self._changed:
            while self._life is life and (pause := self._pause()) is not None:
                self._changed.wait(pause or None)
            if self._life is not life:
                return None
            _, _, probe, ends = heapq.heappop(self._due)
            if ends:
                return self._look_after(probe), False
            if probe.removed:
                return None, False
            run = self._new_run(probe)
            if self._threads - self._idle >= MAX_THREADS:
                return self._conclude(probe, run, Check.unhealthy(reason=f"{MAX_THREADS} probes hang")), False
            if not probe.watched:
                probe.watched = True
                self._schedule(probe, run.deadline, ends=True)
            self._waiting.append((probe, run))
            if self._idle >= len(self._waiting):
                self._changed.notify_all()
                return None, False
            self._threads += 1
            return None, True

    def _look_after(self, probe: Probe) -> Concluded | None:
        """At the end of a run's time: it counts as failed, though it may go on for good."""
        probe.watched = False
        run = probe.run
        if run is None or run.told or probe.removed:
            return None
        if not run.is_late():  # another one, which began since
            probe.watched = True
            self._schedule(probe, run.deadline, ends=True)
            return None
        run.told = True
        return self._stands(probe, run, timed_out(probe.patience), at_once=True)

    def _pause(self) -> float | None:
        """Seconds until one is due; 0: nobody knows; None: one is."""
        if not self._due:
            return 0.0
        pause = self._due[0][0] - time.monotonic()
        return pause if pause > 0 else None

    def _new_run(self, probe: Probe) -> ProbeRun:
        run = ProbeRun(self._clock(), time.monotonic() + probe.patience.timeout_seconds, self._life)
        probe.run = run
        return run

    def _work(self, life: object, idle_seconds: float = _IDLE_SECONDS) -> None:
        while True:
            with self._changed:
                if not self._waiting and idle_seconds and self._life is life:
                    self._idle += 1
                    self._changed.wait_for(lambda: self._waiting or self._life is not life, idle_seconds)
                    self._idle -= 1
                if not self._waiting or self._life is not life:
                    self._threads -= 1
                    return
                probe, run = self._waiting.pop(0)
            self._perform(probe, run)

    def _perform(self, probe: Probe, run: ProbeRun) -> None:
        check = _found(probe)
        with self._changed:
            concluded = self._conclude(probe, run, check)
        if concluded is not None:
            self._tell(concluded)

    def _conclude(self, probe: Probe, run: ProbeRun, check: Check) -> Concluded | None:
        if run.life is not self._life or probe.run is not run:
            return None
        concluded = None
        if not run.told:
            late = run.is_late()
            check = timed_out(probe.patience) if late else check
            concluded = self._stands(probe, run, check, at_once=late)
        probe.run = None
        if self._begun:
            jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  # nosec B311  # no secret
            interval = probe.patience.interval_seconds * jitter
            began = run.deadline - probe.patience.timeout_seconds
            self._schedule(probe, max(began + interval, time.monotonic()))
        self._changed.notify_all()
        return concluded

    def _stands(self, probe: Probe, run: ProbeRun, check: Check, *, at_once: bool) -> Concluded:
        """After one result more."""
        now, before = self._clock(), probe.standing
        latency_ms = (now - run.started) * 1e3
        if check.latency_ms is None:  # one that was handed in measured for itself
            check = replace(check, latency_ms=latency_ms)
        check = self._judge(check)
        if before is None:
            standing = Standing.first(check, now)
        else:
            standing = before.after(check, now, probe.patience, at_once=at_once)
        probe.standing = standing
        return Concluded(probe, latency_ms, before, standing)


def _is_awaited(probe: Probe) -> bool:
    return not probe.at_once and probe.standing is None and (probe.run is None or not probe.run.is_late())


def _timed(probe: Probe, clock: Clock) -> Check:
    began = clock()
    check = _found(probe)
    return check if check.latency_ms is not None else replace(check, latency_ms=(clock() - began) * 1e3)


def _found(probe: Probe) -> Check:
    try:
        # Spans of a `SELECT 1` each second would bury the requests' own.
        with suppress_instrumentation():
            return found(_answer(probe))
    except BaseException as exc:
        # A broken probe is a finding; its message may hold secrets, its type does not.
        return Check.unhealthy(reason=type(exc).__name__)


def _answer(probe: Probe) -> object:
    answer = probe.ask()
    if not isawaitable(answer):
        return answer
    import asyncio  # here: most processes have no such probe

    seconds = probe.patience.timeout_seconds
    loop = probe.loop
    if loop is not None and loop.is_running():
        future = asyncio.run_coroutine_threadsafe(_awaited(answer), loop)
        try:
            return future.result(seconds)
        finally:
            future.cancel()
    return asyncio.run(asyncio.wait_for(_awaited(answer), seconds))


async def _awaited(answer: Awaitable[Any]) -> object:
    with suppress_instrumentation():
        return await answer


_probers: weakref.WeakSet[Prober] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Threads stay behind in a fork, and a lock may be held by one of them."""
    for prober in list(_probers):
        prober._start_over()


on_fork(in_child=_after_fork_in_child)
