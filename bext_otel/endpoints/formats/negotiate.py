"""Which form of an answer a client asks for: Accept and Accept-Encoding (RFC 9110, 12.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

__all__ = ["MetricsFormat", "gzip_wanted", "metrics_format"]

MetricsFormat: TypeAlias = Literal["prometheus", "openmetrics", "protobuf"]

# Longer headers are read up to here: what a client prefers stands in front, and no client may keep us busy.
_MAX_HEADER = 2048


def metrics_format(accept: str) -> MetricsFormat:
    """The format that a client likes best, of those that we speak; of several the one that tells most.

    Wildcards ask for Prometheus 0.0.4: who accepts anything gets the format of the specification.
    """
    liked: dict[MetricsFormat, float] = {"protobuf": 0.0, "openmetrics": 0.0, "prometheus": 0.0}
    for media_type, parameters, quality in _preferences(accept):
        if (form := _format(media_type, parameters)) is not None:
            liked[form] = max(liked[form], quality)
    best = max(liked, key=lambda form: liked[form])
    return best if liked[best] > 0 else "prometheus"


def _format(media_type: str, parameters: dict[str, str]) -> MetricsFormat | None:
    if media_type == "text/plain":
        return "prometheus"
    if media_type == "application/openmetrics-text" and parameters.get("version", "1.0.0") in {
        "1.0.0",
        "0.0.1",
    }:
        return "openmetrics"
    delimited = (
        parameters.get("proto") == "io.prometheus.client.MetricFamily"
        and parameters.get("encoding") == "delimited"
    )
    return "protobuf" if media_type == "application/vnd.google.protobuf" and delimited else None


def gzip_wanted(accept_encoding: str) -> bool:
    """Whether gzip is acceptable, and no less welcome than no coding at all."""
    qualities = {coding: quality for coding, _, quality in _preferences(accept_encoding)}
    gzip = max(
        (qualities[coding] for coding in ("gzip", "x-gzip") if coding in qualities),
        default=qualities.get("*", 0.0),
    )
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def _preferences(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """(value, its parameters, quality 0 to 1) of each element; an element whose quality can't be read is not
    wanted."""
    for element in header[:_MAX_HEADER].split(","):
        value, *rest = [part.strip() for part in element.split(";")]
        parameters = {
            name.strip().lower(): text.strip().strip('"')
            for name, _, text in (part.partition("=") for part in rest)
        }
        if value:
            yield value.lower(), parameters, _quality(parameters.pop("q", "1"))


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0
