"""What a probe found, and what several findings add up to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from bext_otel.logs.values import plain
from bext_otel.redaction import redact_details

__all__ = ["Check", "Status", "combined", "found", "severity", "weighed"]

Status = Literal["healthy", "starting", "degraded", "unhealthy"]
"""From the best to the worst; `starting`: not asked yet."""

_STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Check:
    """A finding: its status, details that are shown beside it, and how long the probe took in
    milliseconds."""

    status: Status
    details: Mapping[str, Any] = field(default_factory=dict)
    latency_ms: float | None = None

    @classmethod
    def healthy(cls, **details: Any) -> Check:
        """All is well."""
        return cls("healthy", details)

    @classmethod
    def degraded(cls, **details: Any) -> Check:
        """It works, though not as it should."""
        return cls("degraded", details)

    @classmethod
    def unhealthy(cls, **details: Any) -> Check:
        """It does not work."""
        return cls("unhealthy", details)

    def document(self) -> dict[str, Any]:
        """Status, latency where it was measured, then the details without secrets; a detail never hides the
        two."""
        head: dict[str, Any] = {"status": self.status}
        if self.latency_ms is not None:
            head["latency_ms"] = round(self.latency_ms, 1)
        details = {name: _shown(value) for name, value in self.details.items() if name not in head}
        head.update(redact_details(details))
        return head


def combined(statuses: Iterable[Status]) -> Status:
    """The worst of them; healthy if there are none."""
    return max(statuses, key=severity, default="healthy")


def severity(status: Status) -> int:
    """How bad it is; 0 is healthy."""
    return _STATUSES.index(status)


def weighed(status: Status, *, critical: bool) -> Status:
    """What a check means for the whole: without something that isn't critical the service still works,
    degraded, and nobody has to wait for its first answer."""
    if critical:
        return status
    return {"unhealthy": "degraded", "starting": "healthy"}.get(status, status)  # type: ignore[return-value]


def found(answer: object) -> Check:
    """What a probe's answer means.

    A `Check` is itself; a mapping is details, healthy unless its `status` says otherwise; False is unhealthy.
    Any other answer means that the probe got through (a cursor, a reply, None), and so healthy.
    """
    if isinstance(answer, Check):
        return answer
    if answer is False:
        return Check.unhealthy()
    if isinstance(answer, Mapping):
        details = {str(name): value for name, value in answer.items()}
        status = details.pop("status", "healthy")
        return Check(status if status in _STATUSES else "healthy", details)
    return Check.healthy()


def _shown(value: object) -> Any:
    """`value` as JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return plain(value)
