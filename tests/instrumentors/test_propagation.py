"""Trace context and baggage of incoming requests: strict, silent about what is wrong, and nearly free where
there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.instrumentation.propagators import TraceResponsePropagator, set_global_response_propagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bext_otel.apps import current_app
from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.propagation import (
    clean_baggage,
    clean_traceparent,
    clean_tracestate,
    extract,
    extract_parent,
    reads_parent_alone,
)
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import Header, ask, ask_wsgi

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


class Seen:
    """What an application sees of the context it works in."""

    def __init__(self) -> None:
        self.baggage: dict[str, Any] = {}
        self.app: str | None = None
        self.state = ""

    def look(self) -> None:
        self.baggage = dict(baggage.get_all())
        self.app = current_app()
        self.state = trace.get_current_span().get_span_context().trace_state.to_header()


def request(kind: str, headers: list[Header]) -> Seen:
    seen = Seen()
    if kind == "asgi":

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.look()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        ask(ASGIMiddleware(app), headers=headers)
    else:

        def wsgi_app(environ: Any, start_response: Any) -> Any:
            seen.look()
            start_response("200 OK", [])
            return []

        joined: dict[str, str] = {}
        for name, value in headers:
            joined[name] = f"{joined[name]},{value}" if name in joined else value  # as servers do
        ask_wsgi(WSGIMiddleware(wsgi_app), headers=list(joined.items()))
    return seen


KINDS = pytest.mark.parametrize("kind", ["asgi", "wsgi"])


@KINDS
def test_a_traceparent_is_the_parent_and_its_state_goes_on(telemetry: Telemetry, kind: str) -> None:
    seen = request(kind, [("traceparent", GOOD), ("tracestate", "a=1,b@c=2")])
    parent = telemetry.server().parent
    assert (int(TRACE, 16), int(SPAN, 16), True) == (parent.trace_id, parent.span_id, parent.is_remote)
    assert "a=1,b@c=2" == seen.state


BAD = {
    "empty": [""],
    "short": [GOOD[:-1]],
    "long": [f"{GOOD}-extra"],
    "10 kB": ["0" * 10_000],
    "10 kB, a future version": [f"01-{TRACE}-{SPAN}-01-" + "x" * 10_000],
    "twice": [GOOD, GOOD],
    "twice, different": [GOOD, GOOD.replace("b7", "c8")],
    "upper case": [GOOD.upper()],
    "version ff": ["ff" + GOOD[2:]],
    "no trace id": [f"00-{'0' * 32}-{SPAN}-01"],
    "no span id": [f"00-{TRACE}-{'0' * 16}-01"],
    "other digits": [GOOD.replace("0af7", "\u00b2af7")],
    "line break": [GOOD + "\n"],
    "nul": ["\0" + GOOD[1:]],
}


@KINDS
@pytest.mark.parametrize("name", BAD)
def test_a_bad_traceparent_starts_a_new_trace_and_is_not_repeated_in_logs(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture, kind: str, name: str
) -> None:
    caplog.set_level(0)
    headers = [("traceparent", value) for value in BAD[name]]
    seen = request(kind, [*headers, ("tracestate", "a=1")])
    assert None is telemetry.server().parent
    assert "" == seen.state
    assert "" == "".join(record.getMessage() for record in caplog.records if record.name != "asyncio")
    assert {("shop", "GET", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)


FIVE = ",".join(f"k{n}={'y' * 90}" for n in range(5))
STATES = {
    "a=1,a=2": "a=1",
    "A=1,b=2": "b=2",
    "a=1,b": "a=1",
    "a=\u00e9,b=2": "b=2",
    "a= ,b=2": "b=2",
    "a=1=2,b=2": "b=2",
    "@a=1,b=2": "b=2",
    "k" * 257 + "=1,b=2": "b=2",
    # By level 2 only.
    "1a=1": "1a=1",
    "b=2,1a=1,c=3": "b=2,1a=1,c=3",
    "a@b@c=1,b=2": "a@b@c=1,b=2",
    "a@=1": "a@=1",
    "t" * 242 + "@v=1": "t" * 242 + "@v=1",
    "k" * 256 + "=1": "k" * 256 + "=1",
    # Of more than 512 characters, the long ones go, and then the last ones.
    f"a=1,long={'x' * 200},{FIVE}": f"a=1,{FIVE}",
    f"{FIVE},k5={'y' * 90},k6=z": FIVE,
    # As the test suite of W3C has it.
    ",".join(f"k{n}=1" for n in range(33)): "",
    "A=1": "",
}


@KINDS
@pytest.mark.parametrize("state", STATES)
def test_bad_members_of_a_tracestate_are_dropped_and_the_others_go_on(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture, kind: str, state: str
) -> None:
    caplog.set_level(0)
    seen = request(kind, [("traceparent", GOOD), ("tracestate", state)])
    assert int(TRACE, 16) == telemetry.server().context.trace_id
    assert STATES[state] == seen.state
    assert "" == "".join(record.getMessage() for record in caplog.records if record.name != "asyncio")


def test_a_tracestate_of_level_2_can_be_changed(caplog: pytest.LogCaptureFixture) -> None:
    """As samplers do."""
    headers = {"traceparent": [GOOD], "tracestate": ["1a=1,b=2"]}
    state = trace.get_current_span(extract(headers, Context())).get_span_context().trace_state
    assert "ot=th:8,1a=1,b=2" == state.add("ot", "th:8").to_header()
    assert "1a=3,b=2" == state.update("1a", "3").to_header()
    assert "1a=1" == state.delete("b").to_header()
    assert "1a=1,b=2" == state.add("B", "1").to_header()


@KINDS
def test_tracestate_headers_are_one_list(telemetry: Telemetry, kind: str) -> None:
    assert (
        "a=1,b=2,c=3"
        == request(kind, [("traceparent", GOOD), ("tracestate", "a=1 ,\tb=2,"), ("tracestate", "c=3")]).state
    )


@KINDS
def test_baggage_headers_are_one_list_and_pluses_are_pluses(telemetry: Telemetry, kind: str) -> None:
    seen = request(kind, [("baggage", "user=a+b;internal, x=1"), ("baggage", "y=a%20b")])
    assert {"user": "a+b", "x": "1", "y": "a b"} == seen.baggage


@KINDS
def test_bad_baggage_is_dropped_and_not_repeated_in_logs(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(0)
    seen = request(kind, [("baggage", f"ok=1,no value,sp ace=1,=2,b=\u00e9,long={'x' * 5000},last=2")])
    assert {"ok": "1", "last": "2"} == seen.baggage
    assert "" == "".join(record.getMessage() for record in caplog.records if record.name != "asyncio")


@KINDS
def test_blanks_that_belong_to_a_value_of_baggage_stay(telemetry: Telemetry, kind: str) -> None:
    seen = request(kind, [("baggage", "a=%20x, b = y%20%20 ,c=%20,d=%09z,e=plain")])
    assert {"a": " x", "b": "y  ", "c": " ", "d": "\tz", "e": "plain"} == seen.baggage


@KINDS
def test_baggage_past_the_limit_is_dropped(telemetry: Telemetry, kind: str) -> None:
    assert {} == request(kind, [("baggage", ",".join(f"k{n}={'x' * 50}" for n in range(500)))]).baggage


@KINDS
@pytest.mark.parametrize("name", ["bext.app", "bext%2Eapp", "bext.app%20"])
def test_an_app_that_a_client_names_is_neither_believed_nor_passed_on(
    telemetry: Telemetry, kind: str, name: str
) -> None:
    seen = request(kind, [("baggage", f"{name}=admin")])
    assert ("shop", {}) == (seen.app, seen.baggage)


class OneHeader(TextMapPropagator):
    """Another propagator, as B3 or a vendor's."""

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = None) -> Context:
        value = getter.get(carrier, "X-Vendor-Trace")
        return baggage.set_baggage("vendor", value[0], context) if value else context or Context()

    def inject(self, carrier: Any, context: Context | None = None, setter: Any = None) -> None:
        """Nothing goes out."""

    @property
    def fields(self) -> set[str]:
        return {"x-vendor-trace"}


@pytest.fixture
def vendor() -> Iterator[None]:
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(OneHeader())
    yield
    propagate.set_global_textmap(before)


@KINDS
def test_the_global_propagator_decides_what_is_read(telemetry: Telemetry, vendor: None, kind: str) -> None:
    seen = request(kind, [("x-vendor-trace", "7"), ("traceparent", GOOD)])
    assert None is telemetry.server().parent
    assert "7" == seen.baggage["vendor"]


class OnlyReads(OneHeader):
    @property
    def fields(self) -> set[str]:
        return set()


@KINDS
@pytest.mark.parametrize(
    "make", [lambda each: each, lambda each: CompositePropagator([TraceContextTextMapPropagator(), each])]
)
def test_a_propagator_that_only_reads_is_asked(
    telemetry: Telemetry, kind: str, make: Callable[[Any], Any]
) -> None:
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(make(OnlyReads()))
    try:
        assert "7" == request(kind, [("x-vendor-trace", "7")]).baggage["vendor"]
    finally:
        propagate.set_global_textmap(before)


def test_without_headers_of_the_propagator_it_is_not_asked(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: Any, **__: Any) -> Context:
        raise AssertionError("asked")

    monkeypatch.setattr(propagate.get_global_textmap(), "extract", asked)
    request("asgi", [("accept", "*/*")])
    assert telemetry.server()


@pytest.fixture
def responding() -> Iterator[None]:
    set_global_response_propagator(TraceResponsePropagator())
    yield
    set_global_response_propagator(None)


def test_an_answer_carries_its_trace_where_the_application_asks_for_it(
    telemetry: Telemetry, responding: None
) -> None:
    """More than once with the same message, which is the application's."""
    start = {"type": "http.response.start", "status": 200, "headers": []}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send({"type": "http.response.body", "body": b""})

    def wsgi_app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return []

    asks = [
        lambda: ask(ASGIMiddleware(app)),
        lambda: ask(ASGIMiddleware(app)),
        lambda: ask_wsgi(WSGIMiddleware(wsgi_app)),
    ]
    for once in asks:
        answer = once()
        context = telemetry.server().context
        assert (
            f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
            == answer.header("traceresponse")
        )
        assert 2 == len(answer.headers)
        telemetry.clear()


def test_no_more_baggage_is_taken_than_everybody_has_to_bear() -> None:
    """64 members, and 8,192 bytes in all."""
    members = [f"k{number}=v" for number in range(200)]
    assert ",".join(members[:64]) == clean_baggage([",".join(members)])
    assert ",".join(members[:64]) == clean_baggage(members)
    long = [f"k{number}={'v' * 4000}" for number in range(3)]
    assert ",".join(long[:2]) == clean_baggage(long)


@given(st.lists(st.text(max_size=600), max_size=3))
def test_a_traceparent_passes_only_if_upstream_reads_it_as_it_stands(values: list[str]) -> None:
    cleaned = clean_traceparent(values)
    assert cleaned is None or [cleaned] == [value.strip(" \t") for value in values]


@given(st.lists(st.text(max_size=300), max_size=3))
def test_cleaning_is_idempotent_and_bounded(values: list[str]) -> None:
    for clean in (clean_traceparent, clean_tracestate, clean_baggage):
        once = clean(values)
        if once is not None:
            assert len(once) <= 8192
            assert once == clean([once])


@given(
    st.dictionaries(
        st.sampled_from(["traceparent", "tracestate", "baggage", "other"]),
        st.lists(st.text(), min_size=1, max_size=3),
    )
)
def test_any_headers_can_be_read(headers: dict[str, list[str]]) -> None:
    assert isinstance(extract(headers, Context()), Context)


@given(
    st.one_of(
        st.text(),
        st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,4})?", fullmatch=True),
        st.sampled_from([GOOD, f" {GOOD}\t", f"00-{'0' * 32}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-ff-x"]),
    )
)
def test_a_parent_alone_is_read_as_the_propagators_read_it(value: str) -> None:
    before = Context({"kept": 1})
    expected = extract({"host": ["shop.example"], "traceparent": [value]}, before)
    found = extract_parent(value, before)
    assert (expected is before) is (found is before)
    spans = [trace.get_current_span(context).get_span_context() for context in (expected, found)]
    assert tuple(spans[0]) == tuple(spans[1])
    assert expected.keys() == found.keys()


def test_only_upstreams_own_propagators_need_not_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(TraceContextTextMapPropagator):
        """One that may read it in its own way."""

    w3c, own = TraceContextTextMapPropagator(), Own()
    for propagator, expected in (
        (w3c, True),
        (CompositePropagator([w3c, W3CBaggagePropagator()]), True),
        (W3CBaggagePropagator(), False),
        (own, False),
        (CompositePropagator([w3c, own]), False),
    ):
        monkeypatch.setattr(propagate, "get_global_textmap", lambda propagator=propagator: propagator)
        assert expected is reads_parent_alone()
