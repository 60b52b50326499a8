"""Who gets each signal: the standard variables that name exporters, and those that speak of one signal
only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import cast
from urllib.parse import urlsplit

from bext_otel.api_environment import found
from bext_otel.config.fields import Wrong, fields_of
from bext_otel.config.model import SIGNALS, Exporters, Protocol, Signal, Target, TelemetrySettings
from bext_otel.config.report import Given, SettingsReport, nearest

__all__ = ["EXPORTERS", "check_endpoint", "exporters"]

EXPORTERS: Mapping[Signal, str] = {signal: f"opentelemetry_{signal}_exporter" for signal in SIGNALS}
"""Entry points by which other packages offer exporters."""

_KNOWN: Mapping[Signal, tuple[str, ...]] = {
    "traces": ("otlp", "console", "none"),
    "metrics": ("otlp", "prometheus", "console", "none"),
    "logs": ("otlp", "console", "none"),
}
# Upstream's names for exporters of one protocol, which counts where the variable of the protocol is not set.
_PROTOCOLS: Mapping[str, Protocol] = {"otlp_proto_http": "http/protobuf", "otlp_proto_grpc": "grpc"}
_ALIASES: Mapping[str, str] = {**dict.fromkeys(_PROTOCOLS, "otlp"), "logging": "console"}

# Where the specification has an exporter go that is named without an endpoint.
_DEFAULTS: Mapping[Protocol, str] = {
    "http/protobuf": "http://localhost:4318",
    "grpc": "http://localhost:4317",
}

# What the extra `grpc` brings.
_GRPC_MODULES = ("grpc", "opentelemetry.exporter.otlp.proto.grpc")

# What gRPC takes besides URLs: host:port, and its own name schemes.
_GRPC_ADDRESS = re.compile(
    r"(?:(?:dns|ipv4|ipv6|unix|unix-abstract|xds):\S+|(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5})"
)


def check_endpoint(endpoint: str, protocol: str) -> None:
    """Raises Wrong where `endpoint` cannot be exported to; an empty one is no endpoint, and right."""
    if not endpoint or _is_url(endpoint) or (protocol == "grpc" and _GRPC_ADDRESS.fullmatch(endpoint)):
        return
    raise Wrong(fields_of(TelemetrySettings)["otlp_endpoint"].expected())


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and not re.search(r"[\s\x00-\x1f]", text)
        )
    except ValueError:  # a port out of range, or brackets that do not match
        return False


def exporters(
    environ: Mapping[str, str], telemetry: TelemetrySettings, *, explicit: bool, report: SettingsReport
) -> Exporters:
    """Exporters by signal.

    `telemetry` holds what goes for all signals. `explicit`: its endpoint was given in code, which comes
    before every variable.
    """
    names: dict[Signal, tuple[str, ...]] = {}
    targets: dict[Signal, Target] = {}
    prometheus = True
    for signal in SIGNALS:
        protocol = _protocol(environ, signal, telemetry, report)
        endpoint = _endpoint(environ, signal, protocol, telemetry.otlp_endpoint, explicit, report)
        chosen = _chosen(environ, signal, report)
        names[signal] = chosen if chosen is not None else ("otlp",) if endpoint else ()
        if "otlp" in names[signal]:
            targets[signal] = Target(
                endpoint=endpoint or _complete(_DEFAULTS[protocol], signal, protocol), protocol=protocol
            )
        if signal == "metrics" and chosen is not None:
            prometheus = "prometheus" in chosen
    _leave_out_grpc(names, targets, report)
    return Exporters(
        traces=names["traces"],
        metrics=names["metrics"],
        logs=names["logs"],
        targets=targets,
        prometheus=prometheus,
    )


def _leave_out_grpc(
    names: dict[Signal, tuple[str, ...]], targets: dict[Signal, Target], report: SettingsReport
) -> None:
    """Export nothing over gRPC where its packages are not installed. Another protocol to the same address
    would only fail later."""
    over_grpc = [signal for signal, target in targets.items() if target.protocol == "grpc"]
    if not over_grpc or all(map(find_spec, _GRPC_MODULES)):
        return
    for signal in over_grpc:
        del targets[signal]
        names[signal] = tuple(name for name in names[signal] if name != "otlp")
    report.say(
        f"OTLP over gRPC is not installed, so {', '.join(over_grpc)} go nowhere: pip install "
        "'bext-otel[grpc]', or say OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf and an endpoint of that"
    )


def _endpoint(
    environ: Mapping[str, str],
    signal: Signal,
    protocol: Protocol,
    general: str,
    explicit: bool,
    report: SettingsReport,
) -> str:
    """Where a signal goes, "" for nowhere. The endpoint of one signal is used as it is, and comes before the
    general one."""
    name = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    own = environ.get(name, "").strip()
    try:
        check_endpoint(own, protocol)
    except Wrong as wrong:
        report.wrong(
            Given(("telemetry", "otlp_endpoint"), own, name, text=True),
            str(wrong),
            instead="treated as not set",
        )
        own = ""
    if own and not (explicit and general):
        return own
    return _complete(general, signal, protocol) if general else ""


def _complete(endpoint: str, signal: Signal, protocol: str) -> str:
    """The URL of a signal below the endpoint of all: the specification appends `v1/<signal>` to its path, for
    HTTP only."""
    if protocol == "grpc":
        return endpoint
    base, mark, query = endpoint.partition("?")
    return f"{base.rstrip('/')}/v1/{signal}{mark}{query}"


def _protocol(
    environ: Mapping[str, str], signal: Signal, telemetry: TelemetrySettings, report: SettingsReport
) -> Protocol:
    name = f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL"
    raw = environ.get(name, "").strip()
    if not raw:
        if not environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip():
            words = [word.lower() for word in _words(environ, f"OTEL_{signal.upper()}_EXPORTER")]
            named = [_PROTOCOLS[word] for word in words if word in _PROTOCOLS]
            return named[0] if named else telemetry.otlp_protocol
        return telemetry.otlp_protocol
    try:
        return cast("Protocol", fields_of(TelemetrySettings)["otlp_protocol"].convert(raw, text=True))
    except Wrong as wrong:
        report.wrong(Given(("telemetry", "otlp_protocol"), raw, name, text=True), str(wrong))
        return telemetry.otlp_protocol


def _chosen(environ: Mapping[str, str], signal: Signal, report: SettingsReport) -> tuple[str, ...] | None:
    """What `OTEL_<SIGNAL>_EXPORTER` names, without `none`; None where it is not set, or names nothing that is
    known or installed."""
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    named: dict[str, None] = {}
    for word in _words(environ, variable):
        name = _ALIASES.get(word.lower(), word.lower())
        if name not in _KNOWN[signal]:
            name = next((each for each in (word, name) if found(EXPORTERS[signal], each) is not None), "")
        if name:
            named[name] = None
        else:
            remedy = f"{nearest(word.lower(), _KNOWN[signal])}, or install the package that has it"
            report.say(f"{variable}: no exporter {word[:64]!r}; {remedy}; ignored")
    if not named:
        return None
    return tuple(name for name in named if name != "none")


def _words(environ: Mapping[str, str], variable: str) -> list[str]:
    return [word for part in environ.get(variable, "").split(",") if (word := part.strip())]
