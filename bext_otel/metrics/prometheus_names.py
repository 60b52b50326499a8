"""Names and units of instruments as Prometheus has them (OpenTelemetry specification, "Prometheus and
OpenMetrics compatibility")."""

from __future__ import annotations

import re

from bext_otel.declarations import UNITS

__all__ = ["prometheus_name", "unit_word"]

_ILLEGAL = re.compile(r"[^a-zA-Z0-9:]+")
_ANNOTATION = re.compile(r"{.*}")  # UCUM's, which is no unit

# As the collector has them, but for UCUM's kilo, which is a small letter.
_WORDS = {
    **UNITS,
    "TiBy": "tibibytes",
    "kBy": "kilobytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "1": "",
}
_PER = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}


def prometheus_name(name: str, unit: str, *, counter: bool, total: bool = True) -> str:
    """The standard translation of an instrument's name and unit to Prometheus.

    Ratios of unit `1` end in `_ratio` when they are gauges; a counter ends in `_total`, unless `total`
    says otherwise.
    """
    legal = _ILLEGAL.sub("_", f"_{name[1:]}" if name[:1].isdigit() else name)
    suffix = unit_word(unit)
    if unit == "1" and not counter:
        suffix = "ratio"
    if suffix and not legal.endswith(f"_{suffix}"):
        legal = f"{legal}_{suffix}"
    return f"{legal}_total" if counter and total and not legal.endswith("_total") else legal


def unit_word(unit: str) -> str:
    """A UCUM unit as the word that names of Prometheus end in; empty for one that is told nowhere."""
    unit = _ANNOTATION.sub("", unit)
    if unit in _WORDS:
        return _WORDS[unit]
    top, _, bottom = (_ILLEGAL.sub("_", part) for part in unit.partition("/"))
    if bottom:
        top, bottom = _WORDS.get(top, top), _PER.get(bottom, bottom)
        return f"{top}_per_{bottom}" if top else f"per_{bottom}"
    return _ILLEGAL.sub("_", unit).strip("_")
