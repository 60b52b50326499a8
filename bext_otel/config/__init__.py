"""Settings: `bext.config.toml`, the environment and explicit arguments, made into one frozen and validated
`Config`."""

from __future__ import annotations

from bext_otel.config.loading import Loaded, load
from bext_otel.config.model import (
    AccessSettings,
    AppHealthSettings,
    AppSettings,
    CacheSettings,
    CheckSettings,
    Config,
    EndpointsSettings,
    Exporters,
    GroupSettings,
    HealthSettings,
    Isolates,
    Level,
    LoggingSettings,
    MetricsSettings,
    RedactionSettings,
    Signal,
    Target,
    TelemetrySettings,
    ThresholdLevels,
    ThresholdSettings,
)

__all__ = [
    "AccessSettings",
    "AppHealthSettings",
    "AppSettings",
    "CacheSettings",
    "CheckSettings",
    "Config",
    "EndpointsSettings",
    "Exporters",
    "GroupSettings",
    "HealthSettings",
    "Isolates",
    "Level",
    "Loaded",
    "LoggingSettings",
    "MetricsSettings",
    "RedactionSettings",
    "Signal",
    "Target",
    "TelemetrySettings",
    "ThresholdLevels",
    "ThresholdSettings",
    "load",
]
