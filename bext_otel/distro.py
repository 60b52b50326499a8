"""The composition root's two doors: `opentelemetry-instrument` comes in by entry points, code by
`configure()`."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.dependencies import DependencyConflictError
from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]  # upstream turned checking off there
from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_DISABLED_INSTRUMENTATIONS

from bext_otel import api_environment
from bext_otel.distribution import INSTRUMENTORS
from bext_otel.helpers import is_helper

if not is_helper(sys.orig_argv):  # which sets nothing up
    from bext_otel.apps import import_resolver
    from bext_otel.awaited import awaited_module, when_used
    from bext_otel.config import load
    from bext_otel.config.config_file import config_file, put_aside, put_back
    from bext_otel.config.upstream import correct_upstream_variables
    from bext_otel.config.watching import ChangedFile
    from bext_otel.endpoints.port import take_word
    from bext_otel.process import collector_paused

if TYPE_CHECKING:
    from bext_otel.apps import Resolver
    from bext_otel.export import given as parts
    from bext_otel.export.declared import Declared
    from bext_otel.runtime import Runtime

__all__ = ["BextConfigurator", "BextDistro", "configure", "running"]

_log = logging.getLogger("bext_otel")
_launcher_log = logging.getLogger("opentelemetry.instrumentation.auto_instrumentation")

# What upstream instruments and we do ourselves. Both at once would count every request twice and export every
# event twice.
_REPLACED = frozenset(
    {
        "aiohttp-server",
        "asgi",
        "celery",
        "django",
        "falcon",
        "fastapi",
        "flask",
        "logging",
        "pyramid",
        "starlette",
        "structlog",
        "threading",
        "wsgi",
    }
)

# Which conventions upstream's instrumentors follow.
_CONVENTIONS = "OTEL_SEMCONV_STABILITY_OPT_IN"

# How the names of our own instrumentors begin; the rest is upstream's name of the library. One of ours stands
# for two of upstream's.
_OURS = "bext_"
_LIBRARIES: Mapping[str, frozenset[str]] = {
    "bext_starlette": frozenset({"starlette", "fastapi"}),
    "bext_aiohttp_server": frozenset({"aiohttp-server"}),
    "bext_tornado_server": frozenset({"tornado"}),
}

_runtime: Runtime | None = None
_words: list[socket.socket] = []


def running() -> Runtime | None:
    """What runs in this process; None if nobody has set telemetry up."""
    return _runtime


def configure(
    *,
    app_resolver: Resolver | None = None,
    resource: Mapping[str, str] | None = None,
    instrument: bool = True,
    views: Iterable[parts.Views] = (),
    metric_readers: Iterable[parts.Reads] = (),
    metric_producers: Iterable[parts.Produces] = (),
    metric_filter: parts.Filters | None = None,
    span_processors: Iterable[parts.OfSpans] = (),
    log_record_processors: Iterable[parts.OfRecords] = (),
    sampler: parts.Samples | None = None,
    id_generator: parts.MakesIds | None = None,
    exporters: Iterable[parts.Exports] = (),
    tracer_configurator: parts.Configurator | None = None,
    meter_configurator: parts.Configurator | None = None,
    logger_configurator: parts.Configurator | None = None,
    **settings: Mapping[str, Any],
) -> Runtime:
    """Set telemetry up, once for the process: `configure(metrics={"mount": True}, telemetry={"service_name":
    "shop"})`.

    `settings` are sections of `bext.config.toml`, and come before the environment and the file.
    `app_resolver` maps a request's host and path to its app, `resource` adds resource attributes. The
    libraries that bext-otel instruments itself are instrumented, as under `bext-otel run`, whether
    an application was made before or comes after; `instrument=False` leaves that to you. `views` and
    `metric_readers` are those of OpenTelemetry's SDK, for all metrics, ours too. `metric_producers`
    bring metrics that other libraries have counted, and `metric_filter` leaves some out, of what is exported
    (see `bext_otel.metrics.producers`, whose `producing` gives a reader its own); `/metrics` shows what
    `prometheus_client`'s collectors bring.

    Parts of the SDK's interfaces work as they are. `span_processors` and `log_record_processors` are called
    in their order, before anything is exported; each may change what is. `sampler` and `id_generator` come
    before `OTEL_TRACES_SAMPLER` and `OTEL_PYTHON_ID_GENERATOR`. `exporters` (of spans, metrics or log
    records) get theirs in batches, beside what variables name. `tracer_configurator`, `meter_configurator`
    and `logger_configurator` say for an instrumentation scope whether its spans, measurements and records
    count (see `bext_otel.logs.configurator`). What these raise is one line and counted, and one that hangs
    keeps nothing from ending.

    Raises ConfigError for a wrong setting given here; what is wrong elsewhere falls back to its default, with
    a line in the log. A second call changes nothing and returns what runs.
    """
    global _runtime
    handed: dict[str, Any] = {
        "views": views,
        "metric_readers": metric_readers,
        "metric_producers": metric_producers,
        "metric_filter": metric_filter,
        "span_processors": span_processors,
        "log_record_processors": log_record_processors,
        "sampler": sampler,
        "id_generator": id_generator,
        "exporters": exporters,
        "tracer_configurator": tracer_configurator,
        "meter_configurator": meter_configurator,
        "logger_configurator": logger_configurator,
    }
    if _runtime is not None:
        if settings or app_resolver or resource or any(handed.values()):
            _log.warning(
                "telemetry is configured already, by opentelemetry-instrument or by code; these settings "
                "are ignored"
            )
        return _runtime
    declared = _declared()
    again = partial(
        load,
        settings,
        environ=dict(os.environ),
        cwd=_working_directory(),
        declared=None if declared is None else declared.settings,
    )
    loaded = again()
    if reference := settings.get("telemetry", {}).get("app_resolver"):
        app_resolver = app_resolver or import_resolver(reference)
    # Before anybody's instrumentor asks, an application's own calls of one included.
    os.environ.setdefault(_CONVENTIONS, "http,database")
    api_environment.correct()  # again: the application may have set some of them since
    corrected = (*api_environment.told(), *correct_upstream_variables(os.environ))
    # Only now: upstream's SDK reads variables when it is imported.
    from bext_otel._compat import detect_resources_anywhere, missing

    detect_resources_anywhere()
    from bext_otel.export.entry_points import choose
    from bext_otel.export.given import given
    from bext_otel.runtime import build_runtime

    schema_url = ""
    if declared is not None:
        handed = declared.completing(handed)
        resource, schema_url = {**declared.resource, **(resource or {})}, declared.schema_url
        corrected = (*declared.lines, *corrected)
    chosen = choose(os.environ, given(**handed))
    file = ChangedFile(loaded, again) if loaded.path else None
    _runtime = build_runtime(
        loaded.config,
        app_resolver=app_resolver,
        resource=resource,
        schema_url=schema_url,
        chosen=chosen,
        file=file,
    )
    # Told when logging stands, so that each is one line like any other.
    lacking = missing(partial(_warn_once, _runtime))
    lines = (*loaded.warnings, *corrected, *chosen.lines, *_without_metadata(), lacking)
    for line in filter(None, lines):
        _warn_once(_runtime, line)
    if instrument:
        _instrument()
    return _runtime


def _declared() -> Declared | None:
    """What `OTEL_CONFIG_FILE` says, with its propagators in their place; None where it names nothing."""
    put_back(os.environ)
    if not (path := config_file(os.environ)):
        return None
    with put_aside(os.environ):
        from bext_otel.export.declared import declare

    declared = declare(path, os.environ)
    if declared.propagator is not None:
        from opentelemetry.propagate import set_global_textmap

        set_global_textmap(declared.propagator)
    return declared


def _working_directory() -> Path | None:
    """Where the file is looked for, also when the application has gone elsewhere; None: it is gone."""
    try:
        return Path.cwd()
    except OSError:
        return None


def _warn_once(runs: Runtime, line: str) -> None:
    """Workers read the same settings and find the same libraries: one of them says so. What it says, it has
    said until it ends."""
    if (word := take_word(f"{runs.service_key} {line}")) is not None:
        _words.append(word)
        _log.warning("%s", line)


def _instrument() -> None:
    """Activate our instrumentors, of which each does it once, whoever else asks it to."""
    distro = BextDistro()
    for name, value in INSTRUMENTORS.items():
        try:
            distro.load_instrumentor(EntryPoint(name, value, "opentelemetry_instrumentor"))
        except ImportError as error:  # its library is not there
            _log.debug("instrumentation %s is left out: %s", name, error)


def _without_metadata() -> list[str]:
    """A line where this program was copied, zipped or frozen without what the installer has written beside
    it."""
    try:
        distribution("bext-otel")
    except PackageNotFoundError:
        return [
            (
                "its metadata are not here (copied or frozen without its dist-info): what packages offer by "
                "entry points, as instrumentations of outgoing calls do, is found only where theirs are"
            )
        ]
    return []


class BextDistro(BaseDistro):  # type: ignore[misc]  # as above
    """`opentelemetry-instrument`'s distribution: asks for our configurator, and hands our instrumentors what
    to mount."""

    _level: int | None = None
    _mounts: Mapping[str, object] | None = None

    def _configure(self, **kwargs: Any) -> None:
        if os.environ.setdefault("OTEL_PYTHON_CONFIGURATOR", "bext") == "bext":
            # It would warn, in each process, that the configurator of a distribution beside ours is not
            # loaded, which is as it should be.
            self._level = _launcher_log.level
            _launcher_log.setLevel(logging.ERROR)
        # So that upstream's instrumentors of outgoing calls and databases speak as our own spans do, by the
        # stable conventions; read when they load.
        os.environ.setdefault(_CONVENTIONS, "http,database")

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Activate one instrumentor: when the library that it waits for is imported, or now if it is or if
        nobody has said which that is. One that fails is left out, with a line, and keeps nobody else from
        being activated."""
        if self._level is not None:
            _launcher_log.setLevel(self._level)
            self._level = None
        runs = running()
        if (
            runs is None
        ):  # a helper of multiprocessing, or what could not be set up: the application goes without
            return
        ours = entry_point.name.startswith(_OURS)
        if runs.config.telemetry.disabled and not ours:
            return  # ours know when the application serves, and where: health still answers
        libraries = _LIBRARIES.get(entry_point.name, frozenset({entry_point.name.removeprefix(_OURS)}))
        disabled = _disabled(entry_point.name, libraries)
        if disabled == libraries:
            _log.debug(
                "instrumentation %s is left out: %s says so",
                entry_point.name,
                OTEL_PYTHON_DISABLED_INSTRUMENTATIONS,
            )
            return
        if entry_point.name in _REPLACED:
            _log.debug("instrumentation %s is left out: bext-otel does it itself", entry_point.name)
            return
        activate = partial(self._activate, runs, entry_point, ours=ours, disabled=disabled, **kwargs)
        if (library := awaited_module(entry_point.name)) is None:
            activate()
        else:
            when_used(library, entry_point, activate)

    def _activate(
        self,
        runs: Runtime,
        entry_point: EntryPoint,
        *,
        ours: bool,
        disabled: frozenset[str],
        skip_dep_check: bool = False,
        **kwargs: Any,
    ) -> None:
        """Raises what the loader skips, with a line. Upstream checked the requirements of the whole
        distribution (`skip_dep_check`); each instrumentor has its own."""
        if ours:
            kwargs.update(self._given_to_ours(runs), disabled=disabled)
        try:
            try:
                super().load_instrumentor(entry_point, raise_exception_on_conflict=True, **kwargs)
            except DependencyConflictError as error:
                if not _is_there_without_metadata(entry_point.name, error):
                    raise
                super().load_instrumentor(entry_point, skip_dep_check=True, **kwargs)
        except DependencyConflictError as error:
            if not ours:
                # the loader skips it, with a line: an error where the library is there in another version
                raise
            line = _conflict(entry_point.name, error)
            if error.conflict.found or error.conflict.found_any:
                _warn_once(runs, line)
            else:  # ours come all together, whichever libraries are there
                _log.debug("%s", line)
        except ImportError:
            raise  # the loader skips it, with a line
        except Exception as error:  # the loader would give up all instrumentors that come after this one
            _log.warning(
                "instrumentation %s is left out: %s: %s", entry_point.name, type(error).__name__, error
            )

    def _given_to_ours(self, runs: Runtime) -> dict[str, Any]:
        """What our own instrumentors are handed; each takes what it knows."""
        given: dict[str, Any] = {
            "on_serving": runs.on_serving,
            "on_ending": runs.flush,
            "upstream": runs.config.telemetry.engine == "upstream",
            "layers": runs.config.cache.layers,
            "redis_seconds": runs.config.cache.redis_seconds,
            "pools": runs.config.isolates.pools,
        }
        if runs.config.metrics.mount:
            from bext_otel.endpoints.asgi import ASGIEndpoints
            from bext_otel.endpoints.wsgi import WSGIEndpoints

            # One for all instrumentors: it has threads.
            self._mounts = self._mounts or {
                "asgi": ASGIEndpoints(runs.endpoints),
                "wsgi": WSGIEndpoints(runs.endpoints),
            }
            given |= self._mounts
        return given


def _is_there_without_metadata(instrumentor: str, error: DependencyConflictError) -> bool:
    """Whether a library that is imported counts as not installed: nobody knows its version, as in a program
    that was frozen, and it is taken for one that fits."""
    conflict = error.conflict
    found = conflict.found or conflict.found_any
    return not found and awaited_module(instrumentor) in sys.modules


def _conflict(name: str, error: DependencyConflictError) -> str:
    conflict = error.conflict
    needed = conflict.required or " or ".join(map(str, conflict.required_any or ()))
    found = conflict.found or " and ".join(conflict.found_any or ())
    return (
        f"instrumentation {name} is left out: it is for {needed}, and {found or 'that library'} is "
        f"{'' if found else 'not '}installed"
    )


def _disabled(name: str, libraries: frozenset[str]) -> frozenset[str]:
    """Which of an instrumentor's libraries are turned off, by upstream's name or by ours."""
    words = {word.strip() for word in os.environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, "").split(",")}
    return libraries if "*" in words or name in words else libraries & words


def _waits(distribution: Any) -> bool:
    """Whether each instrumentor of this distribution is ours or waits for its library, if it is activated at
    all: then the library's version is looked at by itself, when it is imported."""
    try:
        return all(
            entry_point.name.startswith(_OURS)
            or entry_point.name in _REPLACED
            or awaited_module(entry_point.name) is not None
            for entry_point in distribution.entry_points
            if entry_point.group == "opentelemetry_instrumentor"
        )
    except Exception:  # metadata that cannot be read: as upstream has it
        return False


class BextConfigurator:
    """`opentelemetry-instrument`'s configurator. Never raises: an application starts, whatever its telemetry
    makes of it."""

    def configure(self, **kwargs: Any) -> None:
        """Set telemetry up from the environment and the file."""
        if is_helper(sys.orig_argv):
            os.environ[OTEL_PYTHON_DISABLED_INSTRUMENTATIONS] = "*"  # the launcher need not look for any
            return
        try:
            with collector_paused():
                configure(instrument=False)  # the launcher does that next, with everybody's instrumentors
                from bext_otel._compat import check_requirements_once  # it knows the SDK

                check_requirements_once(_waits)
        except Exception:  # the application starts without telemetry, and says why
            _log.exception("telemetry could not be set up; the application runs without it")
