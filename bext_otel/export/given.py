"""Parts of the SDK's interfaces that a program hands to `configure()`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler

from bext_otel.errors import ConfigError
from bext_otel.metrics.parts import NO_PARTS, MetricParts
from bext_otel.metrics.producers import MetricFilter, MetricProducer

__all__ = [
    "NOTHING_GIVEN",
    "Configurator",
    "Exports",
    "Filters",
    "Given",
    "MakesIds",
    "OfRecords",
    "OfSpans",
    "Produces",
    "Reads",
    "Samples",
    "Views",
    "given",
]

Views: TypeAlias = View
Reads: TypeAlias = MetricReader
Produces: TypeAlias = MetricProducer
Filters: TypeAlias = MetricFilter
OfSpans: TypeAlias = SpanProcessor
OfRecords: TypeAlias = LogRecordProcessor
Samples: TypeAlias = Sampler
MakesIds: TypeAlias = IdGenerator
Exports: TypeAlias = "SpanExporter | MetricExporter | LogRecordExporter"

Configurator: TypeAlias = Callable[[Any], Any]
"""Takes an instrumentation scope, and answers with an object that has `is_enabled`; a logger's may have
`minimum_severity` and `trace_based` too (specification, "TracerConfigurator", "MeterConfigurator" and
"LoggerConfigurator")."""


class Given(msgspec.Struct, frozen=True):
    """What there is; empty, or None, is what variables say. Processors are called in this order, exporters
    beside those that variables name, each in batches of its own."""

    span_processors: tuple[SpanProcessor, ...] = ()
    log_record_processors: tuple[LogRecordProcessor, ...] = ()
    sampler: Sampler | None = None
    id_generator: IdGenerator | None = None
    span_exporters: tuple[SpanExporter, ...] = ()
    metrics: MetricParts = NO_PARTS
    log_exporters: tuple[LogRecordExporter, ...] = ()
    tracer_configurator: Configurator | None = None
    meter_configurator: Configurator | None = None
    logger_configurator: Configurator | None = None


NOTHING_GIVEN = Given()


def given(
    *,
    views: Iterable[object] = (),
    metric_readers: Iterable[object] = (),
    metric_producers: Iterable[object] = (),
    metric_filter: object = None,
    span_processors: Iterable[object] = (),
    log_record_processors: Iterable[object] = (),
    sampler: object = None,
    id_generator: object = None,
    exporters: Iterable[object] = (),
    tracer_configurator: object = None,
    meter_configurator: object = None,
    logger_configurator: object = None,
) -> Given:
    """Each part where it belongs. Raises ConfigError for one that is none of its kind."""
    of_signals = tuple(exporters)
    for exporter in of_signals:
        _expect("exporters", exporter, SpanExporter, MetricExporter, LogRecordExporter)
    for name, configurator in (
        ("tracer_configurator", tracer_configurator),
        ("meter_configurator", meter_configurator),
        ("logger_configurator", logger_configurator),
    ):
        if configurator is not None and not callable(configurator):
            raise ConfigError(
                f"{name}={_shown(configurator)}: expected a function of an instrumentation scope"
            )
    return Given(
        tuple(_expect("span_processors", each, SpanProcessor) for each in span_processors),
        tuple(_expect("log_record_processors", each, LogRecordProcessor) for each in log_record_processors),
        None if sampler is None else _expect("sampler", sampler, Sampler),
        None if id_generator is None else _expect("id_generator", id_generator, IdGenerator),
        tuple(each for each in of_signals if isinstance(each, SpanExporter)),
        MetricParts(
            tuple(_expect("views", each, View) for each in views),
            tuple(_expect("metric_readers", each, MetricReader) for each in metric_readers),
            tuple(each for each in of_signals if isinstance(each, MetricExporter)),
            tuple(_expect("metric_producers", each, MetricProducer) for each in metric_producers),
            None if metric_filter is None else _expect("metric_filter", metric_filter, MetricFilter),
        ),
        tuple(each for each in of_signals if isinstance(each, LogRecordExporter)),
        tracer_configurator,  # type: ignore[arg-type]  # callable, as has just been seen
        meter_configurator,  # type: ignore[arg-type]  # likewise
        logger_configurator,  # type: ignore[arg-type]  # likewise
    )


def _expect(name: str, part: Any, *kinds: type) -> Any:
    if isinstance(part, kinds):
        return part
    expected = " or a ".join(kind.__name__ for kind in kinds)
    raise ConfigError(f"{name}: {_shown(part)} is no {expected} of opentelemetry.sdk")


def _shown(part: object) -> str:
    return f"a {type(part).__name__}" if not isinstance(part, type) else f"the class {part.__name__}"
