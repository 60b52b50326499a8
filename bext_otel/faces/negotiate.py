"""Which form of an answer a client asks for: Accept and Accept-Encoding (RFC 9110, 12.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

__all__ = ["TextFormat", "gzip_wanted", "text_format"]

TextFormat: TypeAlias = Literal["prometheus", "openmetrics"]

# Longer headers are read up to here: what a client prefers stands in front, and no client may keep us busy.
_MAX_HEADER = 2048


def text_format(accept: str) -> TextFormat:
    """OpenMetrics if the client likes it at least as well as plain text, in a version that we speak; else Prometheus 0.0.4.

    Wildcards don't ask for OpenMetrics: who accepts anything gets the format of the specification.
    """
    openmetrics = plain = 0.0
    for media_type, parameters, quality in _preferences(accept):
        if media_type == "application/openmetrics-text" and parameters.get("version", "1.0.0") in {"1.0.0", "0.0.1"}:
            openmetrics = max(openmetrics, quality)
        elif media_type == "text/plain":
            plain = max(plain, quality)
    return "openmetrics" if openmetrics > 0 and openmetrics >= plain else "prometheus"


def gzip_wanted(accept_encoding: str) -> bool:
    """Whether gzip is acceptable, and no less welcome than no coding at all."""
    qualities = {coding: quality for coding, _, quality in _preferences(accept_encoding)}
    gzip = max((qualities[coding] for coding in ("gzip", "x-gzip") if coding in qualities), default=qualities.get("*", 0.0))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def _preferences(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """(value, its parameters, quality 0 to 1) of each element; an element whose quality can't be read is not wanted."""
    for element in header[:_MAX_HEADER].split(","):
        value, *rest = [part.strip() for part in element.split(";")]
        parameters = {name.strip().lower(): text.strip().strip('"') for name, _, text in (part.partition("=") for part in rest)}
        if value:
            yield value.lower(), parameters, _quality(parameters.pop("q", "1"))


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0
