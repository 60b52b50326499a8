"""Sampling of a share of all traces that others can count on: "TraceState: Probability Sampling" of the
specification.

A trace has 56 random bits (the end of its id, or `rv` of its tracestate), and is sampled where they reach a
threshold, which travels as `th` in the tracestate: whoever counts spans knows how many each stands for, and
samplers of other languages and collectors, with a ratio of their own, take part of the same traces.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import urandom

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import DEFAULT_TRACE_STATE, Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes

__all__ = ["ConsistentRatio"]

_BITS = 56
_MOST = 1 << _BITS
_RANDOM = _MOST - 1
_DIGITS = _BITS // 4
# More digits than a share is precise by say nothing and make headers longer.
_PRECISION = 4
_KEY = "ot"
_MAX_VALUE = 256
_HEX = re.compile("[0-9a-f]{14}")


class ConsistentRatio(TraceIdRatioBased):
    """Samples `ratio` (0 to 1) of all traces, by the specification's `TraceIdRatioBased`; raises ValueError
    for another one.

    It decides for itself, whatever a parent says: as the root of a `ParentBased` it begins traces only. It is
    the SDK's ratio sampler for whoever asks.
    """

    def __init__(self, ratio: float) -> None:
        if not 0 <= ratio <= 1:
            raise ValueError(f"the share of traces that is sampled is {ratio!r}; expected 0 to 1, e.g. 0.1")
        super().__init__(ratio)
        self.threshold = _rounded(_MOST - round(ratio * _MOST))
        self._th = f"{self.threshold:0{_DIGITS}x}".rstrip("0") or "0"
        self._root_state = TraceState([(_KEY, f"th:{self._th}")])

    def begins(self, trace_id: int) -> tuple[bool, TraceState]:
        """Whether a root whose id is random is sampled, and its tracestate."""
        sampled = trace_id & _RANDOM >= self.threshold
        return sampled, self._root_state if sampled else DEFAULT_TRACE_STATE

    def begins_unrandom(self) -> tuple[bool, TraceState]:
        """The same for one whose id is not; its tracestate brings the randomness that all of its trace goes
        by."""
        random = int.from_bytes(urandom(_BITS // 8), "big")
        return self.goes_on(TraceState([(_KEY, f"rv:{random:0{_DIGITS}x}")]), 0)

    def goes_on(self, state: TraceState, trace_id: int) -> tuple[bool, TraceState]:
        """Whether a span is sampled that has a parent of this tracestate, and its own tracestate."""
        pairs = _pairs(state.get(_KEY, ""))
        random = _hex(dict(pairs).get("rv", ""))
        sampled = (trace_id & _RANDOM if random is None else random) >= self.threshold
        # What is dropped stands for nothing, so that nobody may count it.
        kept = [("th", self._th)] if sampled else []
        kept += [pair for pair in pairs if pair[0] != "th" and (pair[0] != "rv" or random is not None)]
        value = ";".join(f"{name}:{text}" for name, text in kept)
        if len(value) > _MAX_VALUE:
            value = ";".join(f"{name}:{text}" for name, text in kept if name in {"th", "rv"})
        if value:
            return sampled, state.update(_KEY, value)
        return sampled, state.delete(_KEY) if _KEY in state else state

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See `opentelemetry.sdk.trace.sampling.Sampler`."""
        parent = get_current_span(parent_context).get_span_context()
        sampled, state = (
            self.goes_on(parent.trace_state, trace_id) if parent.is_valid else self.begins(trace_id)
        )
        decision = Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP
        return SamplingResult(decision, attributes if sampled else None, state)

    def get_description(self) -> str:
        """See `opentelemetry.sdk.trace.sampling.Sampler`."""
        return f"TraceIdRatioBased{{{self.rate}}}"


def _rounded(threshold: int) -> int:
    """To so many digits after those that a small share shares with none at all (`fff...`)."""
    if threshold in {0, _MOST}:
        return threshold
    leading = _DIGITS - len(f"{_MOST - threshold:x}")
    digits = min(leading + _PRECISION, _DIGITS)
    unit = 1 << 4 * (_DIGITS - digits)
    return min((threshold + unit // 2) // unit * unit, _MOST - 1)


def _pairs(value: str) -> list[tuple[str, str]]:
    found = (member.partition(":") for member in value[:_MAX_VALUE].split(";"))
    return [(name, text) for name, colon, text in found if name and colon]


def _hex(text: str) -> int | None:
    """An explicit random value; None for what is none."""
    return int(text, 16) if _HEX.fullmatch(text) else None
