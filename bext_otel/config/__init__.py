"""Settings: `bext.config.toml`, the environment and explicit arguments, made into one frozen and validated
`Config`."""

from __future__ import annotations

from bext_otel.config.loading import Loaded, load
from bext_otel.config.model import (
    App,
    Cache,
    Config,
    Exporters,
    Health,
    Isolates,
    Level,
    Logging,
    Metrics,
    Signal,
    Target,
    Telemetry,
)

__all__ = [
    "App",
    "Cache",
    "Config",
    "Exporters",
    "Health",
    "Isolates",
    "Level",
    "Loaded",
    "Logging",
    "Metrics",
    "Signal",
    "Target",
    "Telemetry",
    "load",
]
