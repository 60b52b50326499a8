"""The specification's rows on context, baggage and propagators, as `configure()` leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fresh import fresh

PROGRAM = """
import os
import bext_otel
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.propagators.textmap import Getter, Setter

bext_otel.configure()
told = {}

key = context.create_key("colour")
other = context.create_key("colour")
here = context.set_value(key, "blue", context.Context())
told["keys"] = [key != other, context.get_value(key, here), context.get_value(other, here)]
token = context.attach(here)
told["current"] = [context.get_value(key), context.get_current() == here]
context.detach(token)
told["detached"] = context.get_value(key)

bag = baggage.set_baggage("city", "K\\u00f6ln", baggage.set_baggage("shelf", "4"))
bag = baggage.remove_baggage("shelf", bag)
told["baggage"] = dict(baggage.get_all(bag))

class Upper(Setter):
    def set(self, carrier, key, value):
        carrier[key.upper()] = value

class Lower(Getter):
    asked = []
    def get(self, carrier, key):
        self.asked.append(key)
        found = carrier.get(key.upper())
        return [found] if found else None
    def keys(self, carrier):
        return [key.lower() for key in carrier]

carrier = {}
with trace.get_tracer("shop").start_as_current_span("s") as span:
    propagate.inject(carrier, context=baggage.set_baggage("city", "Bonn"), setter=Upper())
    plain = {}
    propagate.inject(plain)
told["written"] = sorted(carrier)
told["baggage header"] = carrier.get("BAGGAGE")
read = propagate.extract(carrier, context=context.Context(), getter=Lower())
told["read"] = [trace.get_current_span(read).get_span_context().span_id == span.get_span_context().span_id, baggage.get_baggage("city", read)]
told["remote"] = trace.get_current_span(read).get_span_context().is_remote
told["fields"] = sorted(propagate.get_global_textmap().fields)
told["global"] = type(propagate.get_global_textmap()).__name__
show(told)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    shown, _ = fresh(PROGRAM, tmp_path_factory.mktemp("context"))
    found: dict[str, Any] = shown
    return found


@pytest.mark.specification(
    "Context Propagation",
    "Create Context Key",
    "Get value from Context",
    "Set value for Context",
    "Attach Context",
    "Detach Context",
    "Get current Context",
)
def test_a_context_holds_values_and_is_attached_and_detached(told: dict[str, Any]) -> None:
    assert [True, "blue", None] == told["keys"]
    assert ([True], None) == (told["current"][1:], told["detached"])
    assert "blue" == told["current"][0]


@pytest.mark.specification("Baggage", "Basic support", "Use official header name `baggage`")
def test_baggage_is_set_removed_and_sent_by_its_header(told: dict[str, Any]) -> None:
    assert {"city": "Köln"} == told["baggage"]
    assert "city=Bonn" == told["baggage header"]


@pytest.mark.specification(
    "Context Propagation",
    "Composite Propagator",
    "Global Propagator",
    "TraceContext Propagator",
    "TextMapPropagator",
    "Fields",
    "Setter argument",
    "Getter argument",
    "Getter argument returning Keys",
)
def test_the_global_propagator_writes_and_reads_by_whatever_setter_and_getter(told: dict[str, Any]) -> None:
    assert {"BAGGAGE", "TRACEPARENT"} <= set(told["written"])
    assert ([True, "Bonn"], True) == (told["read"], told["remote"])
    assert {"baggage", "traceparent", "tracestate"} <= set(told["fields"])


SENT = """
import bext_otel
from opentelemetry import propagate, trace
bext_otel.configure()
carrier = {}
with trace.get_tracer("shop").start_as_current_span("s") as span:
    propagate.inject(carrier)
read = trace.get_current_span(propagate.extract(carrier)).get_span_context()
show([sorted(name.lower() for name in carrier), read.span_id == span.get_span_context().span_id])
"""


@pytest.mark.specification("Context Propagation", "B3 Propagator", "Jaeger Propagator", "OT Propagator")
@pytest.mark.specification("Environment Variables", "OTEL_PROPAGATORS")
@pytest.mark.parametrize(
    ("name", "module", "headers"),
    [
        ("b3", "opentelemetry.propagators.b3", ["b3"]),
        ("b3multi", "opentelemetry.propagators.b3", ["x-b3-sampled", "x-b3-spanid", "x-b3-traceid"]),
        ("jaeger", "opentelemetry.propagators.jaeger", ["uber-trace-id"]),
        (
            "ottrace",
            "opentelemetry.propagators.ot_trace",
            ["ot-tracer-sampled", "ot-tracer-spanid", "ot-tracer-traceid"],
        ),
        ("tracecontext,tracecontext", "opentelemetry.trace", ["traceparent"]),
    ],
)
def test_propagators_are_those_that_the_variable_names_each_once(
    tmp_path: Path, name: str, module: str, headers: list[str]
) -> None:
    pytest.importorskip(module)
    shown, _ = fresh(SENT, tmp_path, OTEL_PROPAGATORS=name)
    assert [headers, True] == shown


@pytest.mark.specification("Context Propagation", "Environment variables as carriers")
def test_the_environment_is_a_carrier(tmp_path: Path) -> None:
    shown, _ = fresh(
        """
        import os, subprocess, sys
        import bext_otel
        from opentelemetry import propagate, trace
        from opentelemetry.propagators._envcarrier import EnvironmentGetter, EnvironmentSetter
        bext_otel.configure()
        read = propagate.extract(os.environ, getter=EnvironmentGetter())
        with trace.get_tracer("shop").start_as_current_span("s", read) as span:
            env = {}
            propagate.inject(env, setter=EnvironmentSetter())
        code = "import os; print(os.environ['TRACEPARENT'])"
        out = subprocess.run([sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True).stdout
        show([f"{span.parent.span_id:x}", out.split("-")[2] == f"{span.get_span_context().span_id:016x}"])
        """,
        tmp_path,
        TRACEPARENT="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
    )
    assert ["2" * 16, True] == shown
