"""The one reading: ticks while there is work, and hands out an immutable snapshot of the service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from opentelemetry.sdk.metrics.export import Metric as SdkMetric
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel.catalogue import LABEL_OVERFLOW
from bext_otel.pipeline import families, own
from bext_otel.pipeline.cells import Cell
from bext_otel.pipeline.contribution import Contribution, ForeignPart, decode, encode
from bext_otel.pipeline.exact import exact, exact_family
from bext_otel.pipeline.folding import fold
from bext_otel.pipeline.foreign import ForeignReader
from bext_otel.pipeline.merge import Tally
from bext_otel.pipeline.service import LedgerLike, Service
from bext_otel.pipeline.snapshot import Family, LabelSet, Snapshot
from bext_otel.pipeline.streams import Stream, Streams
from bext_otel.pipeline.system import System
from bext_otel.pipeline.ticker import Ticker
from bext_otel.workers.forks import catch_up

__all__ = ["Reading"]

Telemetry: TypeAlias = Mapping[str, "int | float | str"]

# Other libraries may have callbacks that take long; a tick collects again when this many times as long as the last collection took is over.
_PACE = 20


def _nothing() -> None:
    pass


class Reading:
    """Reads the cells of the catalogue and what other libraries measure, in this process and, by `ledger`, in the service's others.

    `registered` tells what others registered with a metrics library of their own.

    `telemetry` tells how export fares, `resource` is the resource's attributes, `tick_seconds` how often cells are drained while busy;
    `on_start` is called in the ticker's thread when the first measurement has started it.
    """

    def __init__(
        self,
        streams: Streams,
        foreign: ForeignReader | None = None,
        *,
        registered: Callable[[], list[Family]] = list,
        ledger: LedgerLike | None = None,
        resource: Mapping[str, str] | None = None,
        telemetry: Callable[[], Telemetry] = dict,
        include_process: bool = True,
        tick_seconds: float = 1.0,
        on_start: Callable[[], object] = _nothing,
    ) -> None:
        self.streams = streams
        self.foreign = foreign
        # How many points that others registered were no numbers.
        self.rejected = 0
        self._registered = registered
        self._resource = resource or {}
        self._telemetry = telemetry
        self._include_process = include_process
        self._service = Service(ledger, streams.monotonic) if ledger is not None else None
        self._ticker = Ticker(self.tick, tick_seconds, on_start)
        streams.wake = self._wake
        if foreign is not None:
            foreign.on_measurement = self._heard
        streams.stream(LABEL_OVERFLOW).observers.append(
            lambda: [(count, {"label": name}) for name, count in streams.budgets.overflowed().items()]
        )
        self._begin()

    def _wake(self) -> None:
        catch_up()
        self._ticker.wake()

    def _heard(self) -> None:
        """Another library measured something, which it keeps until it is collected."""
        self._foreign_busy = True
        self._wake()

    def _begin(self) -> None:
        self.started_unix = self.streams.clock()
        self._started = self.streams.monotonic()
        self._system = System() if self._include_process else None
        self._foreign_parts: list[ForeignPart] = []
        self._foreign_busy = False
        self._collect_from = 0.0
        self._fading_until = 0.0
        self._unsaid = False
        self._changes_seen = self.streams.changes
        self._garbled = False

    @property
    def failing(self) -> bool:
        """Whether the last tick failed, or nobody can read what this process published for the last scrape."""
        return self._ticker.failing or self._garbled

    def reset(self) -> None:
        """Begin anew, as a forked child does: what the parent counted is the parent's."""
        self._ticker.reset()
        self.streams.reset()
        if self.foreign is not None:
            self.foreign.reset()
        if self._service is not None:
            self._service.reset()
        self._begin()

    def stop(self) -> None:
        """Tick no more, and leave the others what there is to say."""
        self._ticker.stop()
        self.share()

    def share(self) -> None:
        """Leave the others what there is to say, now."""
        if self._service is not None and self._service.company():
            self._collected()
            self._publish(self._service, self.observed())

    def tick(self) -> bool:
        """Drain, and publish if there is company; whether there is, or will be, more to do soon."""
        self.streams.drain()
        changes, self._changes_seen = self._changes_seen, self.streams.changes
        foreign_busy, self._foreign_busy = self._foreign_busy, False
        # Not what this drain found: a scrape or an export may have drained before it.
        busy, now = foreign_busy or changes != self._changes_seen, self.streams.monotonic()
        service = self._service
        if service is None:
            return busy
        company = service.company()
        if busy:
            self._unsaid = True
            # What is recent fades also when nothing happens any more, and the others should see that it does.
            self._fading_until = now + self.streams.window_seconds * 1.2
        fading = company and now < self._fading_until
        # Alone, nobody reads it. Said when work pauses nevertheless: who joins while the ticker sleeps would not know.
        if fading or (self._unsaid and not busy):
            if busy and now >= self._collect_from:
                self._collected()
            self._publish(service, self.observed())
        return fading or busy

    def snapshot(self, *, native: bool = False) -> Snapshot:
        """A fresh picture of everything, all workers included; `native` asks for the buckets of summaries."""
        catch_up()
        # Callbacks of the application run before the lock is taken: one that measures, or waits, must not meet it.
        foreign = self._collected()
        observed = self.observed()
        if self._service is not None and self._service.company():
            return self._of_service(self._service, observed, native)
        with self.streams.lock:
            self.streams.drain()
            now = self.streams.monotonic()
            mine = families.of_process(observed, now, native=native)
            rates = families.rates_of_process(self.streams, now)
        system = self._system.figures() if self._system is not None else {}
        return self._snapshot(mine, foreign, rates, self.started_unix, now - self._started, system, self._telemetry())

    def observed(self) -> dict[Stream, dict[Cell, dict[str, float]]]:
        """Every stream, with what observers say of its series now, by source; two that speak of one series of this process add up."""
        return {stream: _observed(stream) for stream in self.streams}

    def collect_foreign(self) -> list[tuple[InstrumentationScope, SdkMetric]]:
        """What other libraries measured here, as of now, with cumulative temporality."""
        if self.foreign is None:
            return []
        self.foreign.collect()
        return self.foreign.totals()

    def _collected(self) -> list[Family]:
        found: list[Family] = []
        began = self.streams.monotonic()
        if self.foreign is not None:
            self.foreign.collect()
            found = self.foreign.families()
        taken = {family.name for family in found}
        for family in self._registered():
            if family.name not in taken:
                plain = exact_family(family)
                self.rejected += len(family.points) - len(plain.points)
                found.append(plain)
        self._foreign_parts = families.foreign_parts(found)
        ended = self.streams.monotonic()
        self._collect_from = ended + _PACE * (ended - began)
        return found

    def _of_service(self, service: Service, observed: families.Observed, native: bool) -> Snapshot:
        # Of this process, just what it published: whichever worker is asked next must not know less than this one is about to say.
        published = decode(self._publish(service, observed))
        tally = Tally(self.streams.monotonic())
        self._garbled = published is None
        if published is not None:
            tally.add(published, alive=True)
        else:
            service.unreadable += 1
        for shared in service.others():
            tally.add(shared.contribution, alive=shared.alive)
        tally.settle()
        fold(tally, self.streams.budgets)
        return self._snapshot(
            families.of_service(self.streams, tally, native=native),
            families.of_foreign(tally.foreign.values()),
            families.rates_of_service(self.streams, tally),
            tally.started_unix or self.started_unix,
            tally.now - tally.started,
            tally.system,
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
        taken = {family.name for family in mine}
        return Snapshot(
            time_unix=self.streams.clock(),
            started_unix=started_unix,
            uptime_seconds=uptime_seconds,
            families=(*mine, *(family for family in foreign if family.name not in taken)),
            rates=rates,
            system=system,
            telemetry={**telemetry, "series": sum(len(family.points) for family in mine)},
            resource=self._resource,
        )

    def _publish(self, service: Service, observed: families.Observed) -> bytes:
        self._unsaid = False
        return service.publish(lambda base: encode(self._contribution(base, observed)))

    def _contribution(self, base: Contribution | None, observed: families.Observed) -> Contribution:
        with self.streams.lock:
            self.streams.drain()
            now = self.streams.monotonic()
            rows = own.rows(observed, now)
            rates = own.rates(self.streams, now)
        return Contribution(
            started=self._started,
            started_unix=self.started_unix,
            published=now,
            rates=rates,
            admitted={name: list(values.items()) for name, values in self.streams.budgets.admitted().items()},
            foreign=self._foreign_parts,
            system=self._system.figures() if self._system is not None else {},
            telemetry=self._telemetry(),
            base=base,
            **rows,
        )


def _observed(stream: Stream) -> dict[Cell, dict[str, float]]:
    values: dict[Cell, dict[str, float]] = {}
    for cell, value, source in stream.observed():
        by_source = values.setdefault(cell, {})
        # Two observers of one shared thing in one process see the same.
        by_source[source] = value if source else exact(by_source.get(source, 0) + value)
    return values
