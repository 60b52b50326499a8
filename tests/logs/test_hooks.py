from __future__ import annotations

import json
from typing import Any

import pytest

from tests.logs.programs import Ran

WITHIN = """
import asyncio, gc, threading, time, warnings
from opentelemetry import context, trace
from bext_otel.apps import with_app
SPAN = trace.NonRecordingSpan(
    trace.SpanContext(0xABC << 100, 0x789 << 48, is_remote=False, trace_flags=trace.TraceFlags(1))
)
def enter():
    return context.attach(with_app("shop", trace.set_span_in_context(SPAN)))
class Broken:
    def __del__(self):
        1 / 0
"""
IDS = ("shop", f"{0xABC << 100:032x}", f"{0x789 << 48:016x}")


def ran(script: str, **settings: Any) -> Ran:
    return Ran(WITHIN + script, **settings)


def ids(line: dict[str, Any]) -> tuple[Any, ...]:
    return line.get("app"), line.get("trace_id"), line.get("span_id")


def lines(done: Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.out]


def test_what_python_cannot_raise_is_one_error_line_with_ids_and_told_as_ever() -> None:
    done = ran("enter()\nbroken = Broken()\ndel broken\n")
    (line,) = lines(done)
    assert ("error", "sys.unraisablehook", "ZeroDivisionError", IDS) == (
        line["level"],
        line["target"],
        line["exception.type"],
        ids(line),
    )
    assert "Exception ignored " in line["message"]  # and where, in words that differ by version
    assert "Broken.__del__" in line["message"]
    assert 1 == "\n".join(done.err).count("Exception ignored ")
    assert [line["message"]] == done.exported


@pytest.mark.parametrize("instrumented", [True, False])
def test_an_exception_that_ends_a_thread_is_one_error_line_and_told_as_ever(*, instrumented: bool) -> None:
    """With the ids of who started it, where threads are instrumented."""
    done = ran(
        f"if {instrumented}:\n"
        "    from bext_otel_instrumentors.threads.threading import ThreadingInstrumentor\n"
        "    ThreadingInstrumentor().instrument()\n"
        "def work():\n    1 / 0\n"
        "enter()\nthread = threading.Thread(target=work, name='till')\nthread.start()\nthread.join()\n"
    )
    (line,) = lines(done)
    assert ("error", "threading", "Exception in thread till", "till", "ZeroDivisionError") == tuple(
        line[key] for key in ("level", "target", "message", "thread.name", "exception.type")
    )
    assert 1 == "\n".join(done.err).count("Exception in thread till")
    if instrumented:
        assert IDS == ids(line)


def test_a_thread_that_exits_is_no_error() -> None:
    done = ran("thread = threading.Thread(target=sys.exit)\nthread.start()\nthread.join()\n")
    assert ([], [], []) == (done.out, done.err, done.exported)


@pytest.mark.parametrize("name", ["sys.unraisablehook", "threading.excepthook"])
def test_the_hook_before_ours_is_called_and_so_is_one_that_comes_later(name: str) -> None:
    done = ran(
        "installed.remove()\n"
        f"before = {name}\n"
        f"{name} = lambda args: sys.stderr.write('first\\n')\n"
        "installed = install(config, provider, apps={})\n"
        f"ours = {name}\n"
        f"{name} = lambda args: (sys.stderr.write('last\\n'), ours(args))\n"
        "broken = Broken()\ndel broken\n"
        "thread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()\n"
    )
    told = [line for line in done.err if line in {"first", "last"}]
    assert ["last", "first"] == told
    assert 2 == len(done.out)


LOOPS = {
    "asyncio": "run = asyncio.run\n",
    "uvloop": "import uvloop\nrun = uvloop.run if hasattr(uvloop, 'run') else asyncio.run\n",
}
OWN = """
def OWN(loop, told):
    sys.stderr.write('own\\n')
    loop.default_exception_handler(told)
"""
TASK = """
async def fail():
    enter()
    1 / 0
async def main():
    {setup}
    task = asyncio.ensure_future(fail())
    await asyncio.sleep(0.01)
    del task
    gc.collect()
    await asyncio.sleep(0.01)
run(main())
"""
CALLBACK = """
def fail():
    1 / 0
def schedule(loop):
    enter()
    loop.call_soon(fail)
async def main():
    {setup}
    import contextvars
    contextvars.copy_context().run(schedule, asyncio.get_running_loop())
    await asyncio.sleep(0.01)
run(main())
"""
SETUPS = {
    "none": ("pass", []),
    "own": (
        "asyncio.get_running_loop().set_exception_handler(lambda loop, told: sys.stderr.write('own\\n'))",
        ["own"],
    ),
    "own and the loop's": (
        "loop = asyncio.get_running_loop()\n    loop.set_exception_handler(OWN)",
        ["own"],
    ),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("work", [TASK, CALLBACK], ids=["task", "callback"])
def test_what_reaches_an_event_loop_s_handler_is_one_error_line_with_ids(
    loop: str, setup: str, work: str
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    code, err = SETUPS[setup]
    done = ran(LOOPS[loop] + OWN + work.format(setup=code))
    (line,) = lines(done)
    assert ("error", "asyncio", "ZeroDivisionError") == tuple(
        line[key] for key in ("level", "target", "exception.type")
    )
    assert IDS == ids(line)
    assert (err, 1) == (done.err, len(done.exported))


def test_a_warning_is_our_line_where_the_terminal_is_ours() -> None:
    done = ran("enter()\nwarnings.warn('old', DeprecationWarning)\nwarnings.warn('odd')\n")
    first, second = lines(done)
    assert ("warn", "py.warnings", "old", "DeprecationWarning", IDS) == (
        first["level"],
        first["target"],
        first["message"],
        first["category"],
        ids(first),
    )
    assert ("odd", "UserWarning", "<string>") == tuple(
        second[key] for key in ("message", "category", "code.file.path")
    )
    assert ([], ["old", "odd"]) == (done.err, done.exported)


def test_a_warning_is_printed_as_ever_where_the_terminal_is_not() -> None:
    done = ran("warnings.warn('odd')\n", serves=False)
    assert ([], 1, ["odd"]) == (done.out, sum("UserWarning: odd" in line for line in done.err), done.exported)


def test_a_warning_that_the_level_keeps_back_is_printed() -> None:
    done = ran("warnings.warn('odd')\n", level="error")
    assert ([], 1, []) == (done.out, sum("UserWarning: odd" in line for line in done.err), done.exported)


def test_warnings_that_logging_captures_are_told_once() -> None:
    done = ran("logging.captureWarnings(True)\nwarnings.warn('odd')\n")
    (line,) = lines(done)
    assert ("py.warnings", True) == (line["target"], "UserWarning: odd" in line["message"])


def test_warnings_that_a_test_records_are_the_test_s() -> None:
    done = ran(
        "with warnings.catch_warnings(record=True) as got:\n    warnings.simplefilter('always')\n"
        "    warnings.warn('odd')\nassert 1 == len(got)\n"
    )
    assert ([], [], []) == (done.out, done.err, done.exported)


def test_undoing_leaves_every_hook_as_it_was() -> None:
    done = ran(
        "installed.remove()\n"
        "assert sys.unraisablehook is sys.__unraisablehook__\n"
        "assert threading.excepthook is threading.__excepthook__\n"
        "assert 'covering' not in warnings._showwarnmsg_impl.__code__.co_filename\n"
        "loop = asyncio.base_events.BaseEventLoop\n"
        "for name in ('call_exception_handler', 'default_exception_handler'):\n"
        "    assert 'asyncio' in getattr(loop, name).__code__.co_filename\n"
    )
    assert [] == done.err


def test_print_stays_alone() -> None:
    done = Ran("print('hello')\nsys.stdout.write('again\\n')\n")
    assert (["hello", "again"], []) == (done.out, done.exported)
