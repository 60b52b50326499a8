"""What runs in a process: providers, endpoints and health, built from settings and ended together."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeAlias

from opentelemetry.sdk.trace import TracerProvider

from bext_otel._compat import offered
from bext_otel.access_policy import SlowLimits, quiet_requests
from bext_otel.alerts.logged import log_alert
from bext_otel.alerts.notifying import receivers_of
from bext_otel.alerts.rules import rules_of
from bext_otel.alerts.service import AlertService
from bext_otel.answering import on_answering
from bext_otel.app_baggage import Hosts, propagate_app
from bext_otel.apps import AppResolver, Resolver, clean, default_app, guarded, import_resolver
from bext_otel.catalogue import UNKNOWN
from bext_otel.config import Config
from bext_otel.config.watching import ChangedFile
from bext_otel.deploys import on_deploy
from bext_otel.endpoints.on_use import ServerOnUse, expose_on_use
from bext_otel.endpoints.port import take_word
from bext_otel.endpoints.server_start import ServerStart
from bext_otel.endpoints.token import Token
from bext_otel.errors import ConfigError
from bext_otel.export.delivery import Delivery
from bext_otel.export.entry_points import NOTHING_CHOSEN, Chosen
from bext_otel.export.instance_id import InstanceIds
from bext_otel.export.otlp import import_otlp
from bext_otel.export.resource import build_resource
from bext_otel.export.sender import sender
from bext_otel.export.shutdown import Hand, ShutdownBudget, Undelivered, end_all
from bext_otel.export.sigterm import end_on_termination
from bext_otel.fields import FieldSettings
from bext_otel.fields import use as use_fields
from bext_otel.health.builtin import disk
from bext_otel.health.builtin import telemetry as telemetry_check
from bext_otel.health.draining import Draining, hold_termination
from bext_otel.health.evaluation import Health
from bext_otel.health.loop_lag import LoopLag
from bext_otel.health.offered import GROUP, register_offered
from bext_otel.health.reaching import reaching
from bext_otel.health.subsystems import Subsystems
from bext_otel.health.telling import observe_checks
from bext_otel.logs.install import install
from bext_otel.logs.level_control import LevelControl
from bext_otel.logs.level_watch import LevelWatch
from bext_otel.logs.outputs import write_stderr
from bext_otel.logs.quiet import quieten_exports
from bext_otel.metrics.snapshot import Snapshot
from bext_otel.operation import Settings, use
from bext_otel.process import catch_up, on_fork
from bext_otel.reached import Kind, on_reaching
from bext_otel.redaction import use_policy
from bext_otel.routes import load_functions, router
from bext_otel.service.board import Board
from bext_otel.service.child_exit import at_end_of_children, at_end_of_workers
from bext_otel.service.joining import join_service
from bext_otel.service.process_tree import commands
from bext_otel.service.procfs import Proc
from bext_otel.serving import is_serving, watch
from bext_otel.signals import Signals
from bext_otel.trust import trusted_parents, trusted_proxies

if TYPE_CHECKING:
    from bext_otel.endpoints.endpoints import Endpoints
    from bext_otel.endpoints.server import StandaloneServer

__all__ = ["Runtime", "build_runtime"]

_log = logging.getLogger("bext_otel")

# What closing takes besides, at most: the stand-alone server ends its threads.
_CLOSING_SECONDS = 2.0
# Space on a disk changes slowly, and a file system of the network's is asked over the network.
_DISK_SECONDS = 10.0
# Each worker asks, and where nothing is pooled each asking is a connection.
_REACHED_SECONDS = 5.0
# How many times in a row the event loop has to be late.
_LATE_LOOPS = 3
# How often the metrics are looked at for what health shows of them.
_LOOK_SECONDS = 10.0
# How many lines about the file nobody else says while we run.
_MAX_WORDS = 8

Figures: TypeAlias = Mapping[str, "int | float | str"]


@dataclass
class Runtime:
    """A configured process. `make_endpoints` is called once, when somebody wants them, with `levels`, the log
    levels in force (None: logging is not ours); `service_key` is the same for all workers of a service, and
    known to nobody else where they share memory; `board` is what they share. `tracer_provider` is None where
    telemetry is disabled."""

    config: Config
    health: Health
    make_endpoints: Callable[..., Endpoints]
    service_key: str = ""
    board: Board | None = None
    serving: ServerStart | None = None
    levels: LevelWatch | None = None
    alerts: AlertService | None = None
    tracer_provider: TracerProvider | None = None
    _deliveries: list[Delivery] = field(default_factory=list)
    _flushings: list[Callable[[float], object]] = field(default_factory=list)
    _endings: list[Callable[[float], object]] = field(default_factory=list)
    _hands: tuple[Hand, ...] = ()
    _undoing: ExitStack = field(default_factory=ExitStack)
    _in_time: bool = True
    _level_control: LevelControl | None = None
    _read: Callable[[], Snapshot] | None = None

    def __post_init__(self) -> None:
        self._undoing.callback(self._end)
        self._patience = ShutdownBudget(self.config.telemetry.shutdown_timeout_seconds, self._deliveries)

    @cached_property
    def endpoints(self) -> Endpoints:
        """What is answered, by path."""
        return self.make_endpoints(levels=self.levels)

    def on_serving(self) -> None:
        """This process serves an application: the stand-alone server may open."""
        catch_up()
        if self.serving is not None:
            self.serving.on_serving()

    evidence = on_serving
    """As it was called before; for programs that call it."""

    def on_measuring(self) -> None:
        """This process has measured something: its stand-alone server has something to show."""
        if self.serving is not None:
            self.serving.on_measuring()
        if self.levels is not None:
            self.levels.start()

    def flush(self) -> bool:
        """Send and share what there is, as long as `shutdown` may take; whether all of it was in time. The
        process may go on, or end by a signal."""
        began = time.monotonic()
        in_time = end_all(self._flushings, self._patience.seconds(), *self._hands)
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
        # One that fails keeps nothing else from being flushed, and nobody is left to be told.
        with suppress(Exception):
            self._undoing.close()
        in_time, self._in_time = self._in_time, True
        return in_time

    def _end(self) -> None:
        endings, self._endings = self._endings, []
        undelivered = Undelivered(self._deliveries)
        self._in_time = end_all(endings, self._patience.seconds(), *self._hands)
        if endings and (line := undelivered.line()):
            write_stderr(line)  # logging has been left as it was found


def build_runtime(
    config: Config,
    *,
    app_resolver: Resolver | None = None,
    resource: Mapping[str, Any] | None = None,
    schema_url: str = "",
    chosen: Chosen = NOTHING_CHOSEN,
    file: ChangedFile | None = None,
) -> Runtime:
    """Build what the settings ask for, install it as the process's providers, and have it end at exit. `file`
    is where the settings are from: log levels change with it."""
    told, unredact = _redact(config)
    identity = InstanceIds(
        build_resource(
            service_name=config.telemetry.service_name,
            attributes={**_bext_attributes(config), **(resource or {})},
            schema_url=schema_url,
        )
    )
    made = identity.resource
    health = _health(config, str(made.attributes.get("service.version", "unknown")))
    runtime = (
        _disabled(config, health) if config.telemetry.disabled else _enabled(config, health, identity, chosen)
    )
    runtime._undoing.callback(unredact)
    told()
    if not config.telemetry.disabled:
        resolver = _resolver(config, app_resolver, str(made.attributes.get("service.name", "")))
        use(
            Settings(
                resolver=resolver,
                body_sizes=config.metrics.body_sizes,
                log_requests=config.logging.enabled and config.logging.requests,
                slow_request_ms=_slow_limits(config),
                quiet=quiet_requests(config.access.excluded_paths, config.access.sampling),
                units=config.telemetry.engine == "bext",
                flow_names=config.metrics.flow_names,
                route_of=router(config.apps, load_functions(failed=_log.warning), failed=_log.warning),
                trusts=trusted_parents(config.telemetry.trust_parent, config.apps),
                proxies=trusted_proxies(config.telemetry.trust_proxies),
                bodies=frozenset(name for name, app in config.apps.items() if app.log_bodies),
                sends_request_id=config.logging.send_request_id,
            )
        )
        use_fields(
            FieldSettings(
                config.logging.baggage,
                frozenset(config.logging.span_fields),
                frozenset(config.logging.task_fields),
            )
        )
        runtime._undoing.callback(propagate_app(Hosts(config.telemetry.propagate_app_to, config.apps)))
    service = str(made.attributes.get("service.name", ""))
    if (board := runtime.board) is None:  # whoever shares no metrics shares a port all the same
        board = runtime.board = join_service(service)
        runtime._undoing.callback(board.close)
    runtime.service_key = board.secret.hex() or _service_key(service)
    if runtime._level_control is not None:
        _watch_levels(runtime, runtime._level_control, board, file)
    if config.alerts.enabled and runtime._read is not None:
        _alert(config, runtime, runtime._read)
    if not config.metrics.mount and (config.health.enabled or config.telemetry.exporters.prometheus):
        runtime.serving = _serve(config, runtime)
    atexit.register(runtime.at_exit)
    if config.health.drain_seconds:
        draining = Draining(
            config.health.drain_seconds,
            health.drain,
            board,
            serves=lambda: config.telemetry.disabled or is_serving(),
        )
        runtime._undoing.callback(hold_termination(draining))
        health.drain_with(draining.is_over_soon)
    if not config.telemetry.disabled:
        deadline = config.telemetry.shutdown_timeout_seconds + _CLOSING_SECONDS
        runtime._undoing.callback(end_on_termination(runtime.shutdown, deadline_seconds=deadline))
    return runtime


def _redact(config: Config) -> tuple[Callable[[], None], Callable[[], None]]:
    """Have the policy of the settings hold from here on. What is wrong with it is told as soon as the first
    that is returned is called, since there are no lines before; the second undoes it."""
    waiting: list[str] = []
    say: Callable[[str], object] = waiting.append
    settings = config.redaction

    def tell(line: str) -> None:
        say(line)

    undo = use_policy(settings.names, settings.patterns, settings.allow, settings.callback, tell=tell)

    def begin() -> None:
        nonlocal say
        say = partial(_log.warning, "%s")
        for line in waiting:
            say(line)

    return begin, undo


def _slow_limits(config: Config) -> float | SlowLimits:
    apps = {clean(name): app.slow_request_ms for name, app in config.apps.items() if app.slow_request_ms >= 0}
    general, routes = float(config.logging.slow_request_ms), config.logging.slow_routes
    return SlowLimits(general, apps, routes) if apps or routes else general


def _bext_attributes(config: Config) -> dict[str, str]:
    attributes: dict[str, str] = {"bext.engine": config.telemetry.engine}
    if config.apps:
        attributes["bext.apps"] = ",".join(sorted(config.apps))
    return attributes


def _health(config: Config, version: str) -> Health:
    settings = config.health
    health = Health(
        timeout_seconds=settings.timeout_seconds,
        interval_seconds=settings.interval_seconds,
        version=version,
        checks=settings.checks,
        groups=settings.groups,
        apps={name: app.health for name, app in config.apps.items()},
        thresholds=settings.thresholds,
    )
    health.register(
        "disk",
        disk(settings.disk_path, settings.disk_min_free_mb, data_dir=settings.data_dir),
        interval_seconds=max(settings.interval_seconds, _DISK_SECONDS),
    )
    register_offered(offered(GROUP), health.register, failed=_log.warning)
    health.register_declared()
    for name, app in config.apps.items():
        health.register_app(name, app.status, app.version)
    return health


def _disabled(config: Config, health: Health) -> Runtime:
    return Runtime(config, health, partial(_endpoints, config, health, read=None))


def _endpoints(config: Config, health: Health, **reading: Any) -> Endpoints:
    from bext_otel.endpoints.endpoints import Endpoints

    return Endpoints(
        metrics=config.metrics,
        health_settings=config.health,
        health=health,
        settings=config.endpoints,
        token=_token(config),
        **reading,
    )


def _enabled(config: Config, health: Health, identity: InstanceIds, chosen: Chosen) -> Runtime:
    unwatch = watch(commands(Proc()))
    signals = Signals(config, identity, chosen)
    installed = install(config.logging, signals.logger_provider, apps=config.apps)
    signals.install(chosen)
    health.register(
        "telemetry",
        telemetry_check(lambda: {"status": signals.status(), **signals.figures(), **alert_figures()}),
        at_once=True,
    )

    def alert_figures() -> Mapping[str, int]:
        return {} if runtime.alerts is None else runtime.alerts.figures()

    read = signals.metrics.snapshot if config.metrics.enabled else None
    undoing = ExitStack()
    undoing.callback(quieten_exports())  # until nothing is exported any more
    runtime = Runtime(
        config,
        health,
        partial(
            _endpoints,
            config,
            health,
            read=read if config.telemetry.exporters.prometheus else None,
            unread="OTEL_METRICS_EXPORTER names other exporters, and not prometheus",
        ),
        board=signals.board,
        tracer_provider=signals.tracer_provider,
        _deliveries=signals.deliveries,
        _flushings=signals.flushings(),
        _endings=signals.endings(),
        _hands=(signals.metrics.do, sender.do),
        _level_control=installed.levels,
        _read=read,
        _undoing=undoing,
    )
    undoing.callback(observe_checks(health.current))
    undoing.callback(on_deploy(health.deployed))
    undoing.callback(_watch_loop(config, health))
    undoing.callback(on_reaching(_look_after_parts(config, health, read)))
    signals.start_with(measuring=runtime.on_measuring)

    def in_child() -> None:
        signals.reset()
        identity.in_child()

    if read is not None and config.metrics.in_prometheus_client and config.telemetry.engine == "bext":
        undoing.callback(expose_on_use(read))
    for undo in (
        at_end_of_workers(runtime.flush, before=partial(_import_for_workers, config)),
        on_fork(in_child=in_child),
        at_end_of_children(runtime.shutdown),
        unwatch,
        installed.remove,
    ):
        undoing.callback(undo)
    return runtime


def _watch_loop(config: Config, health: Health) -> Callable[[], None]:
    """Have the event loop asked that answers requests, if any does. It may be late now and then."""
    lag = LoopLag(0.8 * config.health.timeout_seconds)
    register = partial(health.register_found, "event_loop", critical=False, failures=_LATE_LOOPS)
    return on_answering(partial(lag.watch, register))


def _look_after_parts(
    config: Config, health: Health, read: Callable[[], Snapshot] | None
) -> Callable[[Kind], None]:
    """Have health ask for what the process has, as its metrics and what is returned, with what it reaches,
    tell."""
    parts = None
    if read is not None:
        limits = {name: app.health for name, app in config.apps.items()}
        parts = Subsystems(
            read, limits, stuck_seconds=config.health.stuck_seconds, interval_seconds=_LOOK_SECONDS
        )

    def ask(kind: Kind) -> None:
        facts = (lambda: parts.cache) if parts is not None and kind == "cache" else dict
        seconds = max(config.health.interval_seconds, _REACHED_SECONDS)
        health.register_found(kind, reaching(kind, facts), interval_seconds=seconds)

    def look() -> None:
        assert parts is not None
        parts.look()
        if parts.cache:
            ask("cache")
        for name in parts.checks:
            health.register_found(name, partial(parts.latest, name), critical=False, at_once=True)
        for app in set(parts.apps) - {UNKNOWN, *health.apps}:
            health.register_app(app)

    if parts is not None:
        health.watch(look, _LOOK_SECONDS, lambda app: parts.apps.get(app, {}))
    return ask


def _watch_levels(runtime: Runtime, control: LevelControl, board: Board, file: ChangedFile | None) -> None:
    """Have levels change while the process runs: it is a worker, from when it answers or measures."""
    words: deque[socket.socket] = deque(maxlen=_MAX_WORDS)

    def tell(line: str) -> None:
        # Workers read the same file: one of them says what is wrong with it.
        if (word := take_word(f"{runtime.service_key} levels {line}")) is not None:
            words.append(word)
            _log.warning("%s", line)

    levels = runtime.levels = LevelWatch(control, file=file, board=board, tell=tell)
    runtime._undoing.callback(levels.close)
    runtime._undoing.callback(on_answering(levels.start))


def _alert(config: Config, runtime: Runtime, read: Callable[[], Snapshot]) -> None:
    """Have one of the service's processes evaluate the rules, from when it answers."""
    rules = rules_of(config.alert_rules, shipped=config.alerts.shipped, tell=_log.warning)
    service = AlertService(
        rules,
        read,
        interval_seconds=config.alerts.interval_seconds,
        take_word=partial(take_word, f"{runtime.service_key} alerts"),
        notify=[log_alert],
        receivers=receivers_of(config.alerts.receivers, config.alerts.silences, tell=_log.warning),
    )
    runtime.alerts = service
    runtime._undoing.callback(service.close)
    runtime._undoing.callback(on_answering(service.start))


def _import_for_workers(config: Config) -> None:
    """Import once, in a server's master, what each of its workers would import for itself."""
    from bext_otel.endpoints import server  # noqa: F401

    import_otlp(config.telemetry.exporters, encoded=config.telemetry.engine == "bext")


def _token(config: Config) -> Token:
    token = Token(config.telemetry.token, config.telemetry.token_file, log=_log.warning)
    if config.endpoints.metrics == "token" and not token.is_set:
        _log.warning(
            '[endpoints] metrics = "token", and no token is set: nobody sees the metrics; set [telemetry] '
            "token or token_file"
        )
    return token


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
    """The same for all workers of a service, which share a process group. Anybody can compute it."""
    return f"{service_name}-{os.getpgid(0)}" if hasattr(os, "getpgid") else service_name


def _serve(config: Config, runtime: Runtime) -> ServerStart:
    def make() -> StandaloneServer:
        from bext_otel.endpoints.server import StandaloneServer

        return StandaloneServer(
            runtime.endpoints,
            config.metrics.host,
            config.metrics.port,
            board=runtime.board,
            log=_log.warning,
            settings=config.endpoints,
            announce=partial(_say_at_terminal, config),
        )

    serving = ServerStart(ServerOnUse(make))
    runtime._undoing.callback(serving.close)
    runtime._undoing.callback(on_answering(serving.on_request))
    return serving


def _say_at_terminal(config: Config, line: str) -> None:
    """For whoever starts a server by hand, and for nobody else: not into a file, a pipe or a script's own
    lines."""
    stream = sys.stderr
    if (
        is_serving()
        and config.logging.enabled
        and config.logging.output != "none"
        and stream is not None
        and stream.isatty()
    ):
        write_stderr(line)
