"""Layers of settings made into one `Config`: explicit arguments, `OTEL_*`, `BEXT_*`, the file, defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, TypeVar

import msgspec

from bext_otel.config.environment import bext_variables, standard_variables
from bext_otel.config.exporters import check_endpoint, exporters
from bext_otel.config.fields import Field, Wrong, built, field_at
from bext_otel.config.file import read_file
from bext_otel.config.model import (
    ACCESS,
    APPS,
    SECTIONS,
    AccessSettings,
    AlertsSettings,
    AppSettings,
    CacheSettings,
    Config,
    EndpointsSettings,
    HealthSettings,
    Isolates,
    LoggingSettings,
    MetricsSettings,
    RedactionSettings,
    TelemetrySettings,
)
from bext_otel.config.report import Given, Path, SettingsReport
from bext_otel.config.rules import check_apps, check_budgets, check_health, check_together
from bext_otel.config.tree import flatten

__all__ = ["Loaded", "load"]

_S = TypeVar("_S", bound=msgspec.Struct)
_ENDPOINT: Path = ("telemetry", "otlp_endpoint")
_HEADERS = re.compile("OTEL_EXPORTER_OTLP_(?:(?:TRACES|METRICS|LOGS)_)?HEADERS")


class Loaded(msgspec.Struct, frozen=True):
    """What was read: the settings, one line for each thing wrong with them, and the file they came from (""
    if none). `path` is where a file is looked for ("": nowhere), `problem` why it could not be read."""

    config: Config
    warnings: tuple[str, ...]
    source: str
    path: str = ""
    problem: str = ""


def load(
    explicit: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    cwd: FilePath | None = None,
    declared: Mapping[str, Any] | None = None,
) -> Loaded:
    """Read all settings. `explicit` is nested like the file and comes before everything; `cwd` is where the
    file is looked for. `declared` is what a declarative configuration says of our own settings, and comes
    before all but `explicit`.

    What is wrong in the file or the environment falls back to what the next layer says, with one line in
    `warnings`. Raises ConfigError for what is wrong in `explicit`.
    """
    report = SettingsReport()
    settings = _Settings(report)
    file = read_file(environ, cwd, report)
    settings.take(flatten(file.settings, report))
    settings.take(bext_variables(environ, report))
    settings.take(standard_variables(environ, report))
    settings.take(flatten(declared or {}, report))
    settings.take(flatten(explicit or {}, report, explicit=True))
    if not file.is_own:
        _keep_headers(settings.winners, environ, report)
    for rule in (_check_endpoint, check_together, check_budgets, check_apps, check_health):
        rule(settings.winners, report)
    telemetry = settings.made("telemetry", TelemetrySettings)
    endpoint = settings.winners.get(_ENDPOINT)
    found = exporters(environ, telemetry, explicit=endpoint is not None and endpoint.explicit, report=report)
    if report.is_wrong(_ENDPOINT) and not found.targets:
        found = msgspec.structs.replace(found, has_lost_endpoint=True)
    config = Config(
        metrics=settings.made("metrics", MetricsSettings),
        health=settings.made("health", HealthSettings),
        endpoints=settings.made("endpoints", EndpointsSettings),
        logging=settings.made("logging", LoggingSettings),
        access=built(AccessSettings, settings.access()),
        telemetry=msgspec.structs.replace(telemetry, exporters=found),
        cache=settings.made("cache", CacheSettings),
        isolates=settings.made("isolates", Isolates),
        redaction=settings.made("redaction", RedactionSettings),
        alerts=settings.made("alerts", AlertsSettings),
        alert_rules=settings.section("alerts").get("rules", {}),
        apps=settings.apps(),
    )
    lines = report.lines(lambda path: _at(config, path))
    return Loaded(config, lines, file.source, file.path, file.problem)


class _Settings:
    """Checked values by path. Whoever comes later wins; `winners` keeps who said it."""

    def __init__(self, report: SettingsReport) -> None:
        self.winners: dict[Path, Given] = {}
        self._report = report

    def take(self, layer: Iterable[Given]) -> None:
        """Check the values of a layer and put them over what is there."""
        for given in layer:
            try:
                value = _checked(given, self._report)
            except Wrong as wrong:
                self._report.wrong(given, str(wrong))
                field = _field_of(given.path)
                value = None if field is None else field.extra.get("in_doubt")
                if value is None:
                    continue
            self.winners[given.path] = given.holding(value)

    def section(self, name: str) -> dict[str, Any]:
        """The values of a section, nested as its Struct is."""
        found: dict[str, Any] = {}
        for path, given in self.winners.items():
            if path[0] != name:
                continue
            table = found
            for key in path[1:-1]:
                table = table.setdefault(key, {})
            if _field_of(path) is None:
                table.setdefault(path[-1], {})
            else:
                table[path[-1]] = given.raw
        return found

    def made(self, name: str, struct: type[_S]) -> _S:
        """A section."""
        return built(struct, self.section(name))

    def access(self) -> dict[str, Any]:
        """Those of the access log, whose file is rotated as others are where nobody says how."""
        others = self.section("logging")
        rotation = {name: value for name, value in others.items() if name.startswith("rotate")}
        return {**rotation, **self.section(ACCESS)}

    def apps(self) -> dict[str, AppSettings]:
        """Applications in the order they were named."""
        return {name: built(AppSettings, values) for name, values in self.section(APPS).items()}


def _field_of(path: Path) -> Field | None:
    """The setting at `path`; None for a table of settings, of which it only says that it is there."""
    if path[0] != APPS:
        field = field_at(SECTIONS[path[0]], path[1:])
    elif len(path) == 2:
        return None
    else:
        field = field_at(AppSettings, path[2:])
    if field is not None and field.is_table:
        return field.element
    return field


def _checked(given: Given, report: SettingsReport) -> Any:
    field = _field_of(given.path)
    if field is None:
        return None
    if (listed := field.as_list(given.raw)) is not None:
        return tuple(_elements(given, listed, field.element, report)) or field.extra.get("in_doubt", ())
    if given.scale == 1.0:
        value = field.convert(given.raw, text=given.text)
        if given.path == _ENDPOINT:
            check_endpoint(
                value, "grpc"
            )  # the more lenient protocol, as the last layer may still say which it is
        return value
    try:
        return field.convert(float(given.raw) / given.scale, text=given.text)
    except (ValueError, Wrong):
        raise Wrong(field.expected(given.scale, given.unit)) from None


def _elements(given: Given, listed: Iterable[Any], element: Field, report: SettingsReport) -> Iterator[Any]:
    """The elements of a list that are right; each wrong one has a line of its own."""
    for index, raw in enumerate(listed):
        try:
            yield element.convert(raw, text=given.text)
        except Wrong as wrong:
            report.wrong(
                Given(given.path, raw, f"{given.name}[{index}]", explicit=given.explicit),
                str(wrong),
                instead="ignored",
            )


def _check_endpoint(winners: dict[Path, Given], report: SettingsReport) -> None:
    """What an endpoint may look like depends on the protocol, so this comes after all layers."""
    given = winners.get(_ENDPOINT)
    if given is None:
        return
    protocol = winners.get(("telemetry", "otlp_protocol"))
    try:
        check_endpoint(given.raw, TelemetrySettings().otlp_protocol if protocol is None else protocol.raw)
    except Wrong as wrong:
        del winners[_ENDPOINT]
        report.wrong(given, str(wrong))


def _keep_headers(winners: dict[Path, Given], environ: Mapping[str, str], report: SettingsReport) -> None:
    """Headers of the environment, which hold keys, don't go where a file says that others can have
    written."""
    given = winners.get(_ENDPOINT)
    names = [name for name in environ if _HEADERS.fullmatch(name) and environ[name].strip()]
    if given is not None and given.raw and not given.explicit and not given.text and names:
        del winners[_ENDPOINT]
        report.wrong(
            given,
            "OTEL_EXPORTER_OTLP_ENDPOINT or a file that only you can write, as "
            f"{min(names)} would be sent there",
        )


def _at(config: Config, path: Path) -> Any:
    """The final value at `path`; None where nothing holds one."""
    found: Any = config
    if path[0] == ACCESS:
        path = ("access", *path[1:])
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else getattr(found, key, None)
    return found
