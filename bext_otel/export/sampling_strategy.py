"""Sampling strategies as Jaeger's Remote Sampling API has them (jaeger-idl, `api_v2/sampling.proto`), and
what each decides."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from bext_otel.export.protobuf_reader import double, fields, first
from bext_otel.traces.ratio import ConsistentRatio

__all__ = ["ByOperation", "RateLimit", "strategy_of_json", "strategy_of_protobuf"]

MAX_OPERATIONS = 2000
"""As many as Jaeger keeps for a service by default."""


class RateLimit:
    """So many times a second, and as many at once; at least one."""

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = max(per_second, 0.0)
        self._most = max(self._per_second, 1.0) if per_second > 0 else 0.0
        self._left, self._clock, self._at = self._most, clock, clock()

    def takes_one(self) -> bool:
        """Whether there is one left, which is gone now. Two threads may take the same one."""
        now = self._clock()
        left = min(self._left + (now - self._at) * self._per_second, self._most)
        self._at = now
        if left < 1:
            self._left = left
            return False
        self._left = left - 1
        return True


@dataclass(frozen=True)
class Operation:
    """A share of what has a name, and so many a second if that share is less."""

    ratio: ConsistentRatio
    least: RateLimit

    def sampler(self, trace_id: int) -> Sampler:
        """Who decides on this trace."""
        by_ratio, _ = self.ratio.begins(trace_id)
        if by_ratio:
            self.least.takes_one()
            return self.ratio
        return ALWAYS_ON if self.least.takes_one() else ALWAYS_OFF


@dataclass(frozen=True)
class ByOperation:
    """`named` by the name of the span; others, and whoever has no limit, by `ratio` or `limit`."""

    ratio: ConsistentRatio | None = None
    limit: RateLimit | None = None
    named: Mapping[str, Operation] = field(default_factory=dict)

    def sampler(self, name: str, trace_id: int) -> Sampler:
        """Who decides on a root of this name."""
        if (found := self.named.get(name)) is not None:
            return found.sampler(trace_id)
        if self.limit is not None:
            return ALWAYS_ON if self.limit.takes_one() else ALWAYS_OFF
        return self.ratio if self.ratio is not None else ALWAYS_OFF


def strategy_of_json(content: bytes) -> ByOperation:
    """The strategy of an answer over HTTP. Raises ValueError for what is none."""
    said = json.loads(content)
    if not isinstance(said, dict):
        raise ValueError("the answer is no object")
    return _strategy(said)


def strategy_of_protobuf(content: bytes) -> ByOperation:
    """The strategy of an answer over gRPC. Raises ValueError for what is none."""
    said: dict[str, Any] = {}
    for number, value in fields(content):
        if number == 2:
            said["probabilisticSampling"] = {"samplingRate": double(value, 1)}
        elif number == 3:
            said["rateLimitingSampling"] = {"maxTracesPerSecond": first(value, 1, 0)}
        elif number == 4:
            said["operationSampling"] = _operations(value)
    return _strategy(said)


def _operations(content: Any) -> dict[str, Any]:
    named = []
    for number, value in fields(content):
        if number == 3:
            share = first(value, 2, b"")
            named.append(
                {
                    "operation": bytes(first(value, 1, b"")).decode(errors="replace"),
                    "probabilisticSampling": {"samplingRate": double(share, 1)},
                }
            )
    return {
        "defaultSamplingProbability": double(content, 1),
        "defaultLowerBoundTracesPerSecond": double(content, 2),
        "perOperationStrategies": named,
    }


def _strategy(said: Mapping[str, Any]) -> ByOperation:
    try:
        if (operations := said.get("operationSampling")) is not None:
            least = float(operations.get("defaultLowerBoundTracesPerSecond") or 0)
            return ByOperation(
                _ratio(operations.get("defaultSamplingProbability")),
                named={
                    str(each["operation"]): Operation(
                        _ratio(each["probabilisticSampling"].get("samplingRate")), RateLimit(least)
                    )
                    for each in (operations.get("perOperationStrategies") or ())[:MAX_OPERATIONS]
                },
            )
        if (limit := said.get("rateLimitingSampling")) is not None:
            return ByOperation(limit=RateLimit(float(limit.get("maxTracesPerSecond") or 0)))
        if (share := said.get("probabilisticSampling")) is not None:
            return ByOperation(_ratio(share.get("samplingRate")))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the strategy has another form: {type(error).__name__}: {error}") from error
    raise ValueError("the answer has no strategy")


def _ratio(share: object) -> ConsistentRatio:
    return ConsistentRatio(float(share or 0))  # type: ignore[arg-type]  # what is no number raises
