"""The specification's rows on sampling and ids: parts of a user's own, and those that variables name."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.fresh import fresh
from tests.serving import serving, serving_rpc
from tests.specification.programs import attributes, running

OWN = """
import bext_otel
from opentelemetry import context, trace
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

asked = []

class Own(Sampler):
    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        asked.append([name, context.get_value("colour", parent_context), trace.get_current_span(parent_context).get_span_context().span_id,
                      trace_state and trace_state.to_header()])
        state = TraceState([("own", name)]) if trace_state is None else trace_state.update("own", "changed")
        return SamplingResult(Decision.DROP if name == "dropped" else Decision.RECORD_AND_SAMPLE, {"sampled.by": "own"}, state)
    def get_description(self):
        return "own"

class Ids(IdGenerator):
    spans, traces = 0, 0
    def generate_span_id(self):
        self.spans += 1
        return self.spans
    def generate_trace_id(self):
        self.traces += 1
        return self.traces << 64 | 5

runs = bext_otel.configure(sampler=Own(), id_generator=Ids())
tracer = trace.get_tracer("shop")
remote = SpanContext(9, 8, True, TraceFlags(1), TraceState([("vendor", "1")]))
here = context.set_value("colour", "blue", trace.set_span_in_context(trace.NonRecordingSpan(remote)))
tracer.start_span("root").end()
tracer.start_span("below", here).end()
dropped = tracer.start_span("dropped")
runs.shutdown()
show({"asked": asked, "dropped": [dropped.is_recording(), dropped.get_span_context().span_id, dropped.get_span_context().trace_state.to_header()]})
"""


@pytest.mark.specification(
    "Traces",
    "Sampling: Allow samplers to modify tracestate",
    "Sampling: ShouldSample gets full parent Context",
    "Sampling: IdGenerators",
    "Sampling: New Span ID created also for non-recording Spans",
)
def test_a_sampler_and_an_id_generator_of_one_s_own(tmp_path: Path) -> None:
    with running(OWN, tmp_path) as run:
        root, below = run.span("root"), run.span("below")
    assert [
        ["root", None, 0, None],
        ["below", "blue", 8, "vendor=1"],
        ["dropped", None, 0, None],
    ] == run.shown["asked"]
    assert ("own=root", "own=changed,vendor=1") == (root.trace_state, below.trace_state)
    assert {"sampled.by": "own"} == attributes(root.attributes)
    assert [1 << 64 | 5, 9] == [int(span.trace_id.hex(), 16) for span in (root, below)]
    assert [1, 2] == [int(span.span_id.hex(), 16) for span in (root, below)]
    assert [False, 3, "own=dropped"] == run.shown["dropped"]


RATIO = """
import bext_otel
from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

class Ids(IdGenerator):
    made = 0
    def generate_span_id(self):
        return 1
    def generate_trace_id(self):
        Ids.made += 1
        # Just below the threshold of half of all, and at it.
        return 1 << 64 | (0x7fffffffffffff if Ids.made == 1 else 0x80000000000000)
    def is_trace_id_random(self):
        return True

bext_otel.configure(id_generator=Ids())
tracer = trace.get_tracer("shop")
told = []
for _ in range(2):
    span = tracer.start_span("root")
    child = tracer.start_span("child", trace.set_span_in_context(span))
    told += [[bool(each.get_span_context().trace_flags & 1), each.get_span_context().trace_state.to_header()] for each in (span, child)]
def below(state, trace_id):
    remote = SpanContext(trace_id, 8, True, TraceFlags(1), TraceState.from_header([state]))
    made = tracer.start_span("below", trace.set_span_in_context(trace.NonRecordingSpan(remote))).get_span_context()
    told.append([bool(made.trace_flags & 1), made.trace_state.to_header()])
below("ot=th:c;rv:90000000000000;x:y,v=1", 1)
below("ot=th:c,v=1", 1)
show(told)
"""


@pytest.mark.specification(
    "Traces", "Sampling: TraceIdRatioBased sampler implements OpenTelemetry tracestate `th` field"
)
@pytest.mark.specification("Environment Variables", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG")
@pytest.mark.parametrize(
    ("sampler", "remote"),
    [
        ("parentbased_traceidratio", [[True, "ot=th:c;rv:90000000000000;x:y,v=1"], [True, "ot=th:c,v=1"]]),
        # A threshold of its own for what follows, by the trace's own randomness; nothing to count by where it drops.
        ("traceidratio", [[True, "ot=th:8;rv:90000000000000;x:y,v=1"], [False, "v=1"]]),
    ],
)
def test_a_share_of_all_traces_tells_its_threshold(tmp_path: Path, sampler: str, remote: list[Any]) -> None:
    shown, lines = fresh(RATIO, tmp_path, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG="0.5")
    assert [[False, ""], [False, ""], [True, "ot=th:8"], [True, "ot=th:8"], *remote] == shown
    assert [] == lines


COMPOSED = """
import bext_otel
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace._sampling_experimental import (
    composable_parent_threshold, composable_rule_based, composable_always_off, composable_traceid_ratio_based, composite_sampler)
from opentelemetry.sdk.trace.sampling import AlwaysRecordSampler
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

class Probes:
    def __call__(self, parent_ctx, name, span_kind, attributes, links, trace_state):
        return name == "probe"
    def __str__(self):
        return "probes"

ended = []

class Hears(SpanProcessor):
    def on_end(self, span):
        ended.append([span.name, span.context.trace_flags.sampled])

rules = [(Probes(), composable_always_off()), (lambda **_: True, composable_parent_threshold(composable_traceid_ratio_based(1.0)))]
runs = bext_otel.configure(sampler=AlwaysRecordSampler(composite_sampler(composable_rule_based(rules))), span_processors=[Hears()])
tracer = trace.get_tracer("shop")
tracer.start_span("probe").end()
tracer.start_span("kept").end()
remote = SpanContext(0xffffffffffffffff, 8, True, TraceFlags(1), TraceState.from_header(["ot=th:c"]))
tracer.start_span("below", trace.set_span_in_context(trace.NonRecordingSpan(remote))).end()
runs.shutdown()
show(ended)
"""


@pytest.mark.specification(
    "Traces",
    "Sampling: CompositeSampler and built-in ComposableSamplers",
    "Sampling: Sampler: AlwaysRecord",
)
def test_samplers_are_composed_and_processors_see_what_is_not_sampled(tmp_path: Path) -> None:
    with running(COMPOSED, tmp_path) as run:
        exported = {span.name: span.trace_state for span, _, _ in run.spans()}
    assert [["probe", False], ["kept", True], ["below", True]] == run.shown
    assert {"kept": "ot=th:0", "below": "ot=th:c"} == exported


REMOTE = """
import time
import bext_otel
from opentelemetry import trace
runs = bext_otel.configure()
tracer = trace.get_tracer("shop")
until = time.monotonic() + 15
while not tracer.start_span("checkout").is_recording() and time.monotonic() < until:
    time.sleep(0.02)
show([tracer.start_span(name).is_recording() for name in ("checkout", "probe")])
"""

STRATEGY = {
    "strategyType": "PROBABILISTIC",
    "operationSampling": {
        "defaultSamplingProbability": 0,
        "defaultLowerBoundTracesPerSecond": 0,
        "perOperationStrategies": [{"operation": "checkout", "probabilisticSampling": {"samplingRate": 1}}],
    },
}


@contextmanager
def over_http() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps(STRATEGY).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield f"{url}/sampling", asked


def message(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | 2, len(content))) + content


@contextmanager
def over_grpc() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    share = message(2, b"\x09" + struct.pack("<d", 1.0))
    answer = message(4, message(3, message(1, b"checkout") + share))

    def strategy(request: bytes, _: object) -> bytes:
        asked.append(request[2:].decode())
        return answer

    handler = grpc.method_handlers_generic_handler(
        "jaeger.api_v2.SamplingManager",
        {"GetSamplingStrategy": grpc.unary_unary_rpc_method_handler(strategy)},
    )
    with serving_rpc(lambda server: server.add_generic_rpc_handlers((handler,))) as url:
        yield url, asked


@pytest.mark.specification("Traces", "Sampling: Sampler: JaegerRemoteSampler")
@pytest.mark.parametrize(
    ("serving", "expected"), [(over_http, "/sampling?service=my+shop"), (over_grpc, "my shop")]
)
def test_what_is_sampled_is_asked_of_a_collector(tmp_path: Path, serving: Any, expected: str) -> None:
    """By the name of the span, as Jaeger has it."""
    with serving() as (endpoint, asked):
        shown, lines = fresh(
            REMOTE,
            tmp_path,
            OTEL_SERVICE_NAME="my shop",
            OTEL_TRACES_SAMPLER="parentbased_jaeger_remote",
            OTEL_TRACES_SAMPLER_ARG=f"endpoint={endpoint},pollingIntervalMs=100,initialSamplingRate=0",
        )
    assert [True, False] == shown
    assert {expected} == set(asked)
    assert [] == lines


@pytest.mark.specification(
    "Beyond the rows",
    "Environment: an unset or wrong value of a variable is its default, with a warning",
)
def test_a_collector_that_is_away_is_one_line_and_the_initial_rate(tmp_path: Path) -> None:
    shown, lines = fresh(
        """
        import time, logging
        import bext_otel
        from opentelemetry import trace
        heard = []
        logging.getLogger("bext_otel.export").addFilter(lambda record: heard.append(record) or True)
        runs = bext_otel.configure()
        tracer, until = trace.get_tracer("shop"), time.monotonic() + 15
        found = tracer.start_span("checkout").is_recording()
        while not heard and time.monotonic() < until:
            time.sleep(0.02)
        show(found)
        """,
        tmp_path,
        OTEL_TRACES_SAMPLER="jaeger_remote",
        OTEL_TRACES_SAMPLER_ARG="endpoint=http://127.0.0.1:9/sampling,pollingIntervalMs=never,initialSamplingRate=1,x=1",
    )
    assert shown is True
    said = ["'x' is none of endpoint", "pollingIntervalMs=never: expected a number", "cannot be asked of"]
    assert len(said) == len(lines)
    assert all(
        part in line["message"].replace("'never'", "never") for part, line in zip(said, lines, strict=True)
    )
