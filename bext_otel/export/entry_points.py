"""Parts that a variable names and another package offers (entry points): providers, a sampler, an id
generator, configurators, exporters; and those that a program gives, which come before them.

What cannot be had is one line, and the default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import msgspec
from opentelemetry import _logs, metrics, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagate import get_global_textmap, set_global_textmap
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bext_otel._compat import already_installed, parts_of_propagator
from bext_otel.api_environment import found
from bext_otel.config import Signal
from bext_otel.config.exporters import EXPORTERS
from bext_otel.config.upstream import (
    ID_GENERATOR,
    ID_GENERATORS,
    OWN_SAMPLERS,
    SAMPLER,
    SAMPLERS,
    SDK_SAMPLERS,
)
from bext_otel.export.given import NOTHING_GIVEN, Configurator, Given
from bext_otel.propagators import StandIn

__all__ = ["NOTHING_CHOSEN", "Chosen", "choose", "named_exporter"]


class Chosen(msgspec.Struct, frozen=True):
    """What was given, or variables have chosen: None for the SDK's own. `providers` are the signals that go
    to a provider of somebody else's.

    `lines` tell what could not be had, and what passes us by.
    """

    sampler: Sampler | None = None
    id_generator: IdGenerator | None = None
    providers: frozenset[Signal] = frozenset()
    lines: tuple[str, ...] = ()
    tracer_configurator: Configurator | None = None
    meter_configurator: Configurator | None = None
    logger_configurator: Configurator | None = None
    given: Given = NOTHING_GIVEN


NOTHING_CHOSEN = Chosen()


class _Provider(msgspec.Struct, frozen=True):
    """Upstream's API makes the provider that the variable names when it is first asked for one, and raises
    where it cannot."""

    signal: Signal
    variable: str
    kind: type
    install: Callable[[Any], None]

    @property
    def group(self) -> str:
        return f"opentelemetry_{self.variable.removeprefix('OTEL_PYTHON_').lower()}"

    @property
    def sdk(self) -> str:
        """How the SDK's own is named, which ours is one of."""
        return f"sdk_{self.group.removeprefix('opentelemetry_')}"


_PROVIDERS = (
    _Provider("traces", "OTEL_PYTHON_TRACER_PROVIDER", trace.TracerProvider, trace.set_tracer_provider),
    _Provider("metrics", "OTEL_PYTHON_METER_PROVIDER", metrics.MeterProvider, metrics.set_meter_provider),
    _Provider("logs", "OTEL_PYTHON_LOGGER_PROVIDER", _logs.LoggerProvider, _logs.set_logger_provider),
)


def choose(environ: MutableMapping[str, str] = os.environ, given: Given = NOTHING_GIVEN) -> Chosen:
    """Make what the variables name and nobody has `given`, and install providers. Before anybody asks the API
    for one."""
    lines: list[str] = []
    # All of them before any is made: the API makes what they name as soon as it is asked, and one provider
    # asks for another.
    names = {row: environ.pop(row.variable, "").strip() for row in _PROVIDERS}
    signals = frozenset(row.signal for row, name in names.items() if _provided(row, name, environ, lines))
    sampler, id_generator = given.sampler, given.id_generator
    if sampler is None:
        sampler = _sampler(environ, lines)
    name = environ.get(ID_GENERATOR, "").strip()
    if name and id_generator is None:
        id_generator = _make(ID_GENERATOR, ID_GENERATORS, name, IdGenerator, lines)
    of_tracers = given.tracer_configurator or _configurator("TRACER", environ, lines)
    of_meters = given.meter_configurator or _configurator("METER", environ, lines)
    of_loggers = given.logger_configurator or _configurator("LOGGER", environ, lines)
    _take_out_stand_ins(lines)
    return Chosen(sampler, id_generator, signals, tuple(lines), of_tracers, of_meters, of_loggers, given)


def _sampler(environ: MutableMapping[str, str], lines: list[str]) -> Sampler | None:
    """What `OTEL_TRACES_SAMPLER` names, but for what the SDK makes by itself."""
    name, argument = environ.get(SAMPLER, "").strip(), environ.get(f"{SAMPLER}_ARG")
    if name.lower() in OWN_SAMPLERS:
        from bext_otel.export.named_samplers import named_sampler

        return named_sampler(name.lower(), argument or "", lines)
    if not name or name.lower() in SDK_SAMPLERS:
        return None
    made: Sampler | None = _make(SAMPLER, SAMPLERS, name, Sampler, lines, argument)
    if made is None:
        del environ[SAMPLER]  # the SDK would look for it too, and tell
    return made


def _configurator(kind: str, environ: Mapping[str, str], lines: list[str]) -> Configurator | None:
    """What `OTEL_PYTHON_{kind}_CONFIGURATOR` names."""
    variable = f"OTEL_PYTHON_{kind}_CONFIGURATOR"
    name = environ.get(variable, "").strip()
    if not name:
        return None
    try:
        point = found(f"_opentelemetry_{kind.lower()}_configurator", name)
        if point is None:
            raise LookupError("nothing of this name is installed")
        configurator: Configurator = point.load()
        if not callable(configurator):
            raise TypeError(f"it is a {type(configurator).__name__}, which cannot be asked for a scope")
    except Exception as error:
        lines.append(_unusable(variable, name, error))
        return None
    return configurator


def _make(variable: str, group: str, name: str, kind: type, lines: list[str], *arguments: Any) -> Any:
    """What the entry point makes; None, with a line, where it makes nothing of that kind."""
    try:
        point = found(group, name)
        if point is None:
            raise LookupError("nothing of this name is installed")
        made = point.load()(*arguments)
        if not isinstance(made, kind):
            raise TypeError(f"it makes a {type(made).__name__}, which is no {kind.__name__}")
    except Exception as error:
        lines.append(_unusable(variable, name, error))
        return None
    return made


def _unusable(variable: str, name: str, error: Exception) -> str:
    return f"{variable}: {name[:64]!r} cannot be used: {type(error).__name__}: {error}; using the default"


def _provided(row: _Provider, name: str, environ: MutableMapping[str, str], lines: list[str]) -> bool:
    """Whether a provider of somebody else's stands, because the variable says so."""
    if not name or row.signal in already_installed():
        if name == row.sdk:
            lines.append(
                f"{row.variable}={name}: {row.signal} go to a provider that was there before bext-otel was "
                "set up, perhaps by this "
                "variable; unset it, or call bext_otel.configure() before anything asks for one"
            )
        return bool(name == row.sdk)
    if name == row.sdk:
        return False
    made = _make(row.variable, row.group, name, row.kind, lines)
    if made is None:
        return False
    row.install(made)
    environ[row.variable] = name  # programs that this one starts are to do the same
    lines.append(
        f"{row.variable}={name}: {row.signal} go to that provider, and do not pass through bext-otel; unset "
        "it to have them here"
    )
    return True


def _take_out_stand_ins(lines: list[str]) -> None:
    """Leave the propagators that are there; the default where none is."""
    parts = parts_of_propagator(get_global_textmap())
    missing = [part for part in parts if isinstance(part, StandIn)]
    if missing:
        kept = [part for part in parts if part not in missing]
        set_global_textmap(
            CompositePropagator(kept or [TraceContextTextMapPropagator(), W3CBaggagePropagator()])
        )
        lines.extend(part.line for part in missing)


_KINDS: Mapping[Signal, type] = {"traces": SpanExporter, "metrics": MetricExporter, "logs": LogRecordExporter}


class _Broken:
    """In the place of an exporter that could not be made: whoever exports hears why, as of any other
    failure."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def export(self, *_: Any, **__: Any) -> Any:
        raise self._error

    def shutdown(self, *_: Any, **__: Any) -> None:
        pass

    def force_flush(self, *_: Any) -> bool:
        return True


def named_exporter(signal: Signal, name: str) -> Callable[[], Any]:
    """What makes the exporter of another package, which reads its settings by itself. It never raises; one
    that cannot be made fails to export."""

    def make() -> Any:
        try:
            point = found(EXPORTERS[signal], name)
            if point is None:
                raise LookupError("nothing of this name is installed")
            exporter = point.load()()
            if not isinstance(exporter, _KINDS[signal]):
                raise TypeError(f"it is a {type(exporter).__name__}, which is no {_KINDS[signal].__name__}")
        except Exception as error:
            return _Broken(error)
        return exporter

    return make
