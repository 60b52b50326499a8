"""Every exception of bext-otel."""

from __future__ import annotations

__all__ = ["BextOtelError", "CatalogueError", "ConfigError"]


class BextOtelError(Exception):
    """Base of every exception that bext-otel raises on purpose."""


class ConfigError(BextOtelError, ValueError):
    """A setting given in code is wrong; the message names the setting, the value and the remedy."""


class CatalogueError(BextOtelError, ValueError):
    """A row of the catalogue contradicts itself, or a name or label is used that no row declares."""
