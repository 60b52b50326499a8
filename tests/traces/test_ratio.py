"""A share of all traces by the specification's "TraceState: Probability Sampling"."""

from __future__ import annotations

import random

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace._sampling_experimental import composable_traceid_ratio_based, composite_sampler
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from bext_otel.traces.ratio import ConsistentRatio


@pytest.mark.parametrize(
    ("ratio", "threshold"),
    [
        (1, "0"),
        (0.5, "8"),
        (0.25, "c"),
        (0.1, "e666"),
        (1e-6, "ffffef39"),
        (2**-56, "ffffffffffffff"),
    ],
)
def test_a_threshold_has_as_many_digits_as_its_share_is_precise_by(ratio: float, threshold: str) -> None:
    sampled, state = ConsistentRatio(ratio).begins((1 << 56) - 1)
    assert (True, f"th:{threshold}") == (sampled, state.get("ot"))


def test_none_at_all_is_none() -> None:
    assert (False, 0) == (ConsistentRatio(0).begins((1 << 128) - 1)[0], len(ConsistentRatio(0).begins(1)[1]))


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        ConsistentRatio(ratio)


def below(state: str, trace_id: int = 1) -> trace.Context:
    parent = SpanContext(trace_id, 2, True, TraceFlags(1), TraceState.from_header([state]))
    return trace.set_span_in_context(NonRecordingSpan(parent))


@pytest.mark.parametrize("ratio", [0.5, 0.25, 1.0, 0.0])
def test_it_decides_as_upstream_s_composite_sampler(ratio: float) -> None:
    """Which is no part of the SDK's variables, and is given no parent's tracestate by the SDK's tracers."""
    ours, upstream = ConsistentRatio(ratio), composite_sampler(composable_traceid_ratio_based(ratio))
    numbers = random.Random(7)
    for _ in range(200):
        trace_id = numbers.getrandbits(128) | 1
        state = numbers.choice(
            ["v=1", "ot=th:8,v=1", f"ot=rv:{numbers.getrandbits(56):014x}", "ot=th:4;rv:zz;x:y,w=2", "ot=x:y"]
        )
        context = below(state, trace_id)
        parent = trace.get_current_span(context).get_span_context().trace_state
        expected = upstream.should_sample(context, trace_id, "s", trace_state=parent)
        found = ours.should_sample(context, trace_id, "s")
        assert expected.decision is found.decision
        said, kept = (dict((each.trace_state or {}).items()) for each in (expected, found))
        # Upstream leaves the threshold of a parent's to what is dropped, where there is nothing else to say.
        if found.decision is not Decision.DROP or "th" not in said.get("ot", ""):
            assert said == kept


@pytest.mark.specification(
    "Beyond the rows",
    "Trace SDK: a TraceId that is not random gets explicit randomness (`rv`)",
)
def test_a_trace_whose_id_is_not_random_brings_its_randomness() -> None:
    shares = [ConsistentRatio(0.5).begins_unrandom() for _ in range(400)]
    assert 100 < sum(sampled for sampled, _ in shares) < 300
    for sampled, state in shares:
        pairs = dict(pair.split(":") for pair in (state.get("ot") or "").split(";"))
        assert (int(pairs["rv"], 16) >= 1 << 55) == sampled == ("th" in pairs)


def test_a_member_that_grows_too_long_keeps_what_sampling_needs() -> None:
    long = f"ot=rv:90000000000000;x:{'y' * 235}"
    sampled, state = ConsistentRatio(0.5).goes_on(TraceState.from_header([long]), 1)
    assert (True, "th:8;rv:90000000000000") == (sampled, state.get("ot"))
