"""Declarative configuration (`OTEL_CONFIG_FILE`, schema 1.0): a file made into variables, settings and parts,
key by key. Upstream's package `opentelemetry-configuration` reads and checks it.

Our own providers stand behind what it describes: the first batch processor, and the first periodic reader,
of a signal are our queue and our export, `/metrics` stays, and what is described besides is upstream's,
handed to our providers. A key without effect is one line with its path. Settings that are ours only are under
`distribution: {bext: ...}`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bext_otel.config.config_file import put_aside, replace_variables
from bext_otel.export.declared_keys import Keys
from bext_otel.export.declared_variables import batches, limits, otlp, variables_of

__all__ = ["Declared", "declare"]

_PACKAGE = "opentelemetry.configuration"
_MOST_LINES = 50
_TELEMETRY = "telemetry.sdk."
_HTTP = "OTEL_INSTRUMENTATION_HTTP"


@dataclass
class Declared:
    """What a file says. `settings` are ours, nested like bext.config.toml; `parts` are arguments of
    `given()`; `propagator` None: what it was. `lines` tell what is wrong with it."""

    variables: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    resource: dict[str, Any] = field(default_factory=dict)
    schema_url: str = ""
    propagator: Any = None
    lines: list[str] = field(default_factory=list)

    def set(self, section: str, key: str, value: Any) -> None:
        """A setting of ours."""
        if value is not None:
            self.settings.setdefault(section, {})[key] = value

    def add(self, kind: str, part: Any) -> None:
        """One more part of a kind."""
        self.parts.setdefault(kind, []).append(part)

    def completing(self, handed: Mapping[str, Any]) -> dict[str, Any]:
        """What a program hands over, which comes before the file, or beside it where there may be several."""
        found = dict(handed)
        for name, part in self.parts.items():
            if isinstance(part, list):
                found[name] = [*part, *found[name]]
            elif found[name] is None:
                found[name] = part
        return found

    def attempt(self, keys: Keys, make: Callable[[], Any]) -> Any:
        """What `make` makes; None, with a line, where it raises."""
        try:
            return make()
        except Exception as error:  # of upstream's, or of a package
            self.lines.append(f"{keys.path} cannot be had: {type(error).__name__}: {error}"[:500])
            return None


def declare(path: str, environ: MutableMapping[str, str]) -> Declared:
    """Read the file, and have its variables instead of others of the SDK's. A file that cannot be read is a
    line, and variables stay as they are."""
    made = Declared()
    try:
        with put_aside(environ):
            from opentelemetry.configuration import load_config_file
            from opentelemetry.configuration.file import create_propagator, create_resource
    except ImportError:
        made.lines.append(
            "OTEL_CONFIG_FILE is passed over, as what reads it is not installed: pip install "
            "'bext-otel[config]', or unset it; settings are those of variables and bext.config.toml"
        )
        return made
    with _heard(made.lines):
        try:
            model = load_config_file(path)
        except Exception as error:
            made.lines.append(f"OTEL_CONFIG_FILE={path!r}: {_reason(error)}; it is passed over as a whole")
            return made
        keys = Keys(model)
        with put_aside(environ):  # parts of upstream's would ask for them
            _whole(keys, made)
            made.propagator = made.attempt(
                keys.part("propagator") or keys, lambda: create_propagator(_model(keys.part("propagator")))
            )
            resource = made.attempt(
                keys.part("resource") or keys, lambda: create_resource(_model(keys.part("resource")))
            )
    if resource is not None:
        made.schema_url = resource.schema_url
        made.resource = {
            key: value for key, value in resource.attributes.items() if not key.startswith(_TELEMETRY)
        }
    name = str(made.resource.pop("service.name", ""))
    if not name.startswith("unknown_service"):  # nobody has said one
        made.variables["OTEL_SERVICE_NAME"] = name
    made.lines += _silent(keys)
    if passed_over := replace_variables(environ, {k: v for k, v in made.variables.items() if v}):
        made.lines.append(f"OTEL_CONFIG_FILE decides; passed over: {', '.join(passed_over)}"[:500])
    return made


def _model(keys: Keys | None) -> Any:
    return None if keys is None else keys.whole()


def _whole(keys: Keys, made: Declared) -> None:
    keys.value("file_format")
    if keys.value("disabled"):
        made.variables["OTEL_SDK_DISABLED"] = "true"
    if level := keys.value("log_level"):
        word = str(level).rstrip("0123456789")
        made.variables["OTEL_LOG_LEVEL"] = {"trace": "debug", "fatal": "critical"}.get(word, word)
    made.variables |= limits(keys.part("attribute_limits"))
    _traces(keys.part("tracer_provider"), made)
    _metrics(keys.part("meter_provider"), made)
    _logs(keys.part("logger_provider"), made)
    if (instrumentation := keys.part("instrumentation_development")) is not None:
        _instrumentation(instrumentation, made)
    distribution = keys.part("distribution")
    ours = None if distribution is None else distribution.part("bext")
    for section, values in (ours.whole() if ours is not None else {}).items():
        known = made.settings.get(section, {})
        made.settings[section] = {**known, **values} if isinstance(values, dict) else values


def _traces(keys: Keys | None, made: Declared) -> None:
    if keys is None:
        made.variables["OTEL_TRACES_EXPORTER"] = "none"
        return
    from bext_otel.export import declared_parts as parts

    made.variables |= limits(keys.part("limits"), "traces")
    _processors(keys, made, "traces", "BSP", "span_processor")
    if (described := keys.part("sampler")) is not None:
        made.parts["sampler"] = made.attempt(described, lambda: parts.sampler(described))
    if (ids := keys.part("id_generator")) is not None:
        made.parts["id_generator"] = made.attempt(ids, lambda: parts.id_generator(ids))
    if (of_scopes := keys.part("tracer_configurator_development")) is not None:
        made.parts["tracer_configurator"] = parts.configurator(of_scopes, "tracers")


def _logs(keys: Keys | None, made: Declared) -> None:
    if keys is None:
        made.variables["OTEL_LOGS_EXPORTER"] = "none"
        return
    from bext_otel.export import declared_parts as parts

    made.variables |= limits(keys.part("limits"), "logs")
    _processors(keys, made, "logs", "BLRP", "log_record_processor")
    if (of_scopes := keys.part("logger_configurator_development")) is not None:
        made.parts["logger_configurator"] = parts.configurator(of_scopes, "loggers")


def _processors(keys: Keys, made: Declared, signal: str, batch_kind: str, kind: str) -> None:
    """The first batch processor is our queue; others are upstream's, before what we export."""
    from bext_otel.export import declared_parts as parts

    ours: str | None = None
    for each in keys.parts("processors"):
        batch = each.part("batch")
        if batch is None or ours is not None:
            part = made.attempt(each, lambda each=each: parts.processor(each, kind))  # type: ignore[misc]  # bound now
            if part is not None:
                made.add(f"{kind}s", part)
            continue
        made.variables |= batches(batch, batch_kind)
        ours = _exporter(batch, made, signal)
    made.variables[f"OTEL_{signal.upper()}_EXPORTER"] = ours or "none"


def _exporter(keys: Keys, made: Declared, signal: str) -> str:
    """The name of the exporter, which is ours; "" where it has been handed over."""
    exporter = keys.part("exporter")
    assert exporter is not None  # the schema wants it
    for name in ("otlp_http", "otlp_grpc"):
        if (over := exporter.part(name)) is not None:
            made.variables |= otlp(over, signal, grpc=name == "otlp_grpc")
            return "otlp"
    if signal != "metrics" and exporter.part("console") is not None:
        return "console"
    from bext_otel._compat import declared_part
    from bext_otel.export import declared_parts as parts

    def make() -> Any:
        if (other := exporter.other()) is not None:
            return parts.plugin(f"opentelemetry_{signal}_exporter", *other)
        return declared_part(f"{signal}_exporter", exporter.whole())

    if (part := made.attempt(exporter, make)) is not None:
        made.add("exporters", part)
    return ""


def _metrics(keys: Keys | None, made: Declared) -> None:
    names = ["prometheus"]  # our page stays
    if keys is not None:
        from bext_otel.export import declared_parts as parts

        for each in keys.parts("views"):
            if (part := made.attempt(each, lambda each=each: parts.view(each))) is not None:  # type: ignore[misc]  # bound now
                made.add("views", part)
        made.variables |= variables_of(keys, {"exemplar_filter": "OTEL_METRICS_EXEMPLAR_FILTER"})
        if (of_scopes := keys.part("meter_configurator_development")) is not None:
            made.parts["meter_configurator"] = parts.configurator(of_scopes, "meters")
        names += filter(None, [_readers(keys, made)])
    made.variables["OTEL_METRICS_EXPORTER"] = ",".join(names)


def _readers(keys: Keys, made: Declared) -> str:
    """The first periodic reader is our export; the name of its exporter, "" where that is handed over."""
    from bext_otel.export import declared_parts as parts

    name: str | None = None
    for each in keys.parts("readers"):
        periodic, pull = each.part("periodic"), each.part("pull")
        page = None if pull is None else pull.part("exporter")
        if page is not None and (prometheus := page.part("prometheus_development")) is not None:
            _page(prometheus, made)
            assert pull is not None
            made.set("metrics", "series_limit", _limit(pull))
        elif periodic is not None and name is None and not _has_limits_by_kind(periodic):
            name = _export(periodic, made)
        elif (
            part := made.attempt(each, lambda each=each: parts.metric_reader(each))  # type: ignore[misc]  # bound now
        ) is not None:
            made.add("metric_readers", part)
    return name or ""


def _export(keys: Keys, made: Declared) -> str:
    made.variables |= variables_of(
        keys, {"interval": "OTEL_METRIC_EXPORT_INTERVAL", "timeout": "OTEL_METRIC_EXPORT_TIMEOUT"}
    )
    made.set("metrics", "export_batch_size", keys.value("max_export_batch_size_development"))
    made.set("metrics", "series_limit", _limit(keys))
    return _exporter(keys, made, "metrics")


def _has_limits_by_kind(keys: Keys) -> bool:
    limits = keys.model.cardinality_limits
    return limits is not None and any(
        value is not None for key, value in vars(limits).items() if key != "default"
    )


def _limit(keys: Keys) -> Any:
    limits = keys.part("cardinality_limits")
    return None if limits is None else limits.value("default")


def _page(keys: Keys, made: Declared) -> None:
    """Our own page, as of a pull reader for Prometheus."""
    for key in ("host", "port"):
        made.set("metrics", key, keys.value(key))
    made.set("metrics", "scope_labels", keys.value("scope_info_enabled"))
    if keys.value("target_info_enabled_development") is False:
        made.set("metrics", "resource_labels", [])
    strategy = keys.model.translation_strategy
    if strategy is not None and strategy.value == "underscore_escaping_with_suffixes":
        keys.value("translation_strategy")  # others are told


def _instrumentation(keys: Keys, made: Declared) -> None:
    off = []
    if (python := keys.part("python")) is not None:
        for name in python.model:
            library = python.part(name)
            if library is not None and library.value("enabled") is False:
                off.append(name)
    if off:
        made.variables["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = ",".join(off)
    general = keys.part("general")
    http = None if general is None else general.part("http")
    for side in ("client", "server"):
        part = None if http is None else http.part(side)
        if part is None:
            continue
        captured = f"{_HTTP}_CAPTURE_HEADERS_{side.upper()}"
        for key, variable in (
            ("request_captured_headers", f"{captured}_REQUEST"),
            ("response_captured_headers", f"{captured}_RESPONSE"),
            *([("known_methods", f"{_HTTP}_KNOWN_METHODS")] if side == "server" else []),
        ):
            if words := part.value(key):
                made.variables[variable] = ",".join(words)
    if general is not None:
        made.variables |= variables_of(general, {"stability_opt_in_list": "OTEL_SEMCONV_STABILITY_OPT_IN"})


def _silent(keys: Keys) -> Iterator[str]:
    """One line for each key without effect."""
    paths = list(keys.without_effect())
    for path in paths[:_MOST_LINES]:
        yield f"OTEL_CONFIG_FILE: {path} has no effect here"
    if len(paths) > _MOST_LINES:
        yield f"OTEL_CONFIG_FILE: {len(paths) - _MOST_LINES} more keys have no effect"


def _reason(error: BaseException) -> str:
    """Why a file is none; without values, which may be secrets."""
    cause = error.__cause__
    if (place := getattr(cause, "absolute_path", None)) is not None:
        where = ".".join(map(str, place)) or "the top"
        return f"at {where}: it is not what the schema has there ({getattr(cause, 'validator', '')})"
    return " ".join(str(error).split())[:300]


@contextmanager
def _heard(lines: list[str]) -> Iterator[None]:
    """What upstream's package warns of are lines of ours; what it raises, it logs too."""

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.WARNING:
                lines.append(f"OTEL_CONFIG_FILE: {record.getMessage()}"[:500])

    logger, handler = logging.getLogger(_PACKAGE), Heard()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
