"""Settings from the environment: standard `OTEL_*` variables, and `BEXT_SECTION_KEY`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

import msgspec

from bext_otel.config.fields import fields_of
from bext_otel.config.file import FILE_NAME
from bext_otel.config.model import NAMED, SECTIONS, SHARED
from bext_otel.config.report import Given, Path, SettingsReport

__all__ = ["STANDARD", "Standard", "bext_variables", "standard_variables", "variable"]


class Standard(msgspec.Struct, frozen=True):
    """A standard variable and the setting that it sets; `scale` of its units make one of the setting's."""

    variable: str
    path: Path
    scale: float = 1.0
    unit: str = ""


# OpenTelemetry specification, "Environment Variable Specification", and "OTLP Exporter".
STANDARD: tuple[Standard, ...] = (
    Standard("OTEL_SDK_DISABLED", ("telemetry", "disabled")),
    Standard("OTEL_EXPORTER_OTLP_ENDPOINT", ("telemetry", "otlp_endpoint")),
    Standard("OTEL_EXPORTER_OTLP_PROTOCOL", ("telemetry", "otlp_protocol")),
    Standard("OTEL_SERVICE_NAME", ("telemetry", "service_name")),
    Standard("OTEL_EXPORTER_PROMETHEUS_HOST", ("metrics", "host")),
    Standard("OTEL_EXPORTER_PROMETHEUS_PORT", ("metrics", "port")),
    Standard(
        "OTEL_METRIC_EXPORT_INTERVAL",
        ("metrics", "export_interval_seconds"),
        scale=1000.0,
        unit="milliseconds",
    ),
)


def variable(section: str, key: str) -> str:
    """The `BEXT_` variable of a setting."""
    return f"BEXT_{section}_{key}".replace(".", "_").upper()


def bext_variables(environ: Mapping[str, str], report: SettingsReport) -> Iterator[Given]:
    """What `BEXT_SECTION_KEY` variables say. Other variables that start with `BEXT_` belong to others."""
    known = {
        variable(section, key): (section, key)
        for section, struct in SECTIONS.items()
        for key, field in fields_of(struct).items()
        if field.struct is None
    }
    named = {variable(*path): path for path in NAMED if len(path) == 2}
    for name in sorted(environ):
        raw = environ[name].strip()
        if name in known and raw:
            section, key = known[name]
            field = fields_of(SECTIONS[section])[key]
            given = Given((section, key), raw, name, text=True, secret=field.secret)
            yield from _entries(given, report) if field.is_table else (given,)
        elif name.startswith("BEXT_APPS_"):
            report.say(f"{name}: apps cannot be set by variables; write [apps.NAME] in {FILE_NAME}")
        elif table := next((table for table in named if f"{name}_".startswith(f"{table}_")), ""):
            path = ".".join(named[table])
            report.say(
                f"{name}: {named[table][-1]} cannot be set by variables; write [{path}.NAME] in {FILE_NAME}"
            )
        elif name not in known and any(
            name.startswith(variable(section, "")) for section in SECTIONS if section not in SHARED
        ):
            report.unknown(name, name, [one for one in known if one.split("_")[1] == name.split("_")[1]])


def _entries(given: Given, report: SettingsReport) -> Iterator[Given]:
    """A table, written as in `OTEL_RESOURCE_ATTRIBUTES`: `key=value,key=value`."""
    for entry in given.raw.split(","):
        key, equals, value = (part.strip() for part in entry.partition("="))
        if key and equals and value:
            yield Given((*given.path, key), value, f"{given.name}: {key[:64]}", text=True)
        elif entry.strip():
            report.say(
                f"{given.name}: {entry.strip()[:64]!r} is not key=value; expected key=value,key=value; "
                "ignored"
            )


def standard_variables(environ: Mapping[str, str], report: SettingsReport) -> Iterator[Given]:
    """What standard variables say, but for those that name exporters and single signals. An empty one counts
    as not set."""
    attribute = _service_attribute(environ)
    if attribute:
        yield Given(
            ("telemetry", "service_name"), attribute, "OTEL_RESOURCE_ATTRIBUTES: service.name", text=True
        )
    if level := environ.get("OTEL_LOG_LEVEL", "").strip():
        # The SDK's internal logger, by the specification: what it and we say of ourselves.
        for name in ("opentelemetry", "bext_otel"):
            yield Given(("logging", "filters", name), level, "OTEL_LOG_LEVEL", text=True)
    for row in STANDARD:
        raw = environ.get(row.variable, "").strip()
        if not raw:
            continue
        given = Given(row.path, raw, row.variable, text=True, scale=row.scale, unit=row.unit)
        if row.variable == "OTEL_SDK_DISABLED":
            # The specification: only "true", in any case, is true; everything else is false, and worth a
            # warning.
            if raw.lower() not in {"true", "false"}:
                report.wrong(given, '"true" or "false"', instead="taken as false")
            given = Given(row.path, str(raw.lower() == "true"), row.variable, text=True)
        yield given


def _service_attribute(environ: Mapping[str, str]) -> str:
    """`service.name` of `OTEL_RESOURCE_ATTRIBUTES`, in which values are percent-encoded."""
    found = ""
    for entry in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, _, value = entry.partition("=")
        if key.strip() == "service.name":
            found = unquote(value.strip())
    return found
