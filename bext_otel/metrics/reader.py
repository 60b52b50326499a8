"""The one reading: ticks while there is work, and hands out an immutable snapshot of the service."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TypeAlias

from bext_otel.catalogue import LABEL_OVERFLOW, OVERFLOW
from bext_otel.metrics import families
from bext_otel.metrics.instruments.store import Instruments
from bext_otel.metrics.merging.label_budgets import apply_budgets
from bext_otel.metrics.merging.local import LocalRows
from bext_otel.metrics.merging.sum import Tally
from bext_otel.metrics.merging.wire import Publication, is_readable
from bext_otel.metrics.publisher import Published, Service
from bext_otel.metrics.service_usage import ServiceProcesses, service_usage
from bext_otel.metrics.snapshot import Family, LabelSet, Snapshot
from bext_otel.metrics.store.streams import Streams
from bext_otel.metrics.third_party.collection import ThirdPartyMetrics
from bext_otel.metrics.third_party.name_conflicts import beside
from bext_otel.metrics.ticker import Ticker
from bext_otel.metrics.timeline import Timeline
from bext_otel.metrics.usage import ProcessUsage
from bext_otel.process import catch_up
from bext_otel.service.board import Board

__all__ = ["SnapshotReader"]

Telemetry: TypeAlias = Mapping[str, "int | float | str"]

# How often a worker says what is recent while nothing new happens: quantiles and rates look back far longer
# than that.
_FADING_SECONDS = 5.0


_INSTRUMENT = "an OpenTelemetry instrument"


def _nothing() -> None:
    pass


class SnapshotReader:
    """Reads the cells of the catalogue and what other libraries measure, in this process and, by `ledger`, in
    the service's others.

    `registered` tells what others registered with a metrics library of their own, `unread` how much of it
    could not be read, `watched` whether they may count there unheard, and `listen` has the next count there
    call its argument, once.

    `telemetry` tells how export fares, `resource` is the resource's attributes, `tick_seconds` how often
    cells are drained while busy; `on_start` is called in the ticker's thread when the first measurement has
    started it. Where there is no thread, what is in `instead` is called after each tick.
    """

    def __init__(
        self,
        streams: Streams,
        instruments: Instruments | None = None,
        *,
        registered: Callable[[], list[Family]] = list,
        watched: Callable[[], bool] = bool,
        unread: Callable[[], int] = int,
        listen: Callable[[Callable[[], None]], None] = lambda _: None,
        ledger: Board | None = None,
        resource: Mapping[str, str] | None = None,
        telemetry: Callable[[], Telemetry] = dict,
        include_process: bool = True,
        tick_seconds: float = 1.0,
        on_start: Callable[[], object] = _nothing,
    ) -> None:
        self.streams = streams
        self.instruments = instruments if instruments is not None else Instruments(streams)
        self.third_party = ThirdPartyMetrics(
            self.instruments.collect, registered, watched, unread, streams.monotonic
        )
        self._listen = listen
        self._resource = resource or {}
        self._telemetry = telemetry
        self._include_process = include_process
        self._service = Service(ledger, streams.monotonic, streams.budgets) if ledger is not None else None
        self.instead: list[Callable[[], object]] = []
        self._ticker = Ticker(
            self.tick,
            tick_seconds,
            on_start,
            instead=lambda: [call() for call in self.instead],
            may_tick=lambda: not self._is_at_work,
        )
        streams.wake = self._wake
        self.instruments.on_observable = self._heard
        streams.stream(LABEL_OVERFLOW).observers.append(
            lambda: [(count, {"label": name}) for name, count in self._overflowed().items()]
        )
        self._parent = 0
        self._begin()
        if self._service is not None and self._service.has_peers():
            # Executed to go on with the work of others.
            self._listen(self._heard)

    def _overflowed(self) -> dict[str, int]:
        """How often what was folded: values of labels, and sets of attributes past the limit of series."""
        found = dict(self.streams.budgets.overflowed())
        if folded := self.instruments.folded:
            found[OVERFLOW] = folded
        return found

    def _wake(self) -> bool:
        catch_up()
        return self._ticker.wake()

    @property
    def _is_at_work(self) -> bool:
        """Whether somebody publishes now: this may be a signal handler within that."""
        return self._service is not None and self._service.is_busy

    def _heard(self) -> None:
        """Another library measured something, which it keeps until it is collected."""
        self.third_party.heard = True
        self._wake()

    def _begin(self) -> None:
        self.started_unix = self.streams.clock()
        self._started = self.streams.monotonic()
        self._system = ProcessUsage() if self._include_process else None
        self._processes = (
            ServiceProcesses(self._service.members)
            if self._include_process and self._service is not None
            else None
        )
        self._fading_until = 0.0
        self._unsaid = False
        self._said = False
        self._changes_seen = self.streams.changes
        self._own = LocalRows()
        self._faded_at = 0.0
        self._garbled = False
        self._series = families.KnownSeries()

    @property
    def timeline(self) -> Timeline:
        """The moments that backends are told."""
        return self.streams.timeline

    @property
    def failing(self) -> bool:
        """Whether the last tick failed, or nobody can read what this process published for the last
        scrape."""
        return self._ticker.failing or self._garbled

    @property
    def rejected(self) -> int:
        """How many points that others registered could not be read, or were no numbers."""
        return self.third_party.rejected

    def before_fork(self, counted: list[Family]) -> None:
        """Go on in a process that forks. `counted` is what others have counted here, which the child leaves
        to this process to tell.

        What it has not told yet, as a server's master that has just loaded the application, it tells now,
        since it may never get to it.
        """
        if self._service is None:
            return
        self._listen(self._heard)
        if counted and (not self._said or self.third_party.heard or self.third_party.pending):
            self.third_party.replace(counted)
            nothing: families.Observed = {stream: {} for stream in self.streams}
            told = self._service.publish(lambda base: self._contribution(nothing, base), wait=False)
            self._said = self._said or told is not None

    def reset(self) -> None:
        """Begin anew, as a forked child does: what the parent counted is the parent's."""
        self._ticker.reset()
        self.streams.reset()
        self.instruments.reset()
        self.third_party.begin()
        self._parent = os.getppid()
        self._begin()
        if self._service is not None:
            self._service.reset()
            self._listen(self._heard)

    def do(self, work: Callable[[], object]) -> bool:
        """Have the ticker's thread do something, if it can."""
        return self._ticker.do(work)

    def stop(self) -> None:
        """Tick no more, and leave the others what there is to say."""
        self._ticker.stop()
        self.share()

    def share(self) -> None:
        """Leave the others what there is to say, now."""
        if self._service is not None and self._service.has_peers():
            self.third_party.collect()
            self._publish(self._service, self.observed())

    def tick(self) -> bool:
        """Drain, and publish if there is company; whether there is, or will be, more to do soon."""
        self.streams.drain()
        changes, self._changes_seen = self._changes_seen, self.streams.changes
        service = self._service
        if service is not None:
            self._listen(self._heard)  # first, so that what is counted while this looks is heard
        # Not what this drain found: a scrape or an export may have drained before it.
        busy, now = self.third_party.take_heard() or changes != self._changes_seen, self.streams.monotonic()
        if service is None:
            return busy
        if busy or self.third_party.pending:
            self._unsaid = True
            # What is recent fades also when nothing happens any more, and the others should see that it does.
            self._fading_until = now + self.streams.window_seconds * 1.2
        return self._tell(service, busy, now)

    def _tell(self, service: Service, busy: bool, now: float) -> bool:
        """Publish what others wait for; whether there will be more to do soon."""
        third_party, has_peers = self.third_party, service.has_peers()
        fading = has_peers and now < self._fading_until
        watching = has_peers and third_party.watched()
        counted = watching and third_party.has_counted(now)
        fades = fading and (self._unsaid or now >= self._faded_at + _FADING_SECONDS)
        # Alone, nobody reads it. Said when work pauses nevertheless: who joins while the ticker sleeps would
        # not know.
        if fades or counted or (self._unsaid and not busy):
            self._faded_at = now
            if not counted and third_party.is_due(busy, now):
                third_party.collect()
            self._publish(service, self.observed())
        return fading or busy or watching or third_party.pending

    def snapshot(self) -> Snapshot:
        """A fresh picture of everything, all workers included."""
        catch_up()
        # Callbacks of the application run before the lock is taken: one that measures, or waits, must not
        # meet it.
        registered = self.third_party.collect()
        observed = self.observed()
        if self._service is not None and self._service.has_peers():
            return self._of_service(self._service, observed)
        with self.streams.lock:
            self.streams.drain()
            now = self.streams.monotonic()
            mine = families.of_process(observed, now)
            foreign = self.instruments.families()
            rates = families.rates_of_process(self.streams, now)
        system = self._system.figures() if self._system is not None else {}
        foreign += beside(foreign, registered, _INSTRUMENT)
        return self._snapshot(
            mine, foreign, rates, self.started_unix, now - self._started, system, self._telemetry()
        )

    def observed(self) -> families.Observed:
        """Every stream, with what observers say of its series now."""
        return families.observed_now(self.streams)

    def _of_service(self, service: Service, observed: families.Observed) -> Snapshot:
        # Of this process, just what it published: whichever worker is asked next must not know less than this
        # one is about to say.
        published = self._publish(service, observed)
        self._garbled = published is None or not is_readable(published.payload)
        tally = Tally(self.streams.monotonic())
        if published is not None:
            tally.add(published.contribution, alive=True)
        for shared in service.others():
            tally.add(shared.contribution, alive=shared.alive)
        tally.settle()
        apply_budgets(tally, self.streams.budgets)
        return self._snapshot(
            families.of_service(self.streams, tally),
            families.of_foreign(tally.foreign, self._series),
            families.rates_of_service(self.streams, tally),
            tally.started_unix or self.started_unix,
            tally.now - tally.started,
            service_usage(self._processes, tally.system) if self._processes is not None else tally.system,
            tally.telemetry,
        )

    def _snapshot(
        self,
        mine: list[Family],
        foreign: list[Family],
        rates: Mapping[str, Mapping[LabelSet, float]],
        started_unix: float,
        uptime_seconds: float,
        system: Mapping[str, float],
        telemetry: Telemetry,
    ) -> Snapshot:
        return Snapshot(
            time_unix=self.streams.clock(),
            started_unix=started_unix,
            uptime_seconds=uptime_seconds,
            families=(*mine, *beside(mine, foreign, "one of the catalogue")),
            rates=rates,
            system=system,
            telemetry={**telemetry, "series": sum(len(family.points) for family in mine)},
            resource=self._resource,
        )

    def _publish(self, service: Service, observed: families.Observed) -> Published | None:
        self._unsaid, self._said = False, True
        return service.publish(lambda base: self._contribution(observed, base))

    def _contribution(self, observed: families.Observed, base: Publication | None) -> Publication:
        with self.streams.lock:
            self.streams.drain()
            now = self.streams.monotonic()
            fields = self._own.fields(observed, now)
            told = self.instruments.parts(now)
        return Publication(
            started=self._started,
            started_unix=self.started_unix,
            published=now,
            admitted={key: list(values.items()) for key, values in self.streams.budgets.admitted().items()},
            foreign=[*told, *beside(told, self.third_party.parts, _INSTRUMENT)],
            system=self._system.figures() if self._system is not None else {},
            telemetry=self._telemetry(),
            base=base,
            pid=os.getpid(),
            parent=self._parent,
            **fields,
        )
