"""mini-racer: isolates, their heap, renders and what goes wrong in them."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.instrumentation.utils import suppress_instrumentation

from bext_otel.apps import with_app
from bext_otel.catalogue import ISOLATE_COUNT, ISOLATE_ERRORS, ISOLATE_MEMORY, ISOLATE_RENDER_DURATION
from bext_otel_instrumentors.isolates.mini_racer import MiniRacerInstrumentor
from tests.fresh import printed
from tests.instrumentors.conftest import Telemetry, instrumented_by, instrumenting
from tests.instrumentors.outcomes import outcome

py_mini_racer = pytest.importorskip("py_mini_racer")
MiniRacer = py_mini_racer.MiniRacer
py_mini_racer.init_mini_racer(
    ignore_duplicate_init=True
)  # here, and not in the thread of some test: the demo's isolates say why
mini_racer = getattr(py_mini_racer, "mini_racer", None)
asynchronous = pytest.mark.skipif(
    mini_racer is None, reason="this version of mini-racer has no asynchronous interface"
)

PAGE = "function render(props) { return '<p>' + props.name + '</p>' }; 0"
LOOP_OF_EVIL = "while (true) {}"
HUNGRY = "const all = []; while (true) all.push('x'.repeat(10000) + all.length)"


instrumented = instrumented_by(MiniRacerInstrumentor)


@pytest.fixture
def shop() -> Iterator[None]:
    token = context.attach(with_app("shop"))
    yield
    context.detach(token)


def count(telemetry: Telemetry) -> dict[Any, Any]:
    return {labels: value for labels, value in telemetry.counts(ISOLATE_COUNT).items() if value}


def run(program: str) -> str:
    """What the program prints, in a process of its own."""
    return printed(program, "-W", "ignore")


def test_isolates_are_counted_for_the_app_that_made_them(
    instrumented: None, telemetry: Telemetry, shop: None
) -> None:
    with MiniRacer(), MiniRacer():
        assert {("shop",): 2} == count(telemetry)
    assert {("shop",): 0} == telemetry.counts(ISOLATE_COUNT)


def test_an_isolate_made_for_nobody_works_for_the_first_app_that_uses_it(
    instrumented: None, telemetry: Telemetry
) -> None:
    with MiniRacer() as racer:
        assert {("unknown",): 1} == count(telemetry)
        token = context.attach(with_app("shop"))
        racer.eval("1")
        context.detach(token)
        racer.eval("2")
        assert {("shop",): 1} == count(telemetry)
        assert {("shop",): 2} == telemetry.counts(ISOLATE_RENDER_DURATION)


def test_an_isolate_that_is_collected_is_gone(instrumented: None, telemetry: Telemetry, shop: None) -> None:
    racer = MiniRacer()
    function = racer.eval("(x) => x + 1")
    assert {("shop",): 1} == count(telemetry)
    del racer, function
    gc.collect()
    assert {} == count(telemetry)


def test_the_heap_is_what_the_engine_says(
    instrumented: None, telemetry: Telemetry, shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bext_otel_instrumentors.isolates.mini_racer._HEAP_EVERY_SECONDS", 0.0)
    with MiniRacer() as racer:
        fresh = telemetry.counts(ISOLATE_MEMORY)[("shop",)]
        racer.eval("globalThis.all = []; for (let i = 0; i < 1e6; i++) all.push({i}); 0")
        assert racer.heap_stats()["total_heap_size"] == pytest.approx(
            telemetry.counts(ISOLATE_MEMORY)[("shop",)], rel=0.2
        )
        assert fresh + 10_000_000 < telemetry.counts(ISOLATE_MEMORY)[("shop",)]
    assert {("shop",): 0} == telemetry.counts(ISOLATE_MEMORY)


def test_the_heap_is_not_asked_for_at_each_call(
    instrumented: None, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bext_otel_instrumentors.isolates.mini_racer._HEAP_EVERY_SECONDS", 3600.0)
    with MiniRacer() as racer:
        racer.eval("globalThis.all = []; for (let i = 0; i < 1e6; i++) all.push({i}); 0")
        assert racer.heap_stats()["total_heap_size"] > 2 * telemetry.counts(ISOLATE_MEMORY)[("unknown",)]


def test_a_busy_isolate_is_not_asked_for_its_heap(
    instrumented: None, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine would answer only after the script that another thread has it run."""
    monkeypatch.setattr("bext_otel_instrumentors.isolates.mini_racer._HEAP_EVERY_SECONDS", 0.0)
    asked: list[None] = []
    with MiniRacer() as racer:
        engine: Any = racer._ctx
        heap_stats = type(engine).heap_stats
        monkeypatch.setattr(type(engine), "heap_stats", lambda self: asked.append(None) or heap_stats(self))
        racer.eval("1")
        assert [None] == asked
        engine._bext_isolate.calls.add(0)  # as a render in another thread does
        racer.eval("1")
        assert [None] == asked


def test_a_render_is_one_span_and_one_duration_however_it_is_asked_for(
    instrumented: None, telemetry: Telemetry, shop: None
) -> None:
    """`call` evaluates through `execute` and `eval`: that is one render."""
    with MiniRacer() as racer:
        with suppress_instrumentation():
            racer.eval(PAGE)
        with trace.get_tracer_provider().get_tracer("test").start_as_current_span("request") as request:
            assert "<p>tea</p>" == racer.call("render", {"name": "tea"})
            assert {"a": 1} == racer.execute("{a: 1}")
            assert 3 == racer.eval("1 + 2")
            assert 5 == racer.eval("(a, b) => a + b")(2, 3)  # type: ignore[operator]
    assert {("shop",): 5} == telemetry.counts(ISOLATE_RENDER_DURATION)
    renders = [span for span in telemetry.spans() if span.name == "bext.render"]
    assert 5 == len(renders)
    assert {request.get_span_context().span_id} == {span.parent.span_id for span in renders if span.parent}


@pytest.mark.parametrize(
    ("script", "error_type"),
    [
        ("throw new Error('no')", "script_error"),
        ("this is no script", "script_error"),
        (LOOP_OF_EVIL, "timeout"),
        (HUNGRY, "out_of_memory"),
    ],
)
def test_a_render_that_fails_is_counted_by_type(
    instrumented: None, telemetry: Telemetry, shop: None, script: str, error_type: str
) -> None:
    with MiniRacer() as racer:
        raised = outcome(
            lambda: racer.eval(
                script, timeout_sec=0.3 if error_type == "timeout" else 30, max_memory=50_000_000
            )
        )[0]
        assert raised.startswith("JS")
        assert {("shop", error_type): 1} == telemetry.counts(ISOLATE_ERRORS)
        with suppress_instrumentation():
            outcome(
                lambda: racer.eval("0")
            )  # a script that was stopped still calls back; the engine answers in order
    (span,) = telemetry.spans()
    assert error_type == (span.attributes or {})["error.type"]
    crashes = [
        data.log_record
        for data in telemetry._records.get_finished_logs()
        if data.log_record.body == "isolate crashed"
    ]
    expected = [(SeverityNumber.ERROR, "shop", "out_of_memory")] if error_type == "out_of_memory" else []
    assert expected == [
        (log.severity_number, log.attributes["app"], log.attributes["error_type"]) for log in crashes
    ]


KILLED = """
import os, threading
from opentelemetry import metrics
from bext_otel.catalogue import ISOLATE_COUNT
from bext_otel_instrumentors.isolates.mini_racer import MiniRacerInstrumentor
from py_mini_racer import MiniRacer
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.waiting import until

telemetry = Telemetry()
metrics.set_meter_provider(telemetry.meter_provider)
MiniRacerInstrumentor().instrument()
racer = MiniRacer()
isolate = racer._ctx._bext_isolate
threading.Thread(target=lambda: racer.eval("while (true) {}"), daemon=True).start()
until(lambda: isolate.calls)
before = telemetry.counts(ISOLATE_COUNT)
racer.close()
print(before, telemetry.counts(ISOLATE_COUNT), flush=True)
os._exit(0)  # the thread waits for ever: nobody tells it that its isolate is gone
"""


def test_an_isolate_that_is_closed_under_a_render_is_gone() -> None:
    assert "{('unknown',): 1} {('unknown',): 0}" == run(KILLED)


@asynchronous
def test_the_asynchronous_interface_is_measured_too(
    instrumented: None, telemetry: Telemetry, shop: None
) -> None:
    async def main() -> None:
        with mini_racer() as racer:
            assert 3 == await racer.eval_cancelable("1 + 2")
            function: Any = await racer.eval_cancelable("(x) => x + 1")
            assert 4 == function(3)
            assert 5 == await function.cancelable()(4)
            assert {("shop",): 1} == count(telemetry)
        assert {} == count(telemetry)

    asyncio.run(main())
    assert {("shop",): 4} == telemetry.counts(ISOLATE_RENDER_DURATION)


@asynchronous
def test_upkeep_of_promises_is_no_render(instrumented: None, telemetry: Telemetry, shop: None) -> None:
    async def answer(number: Any) -> Any:
        return number * 2

    async def main() -> None:
        with mini_racer() as racer:
            async with racer.wrap_py_function(answer) as function:
                shared: Any = racer.eval("globalThis")
                shared["answer"] = function
                promise: Any = racer.eval("answer(21)")
                assert 42 == await promise

    asyncio.run(main())
    assert {("shop",): 2} == telemetry.counts(ISOLATE_RENDER_DURATION)


@asynchronous
def test_a_render_that_is_cancelled_has_failed(instrumented: None, telemetry: Telemetry, shop: None) -> None:
    async def main() -> None:
        with mini_racer() as racer:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(racer.eval_cancelable(LOOP_OF_EVIL), 0.2)

    asyncio.run(main())
    assert {("shop", "cancelled"): 1} == telemetry.counts(ISOLATE_ERRORS)


def test_threads_share_a_count(instrumented: None, telemetry: Telemetry) -> None:
    def work() -> None:
        context.attach(with_app("shop"))
        with MiniRacer() as racer:
            for number in range(20):
                assert number == racer.eval(str(number))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {("shop",): 80} == telemetry.counts(ISOLATE_RENDER_DURATION)
    assert {} == count(telemetry)


FORKS = """
import os
from opentelemetry import metrics
from tests.instrumentors.conftest import Telemetry, instrumented_by
from bext_otel.catalogue import ISOLATE_COUNT
from bext_otel_instrumentors.isolates.mini_racer import MiniRacerInstrumentor
from py_mini_racer import MiniRacer

telemetry = Telemetry()
metrics.set_meter_provider(telemetry.meter_provider)
MiniRacerInstrumentor().instrument()
racer = MiniRacer()
pid = os.fork()
if pid == 0:
    os._exit(10 + sum(telemetry.counts(ISOLATE_COUNT).values()))
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), sum(telemetry.counts(ISOLATE_COUNT).values()))
racer.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_has_no_isolates_of_its_parent() -> None:
    """Engines do not survive a fork; the parent counts them."""
    assert "10 1" == run(FORKS)


CALLS: list[Any] = [
    lambda racer: racer.eval("1 + 1"),
    lambda racer: racer.eval("undefined") is not None,
    lambda racer: racer.eval("throw new Error('no')"),
    lambda racer: racer.eval("syntax error"),
    lambda racer: racer.eval("1", timeout_sec=1, max_memory=100_000_000),
    lambda racer: racer.eval(LOOP_OF_EVIL, timeout=100),
    lambda racer: racer.eval(1),
    lambda racer: racer.eval(),
    lambda racer: racer.execute("({a: [1, 2]})"),
    lambda racer: racer.execute("undefined"),
    lambda racer: racer.call("Math.max", 1, 2),
    lambda racer: racer.call("Math.max", object()),
    lambda racer: racer.call("nothing"),
    lambda racer: racer.eval("(x) => x * 2")(4),
    lambda racer: racer.eval("(x) => { throw 1 }")(4),
    lambda racer: racer.eval("new Promise((done) => done(7))").get(timeout=5),
    lambda racer: racer.eval("Promise.reject(new Error('no'))").get(timeout=5),
    lambda racer: sorted(racer.heap_stats()),
    lambda racer: (racer.close(), racer.eval("1")),
]


@pytest.mark.parametrize("call", range(len(CALLS)))
def test_results_and_errors_are_the_library_s(call: int, telemetry: Telemetry) -> None:
    def once() -> tuple[str, str]:
        racer = MiniRacer()
        came = outcome(lambda: CALLS[call](racer))
        outcome(
            lambda: racer.eval("0")
        )  # a script that was stopped still calls back; the engine answers in order
        racer.close()
        return came

    bare = once()
    with instrumenting(MiniRacerInstrumentor):
        assert bare == once()


ASYNC_CALLS: list[Any] = [
    lambda racer: racer.eval_cancelable("1 + 1"),
    lambda racer: racer.eval_cancelable("throw new Error('no')"),
    lambda racer: racer.eval_cancelable(1),
    lambda racer: asyncio.wait_for(racer.eval_cancelable(LOOP_OF_EVIL), 0.1),
    lambda racer: racer.eval("(x) => x * 2").cancelable()(4),
    lambda racer: racer.eval("(x) => { throw 1 }").cancelable()(4),
    lambda racer: racer.eval("new Promise((done) => done(7))"),
]


@asynchronous
@pytest.mark.parametrize("call", range(len(ASYNC_CALLS)))
def test_asynchronous_results_and_errors_are_the_library_s(call: int, telemetry: Telemetry) -> None:
    async def once() -> tuple[str, str]:
        with mini_racer() as racer:
            try:
                result = await ASYNC_CALLS[call](racer)
            except BaseException as error:
                result = error
            came = outcome(lambda: (type(result), str(result)))
            await racer.eval_cancelable("0")
            return came

    bare = asyncio.run(once())
    with instrumenting(MiniRacerInstrumentor):
        assert bare == asyncio.run(once())


def test_everything_is_put_back(telemetry: Telemetry) -> None:
    before = dict(vars(MiniRacer))
    instrumentor = MiniRacerInstrumentor()
    instrumentor.instrument()
    assert before != dict(vars(MiniRacer))
    instrumentor.uninstrument()
    assert before == dict(vars(MiniRacer))
    with MiniRacer() as racer:
        racer.eval("1")
    assert [] == telemetry.spans()
