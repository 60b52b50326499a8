"""The three signals of a process: built from settings, and how they fare, begin again and end together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from bext_otel import fields
from bext_otel._compat import already_installed, configure_meters, preferred_aggregation
from bext_otel.apps import cut_figures
from bext_otel.bounded import within
from bext_otel.config import Config
from bext_otel.export.delivery import Delivery, listen_to_exporters
from bext_otel.export.entry_points import Chosen
from bext_otel.export.instance_id import InstanceIds
from bext_otel.export.internal_metrics import SelfTelemetry
from bext_otel.export.metrics import build_metrics
from bext_otel.export.otlp import log_exporters
from bext_otel.export.shutdown import Ending
from bext_otel.export.traces import build_traces, build_upstream_traces
from bext_otel.logs.install import BextLoggerProvider, build_provider
from bext_otel.logs.sinks import ExportSink
from bext_otel.metrics.parts import MetricParts
from bext_otel.recording import wrong_calls
from bext_otel.service.board import Board
from bext_otel.service.joining import join_service
from bext_otel.traces.provider import BextTracerProvider

__all__ = ["Figures", "Signals"]

_log = logging.getLogger("bext_otel")

Figures: TypeAlias = Mapping[str, "int | float | str"]


class Signals:
    """Spans, metrics and log records of this process, each with its provider and its exporters.

    `deliveries` tell what became of what was exported.
    """

    def __init__(self, config: Config, identity: InstanceIds, chosen: Chosen) -> None:
        listen_to_exporters()
        resource, exporters = identity.resource, config.telemetry.exporters
        self._engine = config.telemetry.engine
        self._has_lost_endpoint = exporters.has_lost_endpoint
        self._own = SelfTelemetry()
        if self._engine == "upstream":
            traces = build_upstream_traces(exporters, resource, self._own.spans, chosen)
        else:
            traces = build_traces(exporters, resource, self._own.spans, chosen)
        self.tracer_provider, self._span_batches = traces.provider, traces.batches
        self._board = _join(config, resource)
        parts = chosen.given.metrics
        self.metrics = build_metrics(config, resource, self.figures, ledger=self._board, parts=parts)
        if chosen.meter_configurator is not None:
            configure_meters(self.metrics.provider, chosen.meter_configurator)
        self.logger_provider, log_deliveries = _build_logs(config, resource, chosen)
        self.logger_provider.counts = self._own.logs
        self._own.dropped_lines = self.logger_provider.dropped
        self._own.deliveries += [*traces.deliveries, *self.metrics.deliveries, *log_deliveries]
        self._own.observe(self.metrics.provider, units=self._engine == "bext")
        identity.keep(self.tracer_provider, self.metrics.provider, self.logger_provider)
        identity.tell(self.metrics.use_resource)

    @property
    def deliveries(self) -> list[Delivery]:
        """Of all three, the newest included."""
        return self._own.deliveries

    @property
    def board(self) -> Board | None:
        """What the processes of the service share; None with the SDK's own metrics."""
        return self._board

    def install(self, chosen: Chosen) -> None:
        """Make these the process's providers, but for those that the application has set by itself, or the
        operator by a variable."""
        if self._board is not None and self._board.alone:
            _log.warning(
                "this process can't share its metrics with other workers of the service (%s): /metrics shows "
                "its own part only",
                self._board.reason,
            )
        self._tell_of_parts(chosen.given.metrics)
        users = already_installed()
        if own := [signal for signal in users if signal not in chosen.providers]:
            _log.warning(
                "the application has set its own provider for %s; bext-otel leaves it alone, so those do not "
                "pass through bext-otel (call bext_otel.configure() first, or leave the provider to it)",
                ", ".join(own),
            )
        if "traces" not in users:
            trace.set_tracer_provider(self.tracer_provider)
        if "metrics" not in users:
            metrics.set_meter_provider(self.metrics.provider)
        if "logs" not in users:
            _logs.set_logger_provider(self.logger_provider)

    def _tell_of_parts(self, parts: MetricParts) -> None:
        if self._engine == "upstream" and (parts.producers or parts.metric_filter):
            _log.warning(
                "metric_producers and metric_filter are passed over: the SDK has none ([telemetry] engine = "
                '"upstream")'
            )
        for each in parts.exporters if self._engine == "bext" else ():
            if preferred_aggregation(each):
                _log.warning(
                    "exporters: the aggregation that %s prefers is passed over, since exporters share "
                    "streams; metric_readers=[PeriodicExportingMetricReader(...)] around it has its own",
                    type(each).__name__,
                )

    def start_with(self, *, measuring: Callable[[], object]) -> None:
        """Have `measuring` called at the first measurement."""
        self.metrics.on_first_measurement.append(measuring)
        for batches in self._span_batches:
            batches.on_start = self.metrics.wake

    def figures(self) -> Figures:
        """How telemetry itself fares: what each signal delivered and lost."""
        board, alone, folded = self._board, {}, self.metrics.folded()
        if board is not None and board.reason:
            alone = {"workers_alone" if board.alone else "workers_unshared": board.reason}
        return {
            "engine": self._engine,
            **self._own.figures(metric_points_dropped=self.metrics.dropped()),
            **self.logger_provider.lost(),
            **cut_figures(),
            **wrong_calls(),
            **fields.figures(),
            **({"metric_measurements_folded": folded} if folded else {}),
            **({"otlp_endpoint": "unusable"} if self._has_lost_endpoint else {}),
            **alone,
        }

    def status(self) -> str:
        """`healthy`, or `degraded` while something is lost or kept from the other workers."""
        apart = self._board is not None and self._board.reason
        losing = self._own.losing() or self.metrics.failing or self.logger_provider.losing()
        return "degraded" if apart or losing or self._has_lost_endpoint else "healthy"

    def reset(self) -> None:
        """Begin anew, as a forked child does."""
        for batches in self._span_batches:
            batches.reset()
        self._own.reset()
        self.metrics.reset()

    def flushings(self) -> list[Callable[[float], object]]:
        """What sends and shares what there is; each takes the seconds that it may take."""
        providers = (self.tracer_provider, self.metrics.provider, self.logger_provider)
        return [lambda _: self.metrics.share(), *(partial(_flush, provider) for provider in providers)]

    def endings(self) -> list[Callable[[float], object]]:
        """What sends the last of each signal and stops; each takes the seconds that it may take."""
        return [
            self.metrics.ending(),
            *(Ending(each.end, each.begin_end) for each in self._span_batches),
            *(Ending(sink.end, sink.begin_end) for sink in self.logger_provider.exports),
            self._end_processors,
        ]

    def _end_processors(self, seconds: float) -> None:
        """Shut down what was given or added by whomever, of spans and of records."""
        traces, logs = self.tracer_provider, self.logger_provider
        end = traces.end_processors if isinstance(traces, BextTracerProvider) else lambda _: traces.shutdown()
        within(seconds, [partial(end, seconds), partial(logs.end_processors, seconds)])


def _flush(provider: TracerProvider | MeterProvider | LoggerProvider, seconds: float) -> None:
    provider.force_flush(int(seconds * 1e3))


def _join(config: Config, resource: Resource) -> Board | None:
    """Where the workers of this service publish; None for the SDK's own metrics, which know their process
    only."""
    if config.telemetry.engine == "upstream":
        return None
    return join_service(str(resource.attributes.get("service.name", "")))


def _build_logs(
    config: Config, resource: Resource, chosen: Chosen
) -> tuple[BextLoggerProvider, list[Delivery]]:
    seconds = config.telemetry.shutdown_timeout_seconds
    outlets = log_exporters(config.telemetry.exporters, given=chosen.given.log_exporters)
    provider = build_provider(
        config.logging,
        resource,
        outlets[0][0] if outlets else None,
        shutdown_timeout_seconds=seconds,
        access=config.access,
    )
    for exporter, _ in outlets[1:]:
        provider.add_sink(ExportSink(exporter, shutdown_seconds=seconds))
    for processor in chosen.given.log_record_processors:
        provider.add_log_record_processor(processor)
    if chosen.logger_configurator is not None:
        provider.configure_loggers(chosen.logger_configurator)
    return provider, [delivery for _, delivery in outlets]
