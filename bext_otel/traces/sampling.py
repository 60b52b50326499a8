"""What samplers decide: the SDK's own, and our ratio sampler, without the objects that they answer with.

A user's sampler is asked by the SDK's interface.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from inspect import signature
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    StaticSampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanContext, SpanKind

from bext_otel._compat import decision_of, delegates_of
from bext_otel.once import Once
from bext_otel.traces.ratio import ConsistentRatio

__all__ = ["SamplingRule", "ask", "rule_of"]

_log = logging.getLogger("bext_otel.traces")

# What a ratio of the SDK's looks at.
_LOW_BITS = TraceIdRatioBased.TRACE_ID_LIMIT
_ALL = _LOW_BITS + 1
_once = Once(8)


class SamplingRule:
    """A span is sampled if its trace id's low bits are less than `bound`, or, where `ratio` is a sampler, if
    that one samples it; where `by_parent`, that holds for roots alone, and what has a parent is sampled as
    its parent is."""

    __slots__ = ("bound", "by_parent", "ratio")

    def __init__(self, bound: int, *, by_parent: bool, ratio: ConsistentRatio | None = None) -> None:
        self.bound = bound
        self.by_parent = by_parent
        self.ratio = ratio

    def samples(self, parent: SpanContext | None, trace_id: int) -> bool:
        """Whether a span of this trace is recorded and sampled; it is dropped otherwise. Where there is a
        `ratio`, not for what that one decides on."""
        if parent is not None and self.by_parent:
            return bool(parent[3] & 1)  # trace_flags
        return trace_id & _LOW_BITS < self.bound


def rule_of(sampler: Sampler) -> SamplingRule | None:
    """The rule by which a sampler decides, if it is one of the SDK's or ours that can be put so; None: it has
    to be asked."""
    by_parent = False
    if isinstance(sampler, ParentBased) and type(sampler).should_sample is ParentBased.should_sample:
        root, *others = delegates_of(sampler)
        # Remote and local parents, sampled or not.
        if root is None or others != [ALWAYS_ON, ALWAYS_OFF, ALWAYS_ON, ALWAYS_OFF]:
            return None
        sampler, by_parent = root, True
    if isinstance(sampler, StaticSampler) and type(sampler).should_sample is StaticSampler.should_sample:
        bounds = {Decision.RECORD_AND_SAMPLE: _ALL, Decision.DROP: 0}
        decision = decision_of(sampler)
        bound = bounds.get(decision) if decision is not None else None
        return None if bound is None else SamplingRule(bound, by_parent=by_parent)
    if type(sampler) is TraceIdRatioBased:
        return SamplingRule(sampler.bound, by_parent=by_parent)
    if type(sampler) is ConsistentRatio:
        return SamplingRule(0, by_parent=by_parent, ratio=sampler)
    return None


@lru_cache(maxsize=64)
def _takes_state(kind: type) -> bool:
    """Whether samplers of a class want the parent's tracestate, as the SDK's interface has it. Older ones
    don't know it, and the SDK hands it to nobody."""
    try:
        return "trace_state" in signature(kind.should_sample).parameters  # type: ignore[attr-defined]  # a Sampler
    except (AttributeError, TypeError, ValueError):  # something written in C
        return False


def ask(
    sampler: Sampler,
    context: Context | None,
    parent: SpanContext | None,
    trace_id: int,
    name: str,
    kind: SpanKind,
    attributes: Any,
    links: Sequence[Link],
) -> SamplingResult:
    """What a user's sampler answers. From one that raises, or answers with something else, the trace goes on
    as its parent, and a root is sampled; one line tells."""
    try:
        state = {"trace_state": parent and parent.trace_state} if _takes_state(type(sampler)) else {}
        result = sampler.should_sample(context, trace_id, name, kind, attributes, links, **state)
        decision: object = result.decision
        if isinstance(decision, Decision):
            return result
        problem = f"it decided {decision!r}"
    except Exception as error:  # the application's span goes on
        problem = f"{type(error).__name__}: {error}"
    if _once.is_first(problem[:64]):
        _log.warning(
            "the sampler %s cannot be asked: %s; sampling as parents do, and each root",
            type(sampler).__qualname__,
            problem[:300],
        )
    sampled = parent is None or bool(parent.trace_flags & 1)
    return SamplingResult(
        Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP, attributes, parent and parent.trace_state
    )
