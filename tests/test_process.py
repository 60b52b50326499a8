"""Whoever wants to know of forks and imports is told, and can stop listening."""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bext_otel.process import catch_up, collector_paused, on_fork, on_import
from tests.fresh import fresh

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def fork_and_tell(heard: list[str]) -> str:
    """What the child heard."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, ",".join(heard).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as told:
        return told.read()


def fork_behind_pythons_back(in_child: Callable[[], None], heard: list[str]) -> str:
    """What the child heard, which was made as uWSGI makes its workers."""
    read, write = os.pipe()
    child = ctypes.CDLL(None).fork()
    if child == 0:
        in_child()
        os.write(write, ",".join(heard).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as told:
        return told.read()


def test_a_child_that_python_was_not_told_of_finds_out_once() -> None:
    heard: list[str] = []
    forget = on_fork(in_child=lambda: heard.append("in child"))
    try:
        catch_up()

        def twice() -> None:
            catch_up()
            catch_up()

        assert "in child" == fork_behind_pythons_back(twice, heard)
        assert [] == heard
    finally:
        forget()


def test_uwsgi_tells_its_children_and_calls_the_hook_that_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    uwsgi = ModuleType("uwsgi")
    heard: list[str] = []
    uwsgi.post_fork_hook = lambda: heard.append("theirs")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    forget = on_fork(in_child=lambda: heard.append("ours"))
    try:
        catch_up()
        catch_up()
        assert "ours,theirs" == fork_behind_pythons_back(uwsgi.post_fork_hook, heard)
    finally:
        forget()


def test_before_in_the_parent_and_in_the_child() -> None:
    heard: list[str] = []
    forget = on_fork(
        before=lambda: heard.append("before"),
        in_parent=lambda: heard.append("in parent"),
        in_child=lambda: heard.append("in child"),
    )
    try:
        assert "before,in child" == fork_and_tell(heard)
        assert ["before", "in parent"] == heard
    finally:
        forget()


def test_nobody_is_told_after_undoing() -> None:
    heard: list[str] = []
    forget = on_fork(before=lambda: heard.append("before"))
    forget()
    forget()
    assert "" == fork_and_tell(heard)


def test_one_that_raises_stops_neither_the_fork_nor_the_others() -> None:
    heard: list[str] = []
    broken, fine = on_fork(before=lambda: 1 / 0), on_fork(before=lambda: heard.append("before"))  # type: ignore[arg-type,return-value]
    try:
        assert "before" == fork_and_tell(heard)
    finally:
        broken()
        fine()


@pytest.fixture
def uwsgi(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A process of uWSGI, which has its module before anything else is imported."""
    module = ModuleType("uwsgi")
    monkeypatch.setitem(sys.modules, "uwsgi", module)
    return module


def test_whoever_listens_first_has_uwsgi_tell_him(uwsgi: ModuleType) -> None:
    heard: list[str] = []
    forget = on_fork(in_child=lambda: heard.append("in child"))
    try:
        assert "in child" == fork_behind_pythons_back(uwsgi.post_fork_hook, heard)
    finally:
        forget()


def test_decorators_of_uwsgi_that_replace_the_hook_are_called_after_ours(tmp_path: Path) -> None:
    (tmp_path / "uwsgidecorators.py").write_text(
        "import uwsgi\nuwsgi.post_fork_hook = lambda: print('theirs', flush=True)\n"
    )
    program = """
import ctypes, os, sys
from types import ModuleType
uwsgi = sys.modules["uwsgi"] = ModuleType("uwsgi")
from bext_otel.process import on_fork
on_fork(in_child=lambda: print("ours", flush=True))
import uwsgidecorators
child = ctypes.CDLL(None).fork()
if child == 0:
    uwsgi.post_fork_hook()
    os._exit(0)
os.waitpid(child, 0)
"""
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert ["ours", "theirs"] == told.stdout.split()


PROGRAM = """
import ctypes, os, sys
from types import ModuleType
uwsgi = sys.modules["uwsgi"] = ModuleType("uwsgi")

from opentelemetry import _logs, metrics
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from bext_otel.runs import hold
from bext_otel_instrumentors.cache.log import log_dropped
from bext_otel_instrumentors.isolates.isolates import Isolate, isolates

reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
logs = LoggerProvider()
tell = ConsoleLogRecordExporter(formatter=lambda record: f"{record.log_record.body} {record.log_record.attributes}\\n")
logs.add_log_record_processor(SimpleLogRecordProcessor(tell))
_logs.set_logger_provider(logs)

def counts():
    data = reader.get_metrics_data()
    found = {metric.name: [point.value for point in metric.data.data_points]
        for each in (data.resource_metrics if data else []) for scope in each.scope_metrics for metric in scope.metrics}
    print(found.get("bext.flow.active_runs"), "runs", found.get("bext.isolate.count", []), "isolates", flush=True)

run = hold()
isolates.add(isolate := Isolate("test", app="shop"))
log_dropped("shop", "isr", 1, cache="pages")
log_dropped("shop", "isr", 1, cache="pages")  # kept back, since the last line is less than a second ago
counts()
child = ctypes.CDLL(None).fork()
if child:
    os.waitpid(child, 0)
    os._exit(0)
uwsgi.post_fork_hook()
counts()
run.release()
counts()
own = hold()
counts()
"""


def test_a_child_of_uwsgi_has_nothing_of_its_parents() -> None:
    """Neither its active runs, nor its isolates, nor the log entries that it has kept back until its end."""
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert "" == told.stderr
    assert [
        "cache evicted {'app': 'shop', 'layer': 'isr', 'cache': 'pages', 'entries': 1}",
        "[1] runs [1] isolates",
        "[0] runs [] isolates",
        "[0] runs [] isolates",
        "[1] runs [] isolates",
    ] == told.stdout.splitlines()


def test_a_module_that_is_there_is_handed_over_at_once() -> None:
    heard: list[object] = []
    on_import("json", heard.append)()
    assert [json] == heard


def test_what_is_raised_then_is_the_callers() -> None:
    with pytest.raises(ZeroDivisionError):
        on_import("json", lambda _: 1 / 0)


@pytest.fixture
def unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that nobody has imported."""
    name = f"bext_otel_unknown_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text("value = 1")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_a_module_is_handed_over_once_it_is_imported(unknown: str) -> None:
    heard: list[int] = []
    on_import(unknown, lambda module: heard.append(module.value))
    assert [] == heard
    importlib.import_module(unknown)
    assert [1] == heard
    importlib.reload(sys.modules[unknown])
    assert [1] == heard


def test_nobody_hears_of_an_import_after_undoing(unknown: str) -> None:
    heard: list[str] = []
    forget = on_import(unknown, lambda _: heard.append("first"))
    on_import(unknown, lambda _: heard.append("second"))
    forget()
    forget()
    importlib.import_module(unknown)
    forget()
    assert ["second"] == heard


def test_one_that_fails_at_an_import_stops_neither_it_nor_the_others(
    unknown: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[object] = []
    on_import(unknown, lambda _: 1 / 0)
    on_import(unknown, heard.append)
    module = importlib.import_module(unknown)
    assert [module] == heard
    assert [
        f"telemetry failed at the import of {unknown}; the application goes on without it"
    ] == caplog.messages


def test_a_module_that_was_thrown_away_is_heard_of_again(unknown: str) -> None:
    heard: list[object] = []
    on_import(unknown, heard.append)
    importlib.import_module(unknown)
    del sys.modules[unknown]
    on_import(unknown, heard.append)
    importlib.import_module(unknown)
    assert 2 == len(heard)


def test_a_fork_waits_for_what_a_thread_of_ours_imports(tmp_path: Path) -> None:
    """A child could never import it: it would wait for a thread that it does not have."""
    (tmp_path / "slow.py").write_text(
        "import threading, __main__\n__main__.begun.set()\n__main__.forking.wait(20)\nthreading.Event().wait(0.2)\n"
    )
    shown, _ = fresh(
        """
        import os, sys, threading
        sys.path.insert(0, "")
        from bext_otel.process import late_imports, on_fork
        begun, forking = threading.Event(), threading.Event()
        def importing():
            with late_imports():
                import slow
        on_fork(before=forking.set)
        thread = threading.Thread(target=importing)
        thread.start()
        begun.wait(20)
        child = os.fork()
        if child == 0:
            with late_imports():
                os._exit(7 if "slow" in sys.modules and not sys.modules["slow"].__spec__._initializing else 8)
        _, status = os.waitpid(child, 0)
        thread.join()
        show(os.waitstatus_to_exitcode(status))
        """,
        tmp_path,
    )
    assert 7 == shown


def test_what_uwsgi_puts_in_place_by_itself_is_heard_of_by_the_next_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before that one is executed, and with the hook for it in place."""
    (tmp_path / "an_application_of_uwsgi.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "orig_argv", [])  # as in a server that has an interpreter in it
    heard: list[str] = []

    def embedded(module: Any) -> None:
        heard.append(f"uwsgi {sorted(module.opt)}")
        forgetting.append(on_import("an_application_of_uwsgi", lambda found: heard.append(found.__name__)))

    on_import("what_nobody_imports", print)()  # the hook for imports is in place from now on
    finders = list(sys.meta_path)
    forgetting = [on_import("uwsgi", embedded)]
    try:
        assert len(finders) + 1 == len(sys.meta_path)
        module = ModuleType("uwsgi")
        monkeypatch.setitem(sys.modules, "uwsgi", module)
        importlib.import_module("wave")
        assert [] == heard  # its options are not there yet
        module.opt = {"module": b"an_application_of_uwsgi"}  # type: ignore[attr-defined]
        importlib.import_module("an_application_of_uwsgi")
        assert ["uwsgi ['module']", "an_application_of_uwsgi"] == heard
        assert finders == sys.meta_path
    finally:
        for forget in forgetting:
            forget()
        sys.modules.pop("an_application_of_uwsgi", None)


def test_no_other_process_looks_for_uwsgi() -> None:
    on_import("what_nobody_imports", print)()  # the hook for imports is in place from now on
    finders = list(sys.meta_path)
    on_import("uwsgi", lambda module: None)()
    assert finders == sys.meta_path


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_collected_as_before_once_a_pause_has_ended(collects: bool) -> None:
    before = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        seen: list[bool] = []
        with suppress(KeyError), collector_paused():
            seen.append(gc.isenabled())
            raise KeyError
        assert [False, collects] == [*seen, gc.isenabled()]
    finally:
        (gc.enable if before else gc.disable)()


def test_what_was_made_in_a_pause_is_old_and_garbage_of_it_is_found_all_the_same() -> None:
    class Node:
        def __init__(self) -> None:
            self.itself = self

    with collector_paused():
        made = [Node() for _ in range(10_000)]
        gone = weakref.ref(made[-1])
        frozen = gc.get_freeze_count()
    assert 0 == frozen == gc.get_freeze_count()
    gc.collect(0)
    del made
    gc.collect(0)
    assert gone() is not None, "it was not walked for being new"
    gc.collect()
    assert gone() is None


def test_what_the_application_has_frozen_stays_frozen() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with collector_paused():
            pass
        assert 0 < frozen <= gc.get_freeze_count()
    finally:
        gc.unfreeze()
