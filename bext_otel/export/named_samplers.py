"""Samplers that `OTEL_TRACES_SAMPLER` names and the SDK has not, or has without a threshold for others to
count by."""

from __future__ import annotations

import math
from collections.abc import Iterator

from opentelemetry.sdk.trace.sampling import ParentBased, Sampler

from bext_otel.config.exporters import check_endpoint
from bext_otel.config.fields import Wrong
from bext_otel.config.upstream import SAMPLER
from bext_otel.traces.ratio import ConsistentRatio

__all__ = ["named_sampler"]

_ARGUMENT = f"{SAMPLER}_ARG"
# As Jaeger's own clients have it; the specification names no defaults.
_DEFAULTS = {
    "endpoint": "http://localhost:14250",
    "pollingIntervalMs": "60000",
    "initialSamplingRate": "0.001",
}


def named_sampler(name: str, argument: str, lines: list[str]) -> Sampler:
    """The sampler of one of `OWN_SAMPLERS`; what is wrong with its argument is a line, and its default."""
    if name.endswith("jaeger_remote"):
        from bext_otel.export.remote_sampler import RemoteSampler

        endpoint, milliseconds, rate = _remote(argument, lines)
        sampler: Sampler = RemoteSampler(endpoint, milliseconds / 1e3, rate)
    else:
        sampler = ConsistentRatio(float(argument or 1))  # what is no share has been taken out
    return ParentBased(sampler) if name.startswith("parentbased_") else sampler


def _remote(argument: str, lines: list[str]) -> tuple[str, float, float]:
    """`endpoint=http://localhost:14250,pollingIntervalMs=5000,initialSamplingRate=0.25`."""
    said = _DEFAULTS | dict(_pairs(argument, lines))
    try:
        check_endpoint(said["endpoint"], "grpc")
    except Wrong:
        lines.append(_instead("endpoint", said["endpoint"], "a URL"))
        said["endpoint"] = _DEFAULTS["endpoint"]
    milliseconds = _number("pollingIntervalMs", said, 1, 86_400_000, lines)
    return said["endpoint"], milliseconds, _number("initialSamplingRate", said, 0, 1, lines)


def _pairs(argument: str, lines: list[str]) -> Iterator[tuple[str, str]]:
    for entry in filter(None, (part.strip() for part in argument.split(","))):
        key, equals, value = (part.strip() for part in entry.partition("="))
        if equals and value and key in _DEFAULTS:
            yield key, value
        else:
            lines.append(f"{_ARGUMENT}: {key[:64]!r} is none of {', '.join(_DEFAULTS)}; ignored")


def _number(key: str, said: dict[str, str], least: float, most: float, lines: list[str]) -> float:
    try:
        number = float(said[key])
    except ValueError:
        number = math.nan
    if least <= number <= most:
        return number
    lines.append(_instead(key, said[key], f"a number from {least:g} to {most:g}"))
    return float(_DEFAULTS[key])


def _instead(key: str, value: str, expected: str) -> str:
    return f"{_ARGUMENT}: {key}={value[:64]!r}: expected {expected}; using {_DEFAULTS[key]}"
