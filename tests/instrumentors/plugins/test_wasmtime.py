"""wasmtime: hooks of plugins by name, what they fail of, and their fuel."""

from __future__ import annotations

import contextlib
import gc
import importlib
import threading
import weakref
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber

from bext_otel.catalogue import PLUGIN_DURATION, PLUGIN_ERRORS, PLUGIN_FUEL_CONSUMED
from bext_otel_instrumentors.plugins.wasmtime import WasmtimeInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.outcomes import outcome

wasmtime = pytest.importorskip("wasmtime")
component: Any = None
with contextlib.suppress(ImportError):  # older ones have none
    component = importlib.import_module("wasmtime.component")
composing = pytest.mark.skipif(component is None, reason="this version of wasmtime has no components")

SOURCE = """
(module {name}
  (import "host" "call" (func $host (param i32)))
  (memory (export "memory") 1)
  (func (export "burn") (param $turns i32) (result i32)
    (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (i32.const 3)))
      (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
      (br_if $again (i32.gt_s (local.get $turns) (i32.const 0))))
    (local.get $sum))
  (func (export "back") (param $turns i32)
    (call $host (local.get $turns)))
  (func (export "two") (result i32 i32) (i32.const 1) (i32.const 2))
  (func (export "divide") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
  (func (export "unreachable") unreachable)
  (func $deep (export "deep") (call $deep)))
"""
EXIT = """
(module $program
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const {code}))))
"""
COMPONENT = """
(component $composed
  (core module $m (func (export "f") (param i32) (result i32) (loop $l (br_if $l (local.get 0))) i32.const 42))
  (core instance $i (instantiate $m))
  (func $go (param "spin" bool) (result u32) (canon lift (core func $i "f")))
  (export "go" (func $go))
  (instance $inner (export "go" (func $go)))
  (export "a:b/inner" (instance $inner)))
"""


class Plugin:
    """A module in a store of its own."""

    def __init__(
        self,
        name: str = "$fish",
        *,
        fuel: int | None = 10_000,
        host: Callable[[int], None] = lambda turns: None,
    ) -> None:
        config = wasmtime.Config()
        config.consume_fuel = fuel is not None
        self.store = wasmtime.Store(wasmtime.Engine(config))
        if fuel is not None:
            self.store.set_fuel(fuel)
        self.module = wasmtime.Module(self.store.engine, SOURCE.format(name=name))
        imported = wasmtime.Func(self.store, wasmtime.FuncType([wasmtime.ValType.i32()], []), host)
        self.instance = wasmtime.Instance(self.store, self.module, [imported])

    def call(self, hook: str, *arguments: Any) -> Any:
        return self.instance.exports(self.store)[hook](self.store, *arguments)


instrumented = instrumented_by(WasmtimeInstrumentor)


def test_a_call_is_a_hook_of_the_module(instrumented: None, telemetry: Telemetry) -> None:
    plugin = Plugin()
    with trace.get_tracer_provider().get_tracer("test").start_as_current_span("request") as request:
        assert 30 == plugin.call("burn", 10)
    assert {("fish", "burn"): 1} == telemetry.counts(PLUGIN_DURATION)
    assert {} == telemetry.counts(PLUGIN_ERRORS)
    hook, _ = telemetry.spans()
    assert hook.parent is not None
    assert request.get_span_context().span_id == hook.parent.span_id


def test_fuel_is_what_the_engine_s_meter_says(instrumented: None, telemetry: Telemetry) -> None:
    plugin = Plugin(fuel=10_000)
    plugin.call("burn", 10)
    plugin.call("burn", 100)
    burned = 10_000 - plugin.store.get_fuel()
    assert burned > 500
    assert {("fish",): burned} == telemetry.counts(PLUGIN_FUEL_CONSUMED)
    assert burned == sum((span.attributes or {})["bext.fuel"] for span in telemetry.spans())


def test_an_engine_that_counts_no_fuel_has_no_fuel(instrumented: None, telemetry: Telemetry) -> None:
    plugin = Plugin(fuel=None)
    plugin.call("burn", 10)
    plugin.call("burn", 10)
    assert {("fish", "burn"): 2} == telemetry.counts(PLUGIN_DURATION)
    assert {} == telemetry.counts(PLUGIN_FUEL_CONSUMED)


def test_out_of_fuel_is_an_error(instrumented: None, telemetry: Telemetry) -> None:
    plugin = Plugin(fuel=50)
    with pytest.raises(wasmtime.Trap):
        plugin.call("burn", 1_000_000)
    assert {("fish", "burn"): 1} == telemetry.counts(PLUGIN_ERRORS)
    assert {("fish",): 50} == telemetry.counts(PLUGIN_FUEL_CONSUMED)
    (span,) = telemetry.spans()
    assert "out_of_fuel" == (span.attributes or {})["error.type"]
    told = [data.log_record for data in telemetry._records.get_finished_logs()]
    assert [("plugin failed", SeverityNumber.ERROR), ("plugin fuel consumed", SeverityNumber.TRACE)] == [
        (log.body, log.severity_number) for log in told
    ]


@pytest.mark.parametrize(
    ("hook", "arguments", "error_type"),
    [
        ("divide", (0,), "integer_division_by_zero"),
        ("unreachable", (), "unreachable"),
        ("deep", (), "stack_overflow"),
        ("burn", (), "WasmtimeError"),
        ("burn", ("x",), "TypeError"),
    ],
)
def test_a_failure_has_its_type(
    instrumented: None, telemetry: Telemetry, hook: str, arguments: tuple[Any, ...], error_type: str
) -> None:
    plugin = Plugin(fuel=10**9)
    outcome(lambda: plugin.call(hook, *arguments))
    assert {("fish", hook): 1} == telemetry.counts(PLUGIN_ERRORS)
    assert error_type == (telemetry.spans()[0].attributes or {})["error.type"]


# Before 45, wasmtime itself lets nothing through but what is an Exception.
passes_everything = pytest.mark.skipif(
    int(version("wasmtime").partition(".")[0]) < 45, reason="this wasmtime prints it and goes on"
)


@pytest.mark.parametrize(
    "error",
    [
        LookupError("no"),
        pytest.param(SystemExit(3), marks=passes_everything),
        pytest.param(KeyboardInterrupt(), marks=passes_everything),
    ],
)
def test_what_the_host_raises_inside_passes_on(
    instrumented: None, telemetry: Telemetry, error: BaseException
) -> None:
    def host(turns: int) -> None:
        raise error

    plugin = Plugin(host=host)
    with pytest.raises(type(error)) as raised:
        plugin.call("back", 1)
    assert error is raised.value
    assert {("fish", "back"): 1} == telemetry.counts(PLUGIN_ERRORS)
    assert 0 < telemetry.counts(PLUGIN_FUEL_CONSUMED)[("fish",)] < 100


def test_fuel_of_calls_within_calls_counts_once(instrumented: None, telemetry: Telemetry) -> None:
    plugin = Plugin(host=lambda turns: plugin.call("burn", turns) and None)
    plugin.call("back", 50)
    burned = 10_000 - plugin.store.get_fuel()
    assert {("fish",): burned} == telemetry.counts(PLUGIN_FUEL_CONSUMED)
    inner, outer = telemetry.spans()
    assert (inner.attributes or {})["bext.fuel"] > 10 * (outer.attributes or {})["bext.fuel"] > 0


def test_fuel_given_in_the_middle_of_a_call_is_not_lost(instrumented: None, telemetry: Telemetry) -> None:
    still = Plugin()
    still.call("back", 1)
    alone = telemetry.counts(PLUGIN_FUEL_CONSUMED)[("fish",)]
    plugin = Plugin("$refueled", host=lambda turns: plugin.store.set_fuel(1_000_000))
    plugin.call("back", 1)
    assert alone == telemetry.counts(PLUGIN_FUEL_CONSUMED)[("refueled",)]


def test_a_store_that_is_closed_says_so_as_ever(instrumented: None, telemetry: Telemetry) -> None:
    plugin = Plugin()
    plugin.store.close()
    assert "ValueError" == outcome(lambda: plugin.call("burn", 1))[0]


# --- Names --------------------------------------------------------------------------------------------------


def names(telemetry: Telemetry) -> set[Any]:
    return {plugin for plugin, _ in telemetry.counts(PLUGIN_DURATION)}


def test_a_module_without_a_name_is_unknown(instrumented: None, telemetry: Telemetry) -> None:
    Plugin("").call("two")
    assert {"unknown"} == names(telemetry)


def test_the_application_names_a_module_or_an_instance(instrumented: None, telemetry: Telemetry) -> None:
    plugin = Plugin()
    plugin.module.plugin_name = "carp"
    instance = wasmtime.Instance(
        plugin.store,
        plugin.module,
        [wasmtime.Func(plugin.store, wasmtime.FuncType([wasmtime.ValType.i32()], []), print)],
    )
    instance.exports(plugin.store)["two"](plugin.store)
    assert {"carp"} == names(telemetry)
    plugin.instance.plugin_name = "pike"
    plugin.call("two")
    assert {"carp", "pike"} == names(telemetry)


def test_a_module_from_a_file_has_its_name(instrumented: None, telemetry: Telemetry, tmp_path: Path) -> None:
    engine = wasmtime.Engine()
    for name, source in {"perch": "(module", "other": "(module $bass"}.items():
        path = tmp_path / f"{name}.wat"
        path.write_text(source + ' (func (export "hook")))')
        store = wasmtime.Store(engine)
        wasmtime.Instance(store, wasmtime.Module.from_file(engine, path), []).exports(store)["hook"](store)
    assert {"perch", "bass"} == names(telemetry)
    serialized = tmp_path / "eel.cwasm"
    serialized.write_bytes(wasmtime.Module(engine, '(module (func (export "hook")))').serialize())
    store = wasmtime.Store(engine)
    module = wasmtime.Module.deserialize_file(engine, str(serialized))
    wasmtime.Instance(store, module, []).exports(store)["hook"](store)
    assert {"perch", "bass", "eel"} == names(telemetry)


def test_what_a_linker_makes_is_named_too(instrumented: None, telemetry: Telemetry) -> None:
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    module = wasmtime.Module(engine, '(module $trout (func (export "hook")))')
    linker = wasmtime.Linker(engine)
    linker.instantiate(store, module).exports(store)["hook"](store)
    made = (
        linker.instantiate_pre(module).instantiate(store)
        if hasattr(linker, "instantiate_pre")
        else linker.instantiate(store, module)
    )
    made.exports(store)["hook"](store)
    linker.define_module(store, "named", module)
    linker.get(store, "named", "hook")(store)
    linker.get_default(store, "named")(store)
    assert {("trout", "hook"): 2, ("named", "hook"): 1, ("named", "default"): 1} == telemetry.counts(
        PLUGIN_DURATION
    )


def test_a_function_of_the_host_is_no_hook(instrumented: None, telemetry: Telemetry) -> None:
    store = wasmtime.Store()
    wasmtime.Func(store, wasmtime.FuncType([], []), lambda: None)(store)
    assert {} == telemetry.counts(PLUGIN_DURATION)


@pytest.mark.parametrize("code", [0, 1])
def test_a_program_that_exits_with_zero_has_succeeded(
    instrumented: None, telemetry: Telemetry, code: int
) -> None:
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())
    start = linker.instantiate(store, wasmtime.Module(engine, EXIT.format(code=code))).exports(store)[
        "_start"
    ]
    with pytest.raises(wasmtime.ExitTrap):
        start(store)
    assert {("program", "_start"): 1} == telemetry.counts(PLUGIN_DURATION)
    assert ({("program", "_start"): 1} if code else {}) == telemetry.counts(PLUGIN_ERRORS)


def compose() -> Any:
    config = wasmtime.Config()
    config.consume_fuel = True
    store = wasmtime.Store(wasmtime.Engine(config))
    store.set_fuel(10_000)
    made = component.Component(store.engine, COMPONENT)
    return store, component.Linker(store.engine).instantiate(store, made)


@composing
def test_functions_of_components_are_hooks(instrumented: None, telemetry: Telemetry) -> None:
    store, instance = compose()
    assert 42 == instance.get_func(store, "go")(store, False)
    inner = instance.get_export_index(store, "a:b/inner")
    function = instance.get_func(store, instance.get_export_index(store, "go", inner))
    if hasattr(function, "post_return"):
        instance.get_func(store, "go").post_return(store)
    assert instance.get_func(store, "nothing") is None
    assert instance.get_export_index(store, "nothing") is None
    assert {("composed", "go"): 1} == telemetry.counts(PLUGIN_DURATION)
    assert {("composed",): 10_000 - store.get_fuel()} == telemetry.counts(PLUGIN_FUEL_CONSUMED)


@composing
def test_a_component_out_of_fuel_says_so(instrumented: None, telemetry: Telemetry) -> None:
    store, instance = compose()
    outcome(lambda: instance.get_func(store, "go")(store, True))
    assert {("composed", "go"): 1} == telemetry.counts(PLUGIN_ERRORS)
    assert "out_of_fuel" == (telemetry.spans()[0].attributes or {})["error.type"]


@pytest.mark.parametrize(
    ("beginning", "name"),
    [
        ("(module $fish", "fish"),
        (";; (module $no)\n (; (module $no) ;) ( module\n$fish (memory 1)", "fish"),
        ("(module", "unknown"),
        ('(module (func $no (export "no"))', "unknown"),
        ("(module $fish.wasm", "fish"),
    ],
)
def test_a_text_says_what_its_module_is_called(
    instrumented: None, telemetry: Telemetry, beginning: str, name: str
) -> None:
    """A binary doesn't, unless it is taken apart."""
    text = beginning + '(func (export "hook")))'
    for source in (text, text.encode(), wasmtime.wat2wasm(text)):
        store = wasmtime.Store()
        wasmtime.Instance(store, wasmtime.Module(store.engine, source), []).exports(store)["hook"](store)
    counts = telemetry.counts(PLUGIN_DURATION)
    assert (
        {(name, "hook"): 2, ("unknown", "hook"): 1} == counts
        if name != "unknown"
        else {("unknown", "hook"): 3} == counts
    )


# --- Nothing changes ----------------------------------------------------------------------------------------

CALLS: dict[str, Any] = {
    "burn": lambda: Plugin().call("burn", 10),
    "two results": lambda: Plugin().call("two"),
    "no result": lambda: Plugin().call("back", 1),
    "out of fuel": lambda: Plugin(fuel=50).call("burn", 10**9),
    "division": lambda: Plugin().call("divide", 0),
    "unreachable": lambda: Plugin().call("unreachable"),
    "too few": lambda: Plugin().call("burn"),
    "too many": lambda: Plugin().call("burn", 1, 2),
    "wrong type": lambda: Plugin().call("burn", "x"),
    "no store": lambda: (plugin := Plugin()).instance.exports(plugin.store)["burn"](),
    "wrong store": lambda: (plugin := Plugin()).instance.exports(plugin.store)["burn"](None, 1),
    "no such export": lambda: Plugin().call("nothing"),
    "no fuel engine": lambda: Plugin(fuel=None).store.get_fuel(),
    "fuel left": lambda: ((plugin := Plugin()).call("burn", 10), plugin.store.get_fuel()),
    "set fuel wrongly": lambda: Plugin().store.set_fuel("x"),
    "bad module": lambda: wasmtime.Module(wasmtime.Engine(), "(module $x (func (call 7)))"),
    "bad bytes": lambda: wasmtime.Module(wasmtime.Engine(), b"\0asm\1\0\0\0\0\x90"),
    "no module": lambda: wasmtime.Module(wasmtime.Engine(), None),
    "no file": lambda: wasmtime.Module.from_file(wasmtime.Engine(), "/nowhere/at/all"),
    "component": lambda: (made := compose())[1].get_func(made[0], "go")(made[0], False),
    "component spins": lambda: (made := compose())[1].get_func(made[0], "go")(made[0], True),
    "component type": lambda: (made := compose())[1].get_func(made[0], "go")(made[0]),
}


@pytest.mark.parametrize("call", [call for call in CALLS if component or not call.startswith("component")])
def test_results_and_errors_are_the_library_s(call: str, telemetry: Telemetry) -> None:
    bare = outcome(CALLS[call])
    instrumentor = WasmtimeInstrumentor()
    instrumentor.instrument()
    try:
        assert bare == outcome(CALLS[call])
    finally:
        instrumentor.uninstrument()


def test_everything_is_put_back(telemetry: Telemetry) -> None:
    owners = [wasmtime.Func, wasmtime.Store, wasmtime.Module, wasmtime.Instance, wasmtime.Linker]
    owners += [component.Func, component.Instance, component.Component] if component else []
    before = [dict(vars(owner)) for owner in owners]
    instrumentor = WasmtimeInstrumentor()
    instrumentor.instrument()
    plugin = Plugin()
    instrumentor.uninstrument()
    assert before == [dict(vars(owner)) for owner in owners]
    assert 30 == plugin.call("burn", 10)
    assert [] == telemetry.spans()


def test_a_store_ends_with_its_last_reference(instrumented: None, telemetry: Telemetry) -> None:
    plugin = Plugin()
    plugin.call("burn", 1)
    gone = weakref.ref(plugin.store)
    del plugin
    gc.collect()
    assert gone() is None


def test_threads_with_stores_of_their_own_lose_no_fuel(instrumented: None, telemetry: Telemetry) -> None:
    burned: list[int] = []

    def work() -> None:
        plugin = Plugin(fuel=1_000_000)
        for _ in range(50):
            plugin.call("burn", 10)
        burned.append(1_000_000 - plugin.store.get_fuel())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {("fish", "burn"): 200} == telemetry.counts(PLUGIN_DURATION)
    assert {("fish",): sum(burned)} == telemetry.counts(PLUGIN_FUEL_CONSUMED)
