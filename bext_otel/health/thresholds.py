"""What figures among a check's details mean for its status, by `[health.thresholds]`."""

from __future__ import annotations

from dataclasses import replace

from bext_otel.config import ThresholdLevels, ThresholdSettings
from bext_otel.health.checks import Check, Status, severity

__all__ = ["judged"]

_LOWER_IS_WORSE = frozenset({"hit_rate", "free_mb"})
_LEVELS: tuple[Status, ...] = ("unhealthy", "degraded")


def judged(check: Check, thresholds: ThresholdSettings) -> Check:
    """The same, but for a worse status where a figure is past its threshold."""
    for name in thresholds.__struct_fields__:
        figure = check.latency_ms if name == "latency_ms" else check.details.get(name)
        if isinstance(figure, bool) or not isinstance(figure, (int, float)):
            continue
        status = _status(figure, getattr(thresholds, name), lower_is_worse=name in _LOWER_IS_WORSE)
        if severity(status) > severity(check.status):
            reason = f"{name} is {figure:.6g}"
            check = replace(check, status=status, details={**check.details, "reason": reason})
    return check


def _status(figure: float, levels: ThresholdLevels, *, lower_is_worse: bool) -> Status:
    for level in _LEVELS:
        limit = getattr(levels, level)
        if limit and (figure < limit if lower_is_worse else figure > limit):
            return level
    return "healthy"
