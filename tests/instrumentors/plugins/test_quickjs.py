"""QuickJS: hooks of plugins, and what they fail of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bext_otel.catalogue import PLUGIN_DURATION, PLUGIN_ERRORS
from bext_otel_instrumentors.plugins.quickjs import QuickJSInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.outcomes import outcome

quickjs = pytest.importorskip("quickjs", reason="quickjs has no wheel for this Python")

CODE = """
function greet(name) { return 'hello ' + name }
function fail() { throw new Error('no') }
function spin() { while (true) {} }
function deep() { return deep() }
function list(n) { return [n, {a: n}] }
"""


instrumented = instrumented_by(QuickJSInstrumentor)


@pytest.fixture
def function() -> Iterator[Callable[[str], Any]]:
    """Makes functions, and ends the threads that they run in."""
    made: list[Any] = []

    def make(name: str) -> Any:
        made.append(quickjs.Function(name, CODE, own_executor=True))
        return made[-1]

    yield make
    for one in made:
        one._threadpool.shutdown()


def test_a_call_is_a_hook_of_the_plugin_that_the_application_names(
    instrumented: None, telemetry: Telemetry, function: Callable[[str], Any]
) -> None:
    greet = function("greet")
    assert "hello tea" == greet("tea")
    greet.plugin_name = "greeter"
    assert "hello tea" == greet("tea")
    assert {("unknown", "greet"): 1, ("greeter", "greet"): 1} == telemetry.counts(PLUGIN_DURATION)
    assert {} == telemetry.counts(PLUGIN_ERRORS)


@pytest.mark.parametrize(
    ("name", "error_type"), [("fail", "script_error"), ("spin", "timeout"), ("deep", "stack_overflow")]
)
def test_a_failure_has_its_type(
    instrumented: None, telemetry: Telemetry, function: Callable[[str], Any], name: str, error_type: str
) -> None:
    failing = function(name)
    failing.set_time_limit(0.2 if name == "spin" else 30)
    outcome(failing)
    assert {("unknown", name): 1} == telemetry.counts(PLUGIN_ERRORS)
    assert error_type == (telemetry.spans()[0].attributes or {})["error.type"]


CALLS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "plain": ("greet", lambda function: function("tea")),
    "structured": ("list", lambda function: function(3)),
    "failing": ("fail", lambda function: function()),
    "deep": ("deep", lambda function: function()),
    "no garbage": ("greet", lambda function: function("tea", run_gc=False)),
    "unfit": ("greet", lambda function: function(object())),
    "keyword": ("greet", lambda function: function(nothing=1)),
}


@pytest.mark.parametrize("call", CALLS)
def test_results_and_errors_are_the_library_s(
    call: str, telemetry: Telemetry, function: Callable[[str], Any]
) -> None:
    name, use = CALLS[call]
    bare = outcome(lambda: use(function(name)))
    instrumentor = QuickJSInstrumentor()
    instrumentor.instrument()
    try:
        assert bare == outcome(lambda: use(function(name)))
    finally:
        instrumentor.uninstrument()


def test_code_that_does_not_compile_says_so_as_ever(instrumented: None, telemetry: Telemetry) -> None:
    assert "JSException" == outcome(lambda: quickjs.Function("x", "this is none"))[0]
    assert {} == telemetry.counts(PLUGIN_DURATION)


def test_threads_lose_no_call(
    instrumented: None, telemetry: Telemetry, function: Callable[[str], Any]
) -> None:
    greet = function("greet")
    threads = [threading.Thread(target=lambda: [greet("tea") for _ in range(25)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {("unknown", "greet"): 100} == telemetry.counts(PLUGIN_DURATION)


def test_everything_is_put_back(telemetry: Telemetry, function: Callable[[str], Any]) -> None:
    before = dict(vars(quickjs.Function))
    instrumentor = QuickJSInstrumentor()
    instrumentor.instrument()
    greet = function("greet")
    instrumentor.uninstrument()
    assert before == dict(vars(quickjs.Function))
    assert "hello tea" == greet("tea")
    assert {} == telemetry.counts(PLUGIN_DURATION)
