"""Putting logs together: the provider with its sinks, and the two libraries that feed it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain as joined
from typing import Protocol

from opentelemetry._logs import Logger as APILogger
from opentelemetry._logs import LoggerProvider as APILoggerProvider
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import Logger, LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.types import Attributes

from bext_otel._compat import become, configure_loggers, is_heard, keep_scope, logger_provider_options
from bext_otel.config import AccessSettings, AppSettings, LoggingSettings
from bext_otel.export.otlp import EncodedExporter
from bext_otel.logs import loguru_events, structured
from bext_otel.logs.access import AccessSink
from bext_otel.logs.chain import MAX_ATTRIBUTES, Chain
from bext_otel.logs.configurator import normalized
from bext_otel.logs.correlation import correlate
from bext_otel.logs.hooks import watch_hooks
from bext_otel.logs.level_control import OWN, LevelControl, SetLevels
from bext_otel.logs.levels import level_number
from bext_otel.logs.lines import access_sinks, line_sinks, prints
from bext_otel.logs.logger import BextLogger
from bext_otel.logs.logger_levels import LoggerLevels
from bext_otel.logs.outputs import write_stderr
from bext_otel.logs.pipeline import Pipeline
from bext_otel.logs.servers import follow_raw_lines, follow_raw_tracebacks
from bext_otel.logs.sinks import ExportSink, LineSink
from bext_otel.logs.stdlib import attach
from bext_otel.logs.structlog_fields import follow_structlog
from bext_otel.logs.terminal import Terminal
from bext_otel.logs.written import RecordLimits
from bext_otel.operation import app_of_request, is_request_left_out, is_request_logged
from bext_otel.process import on_import

__all__ = ["BextLoggerProvider", "Installed", "build_provider", "install"]

_RECENT_SECONDS = 60.0
_UPSTREAM = "opentelemetry"


class RecordCounter(Protocol):
    """Is told of each record that loggers emit."""

    def emit_log(self) -> None: ...


class _NoCounts:
    def emit_log(self) -> None: ...


class BextLoggerProvider(LoggerProvider):
    """The SDK's provider, which knows its sinks, and which of them export. `counts` is told of the records of
    the loggers that it makes from now on."""

    def __init__(
        self, resource: Resource, sinks: list[LineSink | ExportSink], *, shutdown_on_exit: bool
    ) -> None:
        limits = _limits()
        self.max_attributes: int | None = limits.max_log_record_attributes
        self._limits = limits.all_attributes()
        self._pipeline = Pipeline(sinks, limits, self.max_attributes)
        super().__init__(
            resource,
            shutdown_on_exit=shutdown_on_exit,
            multi_log_record_processor=self._pipeline,  # type: ignore[arg-type]  # it has what the SDK calls
            **logger_provider_options(limits),
        )
        self.sinks = sinks
        self.counts: RecordCounter = _NoCounts()
        self._chain: Chain | None = None
        self._failed, self._failed_at = 0, -math.inf

    @property
    def exports(self) -> list[ExportSink]:
        """The sinks that export."""
        return [sink for sink in self.sinks if isinstance(sink, ExportSink)]

    def add_sink(self, sink: LineSink | ExportSink) -> None:
        """Hand records to one more."""
        self.sinks = [*self.sinks, sink]
        self._pipeline.sinks = tuple(self.sinks)

    def has_outlets(self) -> bool:
        """Is there a sink, or a processor that was added?"""
        return bool(self.sinks) or self._pipeline.has_users

    def get_logger(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> APILogger:
        """See `opentelemetry._logs.LoggerProvider`."""
        logger = super().get_logger(name, version, schema_url, attributes)
        keep_scope(self, logger, lambda: InstrumentationScope(name, version, schema_url, attributes))
        become(
            logger,
            Logger,
            BextLogger,
            limits=self._limits,
            pipeline=self._pipeline,
            counts=self.counts,
        )
        return logger

    def configure_loggers(self, configurator: Callable[[InstrumentationScope], object]) -> None:
        """Have each logger, those that there are included, be as `configurator` says of its scope."""
        configure_loggers(self, normalized(configurator))

    def end_processors(self, seconds: float) -> None:
        """Shut down those that were added by whomever, within so many seconds. Once."""
        self._pipeline.end_users(seconds)

    def use(self, chain: Chain | None) -> None:
        """Hold back records below the chain's levels that are emitted past any logger; None: let all of them
        through."""
        self._chain = chain
        self._pipeline.gate = chain.gate if chain is not None else None

    def lost(self) -> Mapping[str, int]:
        """How many events could not be made into a whole record, lines not be written, records not be queued
        for export."""
        return {
            "log_events_failed": self._pipeline.failures
            + (self._chain.failures if self._chain is not None else 0),
            "log_lines_lost": sum(sink.losses.count for sink in self.sinks if isinstance(sink, LineSink)),
            "log_records_lost": sum(sink.losses.count for sink in self.sinks if isinstance(sink, ExportSink)),
        }

    def dropped(self) -> Iterator[tuple[int, dict[str, str]]]:
        """The same of lines and records, by sink and reason: values of the catalogue's row for it."""
        return joined.from_iterable(sink.losses.by_reason() for sink in self.sinks)

    def losing(self) -> bool:
        """Whether something was lost in the last minute, as far as those who ask from time to time can
        tell."""
        failed, now = self._chain.failures if self._chain is not None else 0, time.monotonic()
        if failed > self._failed:
            self._failed_at = now
        self._failed = failed
        return now - self._failed_at < _RECENT_SECONDS or any(
            sink.losses.lost_within(_RECENT_SECONDS) for sink in self.sinks
        )


def build_provider(
    config: LoggingSettings,
    resource: Resource,
    otlp_exporter: LogRecordExporter | EncodedExporter | None,
    *,
    shutdown_timeout_seconds: float = 3.0,
    shutdown_on_exit: bool = False,
    access: AccessSettings | None = None,
) -> BextLoggerProvider:
    """A logger provider with the sinks that are asked for: lines where `[logging] output` says, and the
    exporter if there is one.

    Its shutdown takes at most `shutdown_timeout_seconds`; whoever builds it calls that, or asks for it with
    `shutdown_on_exit`.
    """
    lines = line_sinks(config)
    sinks: list[LineSink | ExportSink] = [*lines]
    if config.enabled and config.requests and access is not None:
        sinks += access_sinks(config, access, lines)
    if otlp_exporter is not None:
        sinks.append(ExportSink(otlp_exporter, shutdown_seconds=shutdown_timeout_seconds))
    return BextLoggerProvider(resource, sinks, shutdown_on_exit=shutdown_on_exit)


def _limits() -> RecordLimits:
    try:
        return RecordLimits()
    except ValueError as exc:
        write_stderr(f"{exc}; the standard limits apply")
        return RecordLimits({})


class Installed:
    """What `install` did; `remove` undoes all of it. `levels` are those in force (None: logging is not
    ours)."""

    def __init__(self, undoing: ExitStack, chain: Chain | None, levels: LevelControl | None = None) -> None:
        self.levels = levels
        self._undoing = undoing
        self._chain = chain

    @property
    def failures(self) -> int:
        """Events that could not be made into a record."""
        return self._chain.failures if self._chain is not None else 0

    def remove(self) -> None:
        """Leave logging and structlog as they were found; a second call does nothing."""
        self._undoing.close()


_current: Installed | None = None


def install(
    config: LoggingSettings, provider: APILoggerProvider, *, apps: Mapping[str, AppSettings]
) -> Installed:
    """Let the standard library's logging and structlog enter the one chain that ends in the provider's sinks.

    Levels are the application's, unless they are set: `[logging] level` goes to the root logger if nobody has
    set one there (a level other than Python's default stays), each of `[logging.filters]` to the logger of
    that name, `[apps.NAME] log_level` applies to events while that app is at work, for which the root logger
    is opened as far as needed. A second `install` takes the place of the first, because two would tell
    everything twice. With `enabled = false`, or with no sink at all, nothing is touched but
    the levels of what OpenTelemetry and we say of ourselves.
    """
    global _current
    if _current is not None:
        _current.remove()
    ours = provider if isinstance(provider, BextLoggerProvider) else None
    # The SDK's loggers know whether any processor wants a record; lines may be wanted later only.
    is_wanted = ours.has_outlets() if ours is not None else is_heard(provider.get_logger("bext_otel.logs"))
    if not (config.enabled and is_wanted):
        # What OpenTelemetry and we say of ourselves has its level (`OTEL_LOG_LEVEL`) wherever it is printed.
        undoing = ExitStack()
        loggers = LoggerLevels()
        loggers.apply(
            {name: level_number(config.filters[name]) for name in (*OWN, _UPSTREAM) if name in config.filters}
        )
        undoing.callback(loggers.apply, {})
        _current = Installed(undoing, None)
        return _current
    levels = LevelControl(SetLevels.of(config, apps))
    gate = levels.gate
    chain = Chain(
        provider,
        gate,
        max_attributes=ours.max_attributes if ours is not None else MAX_ATTRIBUTES,
        tells_code=os.environ.get("OTEL_PYTHON_LOG_CODE_ATTRIBUTES", "").strip().lower() == "true",
    )
    undoing = ExitStack()
    if ours is not None:
        ours.use(chain)
        undoing.callback(ours.use, None)
    undoing.callback(levels.remove)
    terminal = _terminal(ours)
    mark, forget = correlate(
        os.environ, str(ours.resource.attributes.get("service.name", "")) if ours is not None else ""
    )
    undoing.callback(forget)

    def is_completed() -> bool:
        if is_request_left_out():  # it is told nowhere
            return True
        # By a record that is written: where a level keeps that one back, the server's own line is all there
        # is.
        return (
            config.requests
            and bool(is_request_logged())
            and gate.wants("bext.request", SeverityNumber.INFO, app_of_request())
        )

    is_ours = terminal.is_ours if terminal is not None else _never

    def is_ours_or_lost() -> bool:
        # Whoever read it has gone: to print there would fail the application's work.
        return terminal is not None and (terminal.is_ours() or terminal.lost_by() is not None)

    to_file = terminal is None and prints(config)
    attachment = attach(chain, terminal=terminal, to_file=to_file, is_completed=is_completed, mark=mark)
    undoing.callback(attachment.remove)
    undoing.callback(follow_raw_lines(lambda: is_ours() and is_completed()))
    undoing.callback(follow_raw_tracebacks(is_ours))
    undoing.callback(watch_hooks(chain, is_ours=is_ours))
    undoing.callback(
        _when_imported(
            "structlog",
            lambda: structured.watch(chain, is_ours=is_ours, takes_place=is_ours_or_lost, terminal=terminal),
        )
    )
    undoing.callback(follow_structlog())
    undoing.callback(
        _when_imported(
            "loguru",
            lambda: loguru_events.watch(chain, is_ours=is_ours, is_passing=attachment.is_passing),
        )
    )
    _current = Installed(undoing, chain, levels)
    return _current


def _never() -> bool:
    return False


def _terminal(provider: BextLoggerProvider | None) -> Terminal | None:
    """What lines go to; None if they go to a file, or nowhere."""
    sinks = provider.sinks if provider is not None else []
    lines = [sink for sink in sinks if isinstance(sink, LineSink) and not isinstance(sink, AccessSink)]
    return next((sink.terminal for sink in lines if sink.terminal), None)


def _when_imported(name: str, watch: Callable[[], Callable[[], None]]) -> Callable[[], None]:
    """Watch a library as soon as the program imports it, which may be never; importing it here would cost
    every program."""
    undoing = ExitStack()
    undoing.callback(on_import(name, lambda _: undoing.callback(watch())))
    return undoing.close
