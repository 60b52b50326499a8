"""Checks that installed packages offer by the entry point group `bext_otel.health`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint

from bext_otel.health.checks import Check

__all__ = ["GROUP", "register_offered"]

GROUP = "bext_otel.health"
"""The group: the name of an entry point is the check's, its object a function or coroutine function."""


def register_offered(
    points: Iterable[EntryPoint], register: Callable[..., object], *, failed: Callable[..., object]
) -> None:
    """Hand each of `GROUP`'s to `register(name, function)`. One that can't be loaded is unhealthy, and told
    to `failed`: a check that nobody asks would look as one that is well."""
    for point in points:
        try:
            register(point.name, point.load())
        except Exception as error:
            failed("health check %s of %s: %s: %s", point.name, point.value, type(error).__name__, error)
            register(point.name, _missing(point))


def _missing(point: EntryPoint) -> Callable[[], Check]:
    return lambda: Check.unhealthy(reason=f"entry point {point.name} could not be loaded")
