"""The metrics signal: provider, reading and export, for either engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import Resource

from bext_otel.apps import Budgets
from bext_otel.config import Config, MetricsSettings
from bext_otel.export.delivery import Delivery
from bext_otel.export.otlp import metric_exporters
from bext_otel.export.periodic import MetricExport
from bext_otel.export.shutdown import Ending
from bext_otel.metrics.parts import NO_PARTS, MetricParts
from bext_otel.metrics.producers import Production
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.snapshot import Snapshot
from bext_otel.metrics.store.streams import Streams
from bext_otel.metrics.third_party.prometheus_client import registered, unread, watched
from bext_otel.metrics.third_party.prometheus_forks import counted, forked_child, take_baseline
from bext_otel.metrics.third_party.prometheus_listener import PrometheusListener
from bext_otel.process import on_fork
from bext_otel.service.board import Board

__all__ = ["MetricsSignal", "build_metrics"]

Figures: TypeAlias = Mapping[str, "int | float | str"]


class MetricsSignal:
    """A meter provider, what reads it, how its metrics leave the process, and how all that ends or begins
    again.

    `on_first_measurement` is called when this process has measured something.
    """

    def __init__(
        self,
        provider: MeterProvider,
        deliveries: tuple[Delivery, ...],
        shown: dict[str, str],
        patterns: Sequence[str],
    ) -> None:
        self.provider = provider
        self.deliveries = deliveries
        self.on_first_measurement: list[Callable[[], object]] = []
        self._shown, self._patterns = shown, patterns

    def snapshot(self) -> Snapshot:
        """A fresh picture of everything."""
        raise NotImplementedError

    def ending(self) -> Ending:
        """What sends the last values and stops, within the seconds that it is given."""
        raise NotImplementedError

    def use_resource(self, resource: Resource) -> None:
        """From now on the metrics are this resource's."""
        self._shown.update(_shown(resource, self._patterns))

    def reset(self) -> None:
        """Begin anew, as a forked child does."""

    def wake(self) -> None:
        """There may be something to read, though no measurement said so."""

    def share(self) -> None:
        """Leave the other workers of the service what there is to say."""

    def do(self, work: Callable[[], object]) -> bool:
        """Have a thread of this signal's do something, now; False if none can."""
        return False

    def dropped(self) -> int:
        """How many measurements found no room, or were no numbers that their instrument takes."""
        return 0

    def folded(self) -> int:
        """How many measurements were past the limit of their metric's series, and are counted together."""
        return 0

    @property
    def failing(self) -> bool:
        """Whether measurements could not be read lately."""
        return False


class UpstreamMetrics(MetricsSignal):
    """The SDK's own metrics: `engine = "upstream"`."""

    def __init__(
        self,
        resource: Resource,
        exporters: Sequence[tuple[MetricExporter, Delivery]],
        settings: MetricsSettings,
        telemetry: Callable[[], Figures],
        parts: MetricParts,
    ) -> None:
        from bext_otel.export.upstream_engine import (
            build_upstream,
        )  # imports prometheus_client, which then shows metrics of its own

        shown = _shown(resource, settings.resource_labels)
        provider, self._reading = build_upstream(
            resource,
            exporters,
            settings.export_interval_seconds,
            shown,
            telemetry,
            parts.views,
            parts.readers,
        )
        super().__init__(
            provider, tuple(delivery for _, delivery in exporters), shown, settings.resource_labels
        )

    def snapshot(self) -> Snapshot:
        return self._reading.snapshot()

    def ending(self) -> Ending:
        return Ending(
            lambda seconds: self.provider.shutdown(timeout_millis=seconds * 1e3), begin=lambda _: False
        )


class BextMetrics(MetricsSignal):
    """Every instrument in cells, and one reading of them."""

    def __init__(
        self,
        config: Config,
        resource: Resource,
        exporters: Sequence[tuple[MetricExporter, Delivery]],
        telemetry: Callable[[], Figures],
        ledger: Board | None,
        parts: MetricParts,
    ) -> None:
        settings = config.metrics
        shown = _shown(resource, settings.resource_labels)
        self._streams = Streams(
            Budgets(settings.budgets),
            window_seconds=settings.window_seconds,
            rate_seconds=settings.rate_window_seconds,
        )
        provider = BextMeterProvider(
            self._streams,
            resource,
            series_limit=settings.series_limit,
            views=parts.views,
            metric_readers=parts.readers,
            scope_labels=settings.scope_labels,
            total_suffix=settings.total_suffix,
        )
        super().__init__(
            provider, tuple(delivery for _, delivery in exporters), shown, settings.resource_labels
        )
        self._instruments, self._readers = provider.instruments, provider.readers
        self._ledger = ledger
        self._hearing = PrometheusListener()
        if ledger is not None:
            self._hearing.open()
        self._reading = SnapshotReader(
            self._streams,
            provider.instruments,
            registered=registered,
            unread=unread,
            watched=watched,
            listen=self._hearing.listen,
            ledger=ledger,
            resource=shown,
            telemetry=telemetry,
            include_process=settings.include_process,
            tick_seconds=settings.tick_seconds,
            on_start=lambda: [call() for call in self.on_first_measurement],
        )
        provider.share = self._reading.share
        self._exports = [
            MetricExport(
                self._reading,
                resource,
                exporter,
                delivery,
                settings.export_interval_seconds,
                batch_size=settings.export_batch_size,
                production=Production(parts.producers, parts.metric_filter),
            )
            for exporter, delivery in exporters
        ]
        for export in self._exports:
            provider.on_flush.append(export.flush)
            provider.on_shutdown.append(export.shutdown)
            self._reading.instead.append(export.send_if_due)
            self.on_first_measurement.append(export.start)
        self._forget_forks = on_fork(
            before=lambda: self._reading.before_fork(counted()), in_parent=forked_child
        )

    def snapshot(self) -> Snapshot:
        return self._reading.snapshot()

    def ending(self) -> Ending:
        return Ending(self._end, self._begin_end)

    def _begin_end(self, seconds: float) -> bool:
        begun = [export.begin_end(seconds) for export in self._exports]
        return all(begun)

    def _end(self, seconds: float) -> None:
        self._forget_forks()
        self._hearing.close()
        self._reading.stop()
        for export in self._exports:
            export.shutdown(seconds)
        self._readers.shutdown(seconds * 1e3)
        if self._ledger is not None:
            self._ledger.close()

    def use_resource(self, resource: Resource) -> None:
        super().use_resource(resource)
        for export in self._exports:
            export.resource = resource

    def reset(self) -> None:
        take_baseline()
        self._reading.reset()
        self._readers.reset()
        for export in self._exports:
            export.reset()

    def wake(self) -> None:
        self._streams.wake()

    def share(self) -> None:
        self._reading.share()

    def do(self, work: Callable[[], object]) -> bool:
        return self._reading.do(work)

    def dropped(self) -> int:
        own = sum(stream.rejected for stream in self._streams)
        return self._instruments.dropped + self._reading.rejected + own

    def folded(self) -> int:
        return self._instruments.folded

    @property
    def failing(self) -> bool:
        return self._reading.failing


def build_metrics(
    config: Config,
    resource: Resource,
    telemetry: Callable[[], Figures],
    *,
    ledger: Board | None = None,
    parts: MetricParts = NO_PARTS,
) -> MetricsSignal:
    """The signal that `[telemetry] engine` names. `telemetry` tells how export fares, `ledger` is where the
    service's workers publish, `parts` are the application's."""
    upstream = config.telemetry.engine == "upstream"
    exporters = metric_exporters(config.telemetry.exporters, once=not upstream, given=parts.exporters)
    if upstream:
        return UpstreamMetrics(resource, exporters, config.metrics, telemetry, parts)
    return BextMetrics(config, resource, exporters, telemetry, ledger, parts)


def _shown(resource: Resource, patterns: Sequence[str]) -> dict[str, str]:
    """What `/metrics` tells of a resource."""
    return {
        name: str(value)
        for name, value in resource.attributes.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
