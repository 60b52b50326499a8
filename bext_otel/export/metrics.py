"""The metrics signal: provider, reading and export, for either engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from bext_otel.apps import Budgets
from bext_otel.config import Config
from bext_otel.export.delivery import Delivery
from bext_otel.export.otlp import metric_exporters
from bext_otel.export.periodic import MetricExport
from bext_otel.export.shutdown import Ending
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.reader import Reading
from bext_otel.metrics.snapshot import Snapshot
from bext_otel.metrics.store.streams import Streams
from bext_otel.metrics.third_party.prometheus_client import registered, unread, watched
from bext_otel.metrics.third_party.prometheus_forks import bequeath, counted, inherit
from bext_otel.metrics.third_party.prometheus_listener import Hearing
from bext_otel.process import on_fork
from bext_otel.service.board import Ledger

__all__ = ["MetricsSignal", "build_metrics"]


class Reads(Protocol):
    """Whoever can tell how the service is."""

    def snapshot(self, *, native: bool = False) -> Snapshot:
        """A fresh picture of everything; `native` asks for the buckets of summaries."""
        ...


def _nothing(_: float = 0.0) -> None:
    pass


def _nothing_of(_: Resource) -> None:
    pass


@dataclass(frozen=True)
class MetricsSignal:
    """A meter provider, what reads it, and how it ends, begins again in a forked child, and tells that a measurement was made.

    `speaks_for` tells it of another resource, `wake` that there may be something to read though no measurement told,
    `dropped` how many measurements found no room, or were no numbers that their instrument takes. `share` leaves the other workers
    of the service what there is to say. `failing` says whether measurements could not be read lately.
    """

    provider: MeterProvider
    reads: Reads
    deliveries: tuple[Delivery, ...] = ()
    end: Callable[[float], None] = _nothing
    in_child: Callable[[], None] = _nothing
    speaks_for: Callable[[Resource], None] = _nothing_of
    wake: Callable[[], object] = _nothing
    dropped: Callable[[], int] = int
    on_first_measurement: list[Callable[[], None]] = field(default_factory=list)
    share: Callable[[], None] = _nothing
    failing: Callable[[], bool] = bool


def build_metrics(
    config: Config, resource: Resource, telemetry: Callable[[], Mapping[str, int | float | str]], *, ledger: Ledger | None = None
) -> MetricsSignal:
    """The signal that `[telemetry] engine` names. `telemetry` tells how export fares, `ledger` is where the service's workers publish."""
    shown = _shown(resource)
    exporters = metric_exporters(config.telemetry.exporters, once=config.telemetry.engine == "bext")
    deliveries = tuple(delivery for _, delivery in exporters)
    interval = config.metrics.export_interval_seconds
    if config.telemetry.engine == "upstream":
        from bext_otel.export.upstream_engine import build_upstream  # imports prometheus_client, which then shows metrics of its own

        provider, reads = build_upstream(resource, exporters, interval, shown, telemetry)
        return MetricsSignal(
            provider,
            reads,
            deliveries,
            end=lambda seconds: provider.shutdown(timeout_millis=seconds * 1e3),
            speaks_for=lambda changed: shown.update(_shown(changed)),
        )
    streams = Streams(
        Budgets(config.metrics.budgets), window_seconds=config.metrics.window_seconds, rate_seconds=config.metrics.rate_window_seconds
    )
    own = BextMeterProvider(streams, resource, cardinality_limit=config.metrics.cardinality_limit)
    signal: MetricsSignal
    hearing = Hearing()
    if ledger is not None:
        hearing.open()
    reading = Reading(
        streams,
        own.foreign,
        registered=registered,
        unread=unread,
        watched=watched,
        listen=hearing.listen,
        ledger=ledger,
        resource=shown,
        telemetry=telemetry,
        include_process=config.metrics.include_process,
        tick_seconds=config.metrics.tick_seconds,
        on_start=lambda: [call() for call in signal.on_first_measurement],
    )
    own.share = reading.share
    exports = own.exports
    exports += [MetricExport(reading, resource, exporter, delivery, interval) for exporter, delivery in exporters]
    reading.instead += [export.send_if_due for export in exports]

    forget_forks = on_fork(before=lambda: reading.before_fork(counted()), in_parent=bequeath)

    def end(seconds: float) -> None:
        forget_forks()
        hearing.close()
        reading.stop()
        for export in exports:
            export.shutdown(seconds)
        if ledger is not None:
            ledger.close()

    def begin_end(seconds: float) -> bool:
        begun = [export.begin_end(seconds) for export in exports]
        return all(begun)

    def in_child() -> None:
        inherit()
        reading.reset()
        for export in exports:
            export.reset()

    def speaks_for(changed: Resource) -> None:
        shown.update(_shown(changed))
        for export in exports:
            export.resource = changed

    def dropped() -> int:
        return own.foreign.dropped + reading.rejected + sum(stream.rejected for stream in streams)

    starts = [export.start for export in exports]
    ends = (Ending(end, begin_end), in_child, speaks_for, streams.wake, dropped, starts, reading.share)
    signal = MetricsSignal(own, reading, deliveries, *ends, failing=lambda: reading.failing)
    return signal


def _shown(resource: Resource) -> dict[str, str]:
    return {name: str(value) for name, value in resource.attributes.items()}
