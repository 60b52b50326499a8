"""What a declarative configuration says in variables: limits, batches, and OTLP as our own exporters send
it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

from bext_otel.export.declared_keys import Keys

__all__ = ["batches", "limits", "otlp", "pairs", "variables_of"]

_PROTOCOLS = {"protobuf": "http/protobuf", "json": "http/json"}
_DEFAULTS = {"grpc": "http://localhost:4317"}

_BATCHES = {
    "schedule_delay": "SCHEDULE_DELAY",
    "max_queue_size": "MAX_QUEUE_SIZE",
    "max_export_batch_size": "MAX_EXPORT_BATCH_SIZE",
}

_GENERAL_LIMITS = {
    "attribute_count_limit": "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "attribute_value_length_limit": "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
}
_SPAN_LIMITS = {
    "attribute_count_limit": "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "attribute_value_length_limit": "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "event_count_limit": "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "link_count_limit": "OTEL_SPAN_LINK_COUNT_LIMIT",
    "event_attribute_count_limit": "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "link_attribute_count_limit": "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
}
_RECORD_LIMITS = {
    "attribute_count_limit": "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    "attribute_value_length_limit": "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
}
_LIMITS = {"": _GENERAL_LIMITS, "traces": _SPAN_LIMITS, "logs": _RECORD_LIMITS}


def variables_of(keys: Keys | None, names: Mapping[str, str]) -> dict[str, str]:
    """The keys that are there, by the variables that say the same."""
    if keys is None:
        return {}
    said = ((variable, keys.value(key)) for key, variable in names.items())
    return {variable: str(value) for variable, value in said if value is not None}


def limits(keys: Keys | None, signal: str = "") -> dict[str, str]:
    """Of attributes, events and links: of all signals, or of one."""
    return variables_of(keys, _LIMITS[signal])


def batches(keys: Keys, kind: str) -> dict[str, str]:
    """Of a batch processor; `kind` is how its variables are called."""
    return variables_of(keys, {key: f"OTEL_{kind}_{name}" for key, name in _BATCHES.items()})


def otlp(keys: Keys, signal: str, *, grpc: bool) -> dict[str, str]:
    """Of an exporter over OTLP, for the one signal."""
    start = f"OTEL_EXPORTER_OTLP_{signal.upper()}"
    protocol = "grpc" if grpc else _PROTOCOLS[keys.value("encoding") or "protobuf"]
    found = {
        f"{start}_PROTOCOL": protocol,
        f"{start}_ENDPOINT": keys.value("endpoint")
        or _DEFAULTS.get(protocol, f"http://localhost:4318/v1/{signal}"),
        **variables_of(keys, {"compression": f"{start}_COMPRESSION"}),
        **variables_of(
            keys.part("tls"),
            {
                "ca_file": f"{start}_CERTIFICATE",
                "key_file": f"{start}_CLIENT_KEY",
                "cert_file": f"{start}_CLIENT_CERTIFICATE",
                "insecure": f"{start}_INSECURE",
            },
        ),
    }
    if timeout := keys.value("timeout"):  # 0 is no limit; there always is one
        found[f"{start}_TIMEOUT"] = str(timeout / 1e3)
    if headers := pairs(keys.value("headers_list"), keys.parts("headers")):
        found[f"{start}_HEADERS"] = ",".join(f"{name}={quote(value)}" for name, value in headers.items())
    if signal == "metrics":
        if preference := keys.value("temporality_preference"):
            found["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] = preference.replace("_", "")
        if aggregation := keys.value("default_histogram_aggregation"):
            found["OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"] = aggregation
    return found


def pairs(listed: str | None, single: list[Keys]) -> dict[str, str]:
    """`name=value,name=value`, and single ones over them."""
    entries = (entry.partition("=") for entry in (listed or "").split(","))
    found = {
        name.strip(): unquote(value.strip()) for name, equals, value in entries if equals and name.strip()
    }
    return found | {each.value("name"): each.value("value") or "" for each in single}
