"""Groups of checks: `live`, `ready` and `startup`, and those of the settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

from bext_otel.config import GroupSettings

__all__ = ["OWN_GROUPS", "group_names", "members", "unknown"]

T = TypeVar("T")

OWN_GROUPS = ("live", "ready", "startup")
"""Groups that are there without settings."""

_NONE: Mapping[str, GroupSettings] = MappingProxyType({})


def group_names(groups: Mapping[str, GroupSettings] = _NONE) -> tuple[str, ...]:
    """Every group, ours first."""
    return (*OWN_GROUPS, *(name for name in groups if name not in OWN_GROUPS))


def members(
    name: str, settings: GroupSettings, registered: Mapping[str, T], critical: Iterable[str]
) -> dict[str, T]:
    """Those of the `registered` checks that belong to a group."""
    if "*" in settings.checks:
        return dict(registered)
    if settings.checks:
        return {check: registered[check] for check in settings.checks if check in registered}
    if name == "live":
        return {}
    return {check: registered[check] for check in critical} if name in OWN_GROUPS else dict(registered)


def unknown(settings: GroupSettings, registered: Iterable[str]) -> tuple[str, ...]:
    """Names in a group that no check has."""
    known = {*registered, "*"}
    return tuple(check for check in settings.checks if check not in known)
