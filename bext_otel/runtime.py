"""What runs in a process: providers, endpoints and health, built from settings and ended together."""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from bext_otel._compat import already_installed, count_logs
from bext_otel.app_baggage import Hosts, propagate_app
from bext_otel.apps import AppResolver, Resolver, cut_figures, default_app, guarded, import_resolver
from bext_otel.config import Config
from bext_otel.endpoints.endpoints import Endpoints
from bext_otel.endpoints.prometheus_registry import expose
from bext_otel.endpoints.server import StandaloneServer
from bext_otel.endpoints.server_start import ServerStart
from bext_otel.errors import ConfigError
from bext_otel.export.delivery import Delivery, listen_to_exporters
from bext_otel.export.entry_points import NOTHING_CHOSEN, Chosen
from bext_otel.export.instance_id import InstanceIds
from bext_otel.export.internal_metrics import SelfTelemetry
from bext_otel.export.metrics import MetricsSignal, build_metrics
from bext_otel.export.otlp import log_exporters
from bext_otel.export.resource import build_resource
from bext_otel.export.shutdown import Ending, Parked, ShutdownBudget, Undelivered, end_all
from bext_otel.export.sigterm import end_on_termination
from bext_otel.export.traces import build_traces
from bext_otel.health.builtin import disk
from bext_otel.health.builtin import telemetry as telemetry_check
from bext_otel.health.evaluation import Health
from bext_otel.logs.install import BextLoggerProvider, build_provider, install
from bext_otel.logs.outputs import write_stderr
from bext_otel.logs.quiet import quieten_exports
from bext_otel.logs.sinks import ExportSink
from bext_otel.operation import Settings, use
from bext_otel.process import catch_up, on_fork
from bext_otel.service.board import Board
from bext_otel.service.child_exit import at_end_of_children, at_end_of_workers
from bext_otel.service.joining import join_service

__all__ = ["Runtime", "build_runtime"]

_log = logging.getLogger("bext_otel")

# What closing takes besides, at most: the stand-alone server ends its threads.
_CLOSING_SECONDS = 2.0

Figures: TypeAlias = Mapping[str, "int | float | str"]


@dataclass
class Runtime:
    """A configured process. `service_key` is the same for all workers of a service, `tracer_provider` None
    where telemetry is disabled."""

    config: Config
    health: Health
    endpoints: Endpoints
    service_key: str = ""
    serving: ServerStart | None = None
    tracer_provider: TracerProvider | None = None
    _deliveries: list[Delivery] = field(default_factory=list)
    _flushings: list[Callable[[float], object]] = field(default_factory=list)
    _endings: list[Callable[[float], object]] = field(default_factory=list)
    _undoing: ExitStack = field(default_factory=ExitStack)
    _in_time: bool = True

    def __post_init__(self) -> None:
        self.parked = Parked()
        self._undoing.callback(self._end)
        self._patience = ShutdownBudget(self.config.telemetry.shutdown_timeout_seconds, self._deliveries)

    def on_serving(self) -> None:
        """This process serves an application: the stand-alone server may open."""
        catch_up()
        if self.serving is not None:
            self.serving.on_serving()

    def works(self) -> None:
        """This process has measured something: its stand-alone server has something to show."""
        if self.serving is not None:
            self.serving.works()

    def flush(self) -> bool:
        """Send and share what there is, as long as `shutdown` may take; whether all of it was in time. The
        process may go on, or end by a signal."""
        began = time.monotonic()
        in_time = end_all(self._flushings, self._patience.seconds(), self.parked)
        if not in_time or any(delivery.failing for delivery in self._deliveries):
            self._patience.spend(time.monotonic() - began)
        return in_time

    def at_exit(self) -> None:
        """`shutdown` at the exit of the interpreter, where nobody is left to catch a second Ctrl-C: that one
        ends the waiting."""
        with suppress(KeyboardInterrupt, SystemExit):
            self.shutdown()

    def shutdown(self) -> bool:
        """Flush every signal and stop, within `[telemetry] shutdown_timeout_seconds`; whether all of it was
        in time. Once.

        What could not be delivered is one line on standard error.
        """
        atexit.unregister(self.at_exit)
        with suppress(
            Exception
        ):  # one that fails keeps nothing else from being flushed, and nobody is left to be told
            self._undoing.close()
        in_time, self._in_time = self._in_time, True
        return in_time

    def _end(self) -> None:
        endings, self._endings = self._endings, []
        undelivered = Undelivered(self._deliveries)
        self._in_time = end_all(endings, self._patience.seconds(), self.parked)
        if endings and (line := undelivered.line()):
            write_stderr(line)  # logging has been left as it was found


def build_runtime(
    config: Config,
    *,
    app_resolver: Resolver | None = None,
    resource: Mapping[str, str] | None = None,
    chosen: Chosen = NOTHING_CHOSEN,
) -> Runtime:
    """Build what the settings ask for, install it as the process's providers, and have it end at exit."""
    identity = InstanceIds(
        build_resource(
            service_name=config.telemetry.service_name,
            attributes={**_bext_attributes(config), **(resource or {})},
        )
    )
    made = identity.resource
    health = _health(config, str(made.attributes.get("service.version", "unknown")))
    runtime = (
        _disabled(config, health) if config.telemetry.disabled else _enabled(config, health, identity, chosen)
    )
    if not config.telemetry.disabled:
        resolver = _resolver(config, app_resolver, str(made.attributes.get("service.name", "")))
        use(
            Settings(
                resolver=resolver,
                log_requests=config.logging.enabled and config.logging.requests,
                slow_request_ms=config.logging.slow_request_ms,
                units=config.telemetry.engine == "bext",
            )
        )
        runtime._undoing.callback(propagate_app(Hosts(config.telemetry.propagate_app_to, config.apps)))
    runtime.service_key = _service_key(str(made.attributes.get("service.name", "")))
    if not config.metrics.mount and (config.health.enabled or config.telemetry.exporters.prometheus):
        runtime.serving = _serve(config, runtime)
    atexit.register(runtime.at_exit)
    if not config.telemetry.disabled:
        deadline = config.telemetry.shutdown_timeout_seconds + _CLOSING_SECONDS
        runtime._undoing.callback(end_on_termination(runtime.shutdown, deadline_seconds=deadline))
    return runtime


def _bext_attributes(config: Config) -> dict[str, str]:
    attributes: dict[str, str] = {"bext.engine": config.telemetry.engine}
    if config.apps:
        attributes["bext.apps"] = ",".join(sorted(config.apps))
    return attributes


def _health(config: Config, version: str) -> Health:
    settings = config.health
    health = Health(
        timeout_seconds=settings.timeout_seconds, cache_seconds=settings.cache_seconds, version=version
    )
    health.register("disk", disk(settings.disk_path, settings.disk_min_free_mb))
    for name, app in config.apps.items():
        health.register_app(name, app.status, app.version)
    return health


def _disabled(config: Config, health: Health) -> Runtime:
    endpoints = Endpoints(
        metrics=config.metrics,
        health_settings=config.health,
        read=None,
        health=health,
        token=config.telemetry.token,
    )
    return Runtime(config, health, endpoints)


def _enabled(config: Config, health: Health, identity: InstanceIds, chosen: Chosen) -> Runtime:
    listen_to_exporters()
    resource = identity.resource
    exporters = config.telemetry.exporters
    own = SelfTelemetry()

    def figures() -> Figures:
        """How telemetry itself fares: what each signal delivered and lost."""
        alone = (
            {"workers_alone" if ledger.alone else "workers_unshared": ledger.reason}
            if ledger is not None and ledger.reason
            else {}
        )
        return {
            "engine": config.telemetry.engine,
            **own.figures(metric_points_dropped=signal.dropped()),
            **logger_provider.lost(),
            **cut_figures(),
            **alone,
        }

    tracer_provider, span_processors, span_deliveries = build_traces(exporters, resource, own.spans, chosen)
    ledger = _join(config, resource)
    signal = build_metrics(config, resource, figures, ledger=ledger)
    logger_provider, log_deliveries = _logs_signal(config, resource)
    count_logs(logger_provider, own.logs)
    own.deliveries += [*span_deliveries, *signal.deliveries, *log_deliveries]
    own.observe(signal.provider, units=config.telemetry.engine == "bext")
    identity.keep(tracer_provider, signal.provider, logger_provider)
    identity.tell(signal.use_resource)
    installed = install(config.logging, logger_provider, apps=config.apps)
    if ledger is not None and ledger.alone:
        _log.warning(
            "this process can't share its metrics with other workers of the service (%s): /metrics shows "
            "its own part only",
            ledger.reason,
        )
    _install(tracer_provider, signal.provider, logger_provider, chosen)
    health.register(
        "telemetry",
        telemetry_check(lambda: {"status": _status(own, ledger, signal, logger_provider), **figures()}),
    )

    read = signal.snapshot if config.metrics.enabled else None
    undoing = ExitStack()
    undoing.callback(quieten_exports())  # until nothing is exported any more
    runtime = Runtime(
        config,
        health,
        Endpoints(
            metrics=config.metrics,
            health_settings=config.health,
            read=read if exporters.prometheus else None,
            health=health,
            token=config.telemetry.token,
            unread="OTEL_METRICS_EXPORTER names other exporters, and not prometheus",
        ),
        tracer_provider=tracer_provider,
        _deliveries=own.deliveries,
        _undoing=undoing,
    )
    signal.on_first_measurement.extend([runtime.works, runtime.parked.start])
    for processor in span_processors:
        processor.batches.on_start = signal.wake
    for sink in logger_provider.exports:
        sink.on_start = runtime.parked.start

    def in_child() -> None:
        runtime.parked.reset()
        for processor in span_processors:
            processor.batches.reset()
        own.reset()
        identity.in_child()
        signal.reset()

    if read is not None and config.telemetry.engine == "bext":
        undoing.callback(expose(read))
    for undo in (
        at_end_of_workers(runtime.flush),
        on_fork(in_child=in_child),
        at_end_of_children(runtime.shutdown),
        installed.remove,
    ):
        undoing.callback(undo)
    runtime._flushings += [
        lambda _: signal.share(),
        *(partial(_flush, provider) for provider in (tracer_provider, signal.provider, logger_provider)),
    ]
    runtime._endings += [
        signal.ending(),
        *(Ending(processor.batches.end, processor.batches.begin_end) for processor in span_processors),
    ]
    runtime._endings += [Ending(sink.end, sink.begin_end) for sink in logger_provider.exports]
    runtime._endings.append(lambda _: logger_provider.shutdown())
    return runtime


def _flush(provider: TracerProvider | MeterProvider | LoggerProvider, seconds: float) -> None:
    provider.force_flush(int(seconds * 1e3))


def _logs_signal(config: Config, resource: Resource) -> tuple[BextLoggerProvider, list[Delivery]]:
    patience = config.telemetry.shutdown_timeout_seconds
    outlets = log_exporters(config.telemetry.exporters)
    provider = build_provider(
        config.logging, resource, outlets[0][0] if outlets else None, shutdown_timeout_seconds=patience
    )
    for exporter, _ in outlets[1:]:
        provider.add_log_record_processor(sink := ExportSink(exporter, shutdown_seconds=patience))
        provider.exports.append(sink)
    return provider, [delivery for _, delivery in outlets]


def _status(
    own: SelfTelemetry, ledger: Board | None, metrics_signal: MetricsSignal, logs: BextLoggerProvider
) -> str:
    apart = ledger is not None and ledger.reason
    return "degraded" if apart or own.losing() or metrics_signal.failing or logs.losing() else "healthy"


def _join(config: Config, resource: Resource) -> Board | None:
    """Where the workers of this service publish; None for the SDK's own metrics, which know their process
    only."""
    if config.telemetry.engine == "upstream":
        return None
    return join_service(str(resource.attributes.get("service.name", "")))


def _install(
    tracer_provider: TracerProvider,
    meter_provider: MeterProvider,
    logger_provider: LoggerProvider,
    chosen: Chosen,
) -> None:
    """Make these the process's providers, but for those that the application has set by itself, or the
    operator by a variable."""
    users = already_installed()
    if own := [signal for signal in users if signal not in chosen.providers]:
        _log.warning(
            "the application has set its own provider for %s; bext-otel leaves it alone, so those do not "
            "pass through bext-otel "
            "(call bext_otel.configure() first, or leave the provider to it)",
            ", ".join(own),
        )
    if "traces" not in users:
        trace.set_tracer_provider(tracer_provider)
    if "metrics" not in users:
        metrics.set_meter_provider(meter_provider)
    if "logs" not in users:
        _logs.set_logger_provider(logger_provider)


def _resolver(config: Config, given: Resolver | None, service_name: str) -> Resolver:
    default = default_app(config.apps, "" if service_name.startswith("unknown_service") else service_name)
    if given is not None:
        return guarded(given, failed=_log.warning)
    if config.telemetry.app_resolver:
        try:
            return guarded(import_resolver(config.telemetry.app_resolver), failed=_log.warning)
        except ConfigError as error:
            _log.warning("%s; requests are told apart by [apps] instead", error)
    return AppResolver(config.apps, default=default)


def _service_key(service_name: str) -> str:
    """The same for all workers of a service, which share a process group, and for nobody else."""
    return f"{service_name}-{os.getpgid(0)}" if hasattr(os, "getpgid") else service_name


def _serve(config: Config, runtime: Runtime) -> ServerStart:
    server = StandaloneServer(
        runtime.endpoints,
        config.metrics.host,
        config.metrics.port,
        service_key=runtime.service_key,
        log=_log.warning,
    )
    serving = ServerStart(server)
    runtime._undoing.callback(serving.close)
    return serving
