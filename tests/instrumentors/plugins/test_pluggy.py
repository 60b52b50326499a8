"""pluggy: hook calls by plugin and hook, wrappers, historic calls, and plugins that fail."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import Any, cast

import pluggy
import pytest
from opentelemetry import metrics, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk.resources import Resource
from pluggy import HookImpl

from bext_otel.apps import Budgets
from bext_otel.catalogue import OVERFLOW, PLUGIN_DURATION, PLUGIN_ERRORS
from bext_otel.metrics.families import of_process
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.snapshot import Distribution
from bext_otel.metrics.store.streams import Streams
from bext_otel_instrumentors.plugins.pluggy import PluggyInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.outcomes import outcome

spec = pluggy.HookspecMarker("test")
impl = pluggy.HookimplMarker("test")


class Specs:
    @spec
    def on_request(self, path: str) -> Any: ...

    @spec(firstresult=True)
    def choose(self, path: str) -> Any: ...

    @spec(historic=True)
    def on_start(self, config: str) -> Any: ...


class Plain:
    @impl
    def on_request(self, path: str) -> str:
        return f"plain {path}"

    @impl
    def choose(self, path: str) -> Any:
        return "plain" if path == "/plain" else None

    @impl
    def on_start(self, config: str) -> str:
        return config


class Failing:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @impl
    def on_request(self, path: str) -> str:
        raise self.error


class Wrapping:
    """A wrapper of today's style."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails

    @impl(wrapper=True)
    def on_request(self, path: str) -> Any:
        if self.fails == "before":
            raise LookupError("before")
        try:
            result = yield
        except LookupError:
            if self.fails == "swallows":
                return ["swallowed"]
            raise
        if self.fails == "after":
            raise LookupError("after")
        if self.fails == "twice":
            yield
        return [*result, "wrapped"]


class OldWrapping:
    @impl(hookwrapper=True)
    def on_request(self, path: str) -> Any:
        outcome = yield
        outcome.force_result([*outcome.get_result(), "old"])


def manager(*plugins: Any, **named: Any) -> pluggy.PluginManager:
    made = pluggy.PluginManager("test")
    made.add_hookspecs(Specs)
    for plugin in plugins:
        made.register(plugin, type(plugin).__name__.lower())
    for name, plugin in named.items():
        made.register(plugin, name)
    return made


instrumented = instrumented_by(PluggyInstrumentor, projects=("test",))


def test_each_plugin_s_hook_has_a_duration_and_a_span(instrumented: None, telemetry: Telemetry) -> None:
    made = manager(one=Plain(), two=Plain())
    with trace.get_tracer_provider().get_tracer("test").start_as_current_span("request") as request:
        assert ["plain /", "plain /"] == made.hook.on_request(path="/")
    assert {("one", "on_request"): 1, ("two", "on_request"): 1} == telemetry.counts(PLUGIN_DURATION)
    hooks = [span for span in telemetry.spans() if span.name == "bext.plugin.hook"]
    assert [request.get_span_context().span_id] * 2 == [span.parent.span_id for span in hooks if span.parent]
    assert {"two", "one"} == {(span.attributes or {})["bext.plugin"] for span in hooks}


def test_a_hook_that_stops_at_the_first_result_measures_those_it_called(
    instrumented: None, telemetry: Telemetry
) -> None:
    made = manager(one=Plain(), two=Plain())
    assert "plain" == made.hook.choose(path="/plain")
    assert {("two", "choose"): 1} == telemetry.counts(PLUGIN_DURATION)


@pytest.mark.parametrize(
    "error", [LookupError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration()]
)
def test_whatever_a_plugin_raises_passes_on_and_is_its_failure(
    instrumented: None, telemetry: Telemetry, error: BaseException
) -> None:
    made = manager(good=Plain(), bad=Failing(error))
    with pytest.raises(type(error)) as raised:
        made.hook.on_request(path="/")
    assert error is raised.value
    assert {("bad", "on_request"): 1} == telemetry.counts(PLUGIN_ERRORS)
    (span,) = telemetry.spans()
    assert type(error).__name__ == (span.attributes or {})["error.type"]
    told = [
        data.log_record
        for data in telemetry._records.get_finished_logs()
        if data.log_record.body == "plugin failed"
    ]
    assert [(SeverityNumber.ERROR, "bad", span.context.span_id)] == [
        (log.severity_number, log.attributes["plugin"], log.span_id) for log in told
    ]


@pytest.mark.parametrize(
    ("fails", "expected"),
    [("", {}), ("before", {"wrapping"}), ("after", {"wrapping"}), ("twice", {"wrapping"})],
)
def test_a_wrapper_that_fails_is_at_fault(
    instrumented: None, telemetry: Telemetry, fails: str, expected: set[str]
) -> None:
    made = manager(Plain(), Wrapping(fails))
    outcome(lambda: made.hook.on_request(path="/"))
    assert set(expected) == {plugin for plugin, _ in telemetry.counts(PLUGIN_ERRORS)}
    assert telemetry.counts(PLUGIN_DURATION)[("wrapping", "on_request")] == 1


@pytest.mark.parametrize("wrapper", [Wrapping(), Wrapping("swallows"), OldWrapping()])
def test_a_wrapper_around_a_failure_is_not_at_fault(
    instrumented: None, telemetry: Telemetry, wrapper: Any
) -> None:
    made = manager(Failing(LookupError("no")), wrapper)
    outcome(lambda: made.hook.on_request(path="/"))
    assert {("failing", "on_request"): 1} == telemetry.counts(PLUGIN_ERRORS)
    assert 2 == len(telemetry.counts(PLUGIN_DURATION))


def test_a_wrapper_s_time_is_its_own(instrumented: None, telemetry: Telemetry) -> None:
    """What it surrounds is not part of it, and its span is not the parent of what it surrounds."""
    release = threading.Event()

    class Slow:
        @impl
        def on_request(self, path: str) -> str:
            release.wait(0.3)
            return "slow"

    made = manager(Slow(), Wrapping(), OldWrapping())
    assert ["slow", "wrapped", "old"] == made.hook.on_request(path="/")
    sums = telemetry.sums(PLUGIN_DURATION)
    assert sums[("slow", "on_request")] >= 300_000
    assert sums[("wrapping", "on_request")] + sums[("oldwrapping", "on_request")] < 300_000
    assert [None, None, None] == [span.parent for span in telemetry.spans()]


def test_a_historic_call_is_measured_for_those_who_come_later(
    instrumented: None, telemetry: Telemetry
) -> None:
    made = manager(one=Plain())
    results: list[str] = []
    made.hook.on_start.call_historic(result_callback=results.append, kwargs={"config": "c"})
    made.register(Plain(), "late")
    assert ["c", "c"] == results
    assert {("one", "on_start"): 1, ("late", "on_start"): 1} == telemetry.counts(PLUGIN_DURATION)


def test_a_plugin_without_a_name_has_that_of_its_class(instrumented: None, telemetry: Telemetry) -> None:
    """pluggy knows it by its address, which is another one in each process."""
    made = pluggy.PluginManager("test")
    made.register(Plain())
    made.hook.on_request(path="/")
    assert {("Plain", "on_request"): 1} == telemetry.counts(PLUGIN_DURATION)


def test_hook_names_made_up_at_run_time_fold_and_lose_no_call(
    instrumented: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = Streams(Budgets({}))
    provider = BextMeterProvider(streams, Resource({}))
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)
    made = pluggy.PluginManager("test")
    for number in range(200):

        class Made:
            pass

        setattr(Made, f"hook_{number}", impl(lambda: None))
        made.register(Made, f"plugin_{number % 3}_{number}")
        getattr(made.hook, f"hook_{number}")()
    streams.drain()
    (family,) = of_process({streams.stream(PLUGIN_DURATION): {}}, time.monotonic())
    counts = {
        tuple(value for _, value in point.series.labels): cast("Distribution", point.value).count
        for point in family.points
    }
    assert 200 == sum(counts.values())
    hooks = {hook for _, hook in counts}
    assert OVERFLOW in hooks
    assert 51 == len(hooks)


def test_a_plugin_that_was_unregistered_can_be_collected(instrumented: None, telemetry: Telemetry) -> None:
    made = manager(one=Plain())
    plugin: Any = Plain()
    made.register(plugin, "two")
    made.hook.on_request(path="/")
    made.unregister(name="two")
    gone = weakref.ref(plugin)
    del plugin
    gc.collect()
    assert gone() is None
    made.hook.on_request(path="/")
    assert {("one", "on_request"): 2, ("two", "on_request"): 1} == telemetry.counts(PLUGIN_DURATION)


def test_extra_methods_are_measured_and_leave_nothing_behind(
    instrumented: None, telemetry: Telemetry
) -> None:
    """pluggy makes a new implementation of each, for each call."""
    made = manager(one=Plain())
    kept = []
    for _ in range(3):
        for _ in range(100):
            assert ["extra /", "plain /"] == made.hook.on_request.call_extra(
                [lambda path: f"extra {path}"], {"path": "/"}
            )
        gc.collect()
        kept.append(sum(type(thing) is HookImpl for thing in gc.get_objects()))
    assert kept[0] == kept[1] == kept[2]
    assert {("one", "on_request"): 300, ("<temp>", "on_request"): 300} == telemetry.counts(PLUGIN_DURATION)


def test_monitors_see_the_real_hooks(instrumented: None, telemetry: Telemetry) -> None:
    made = manager(one=Plain())
    seen: list[Any] = []
    undo = made.add_hookcall_monitoring(lambda name, impls, kwargs: seen.extend(impls), lambda *_: None)
    made.hook.on_request(path="/")
    undo()
    made.hook.on_request(path="/")
    assert made.hook.on_request.get_hookimpls() == seen
    assert {("one", "on_request"): 2} == telemetry.counts(PLUGIN_DURATION)


def test_a_manager_of_before_is_covered_at_its_next_plugin(telemetry: Telemetry) -> None:
    made = manager(one=Plain())
    instrumentor = PluggyInstrumentor()
    instrumentor.instrument(projects=("test",))
    try:
        made.register(Plain(), "two")
        made.hook.on_request(path="/")
        assert {("one", "on_request"): 1, ("two", "on_request"): 1} == telemetry.counts(PLUGIN_DURATION)
    finally:
        instrumentor.uninstrument()
    made.hook.on_request(path="/")
    assert {("one", "on_request"): 1, ("two", "on_request"): 1} == telemetry.counts(PLUGIN_DURATION)


def test_managers_of_other_projects_are_left_alone(instrumented: None, telemetry: Telemetry) -> None:
    other = pluggy.PluginManager("other")
    assert "_Executor" not in type(other._inner_hookexec).__name__


def test_a_test_run_of_pytest_s_is_no_plugin_s_work(telemetry: Telemetry) -> None:
    """The page on testing sets telemetry up within one; any other manager is measured."""
    instrumentor = PluggyInstrumentor()
    instrumentor.instrument()
    try:
        names = [
            type(pluggy.PluginManager(project)._inner_hookexec).__name__
            for project in ("pytest", "datasette")
        ]
        assert [False, True] == [name == "_Executor" for name in names]
    finally:
        instrumentor.uninstrument()


def test_everything_is_put_back_even_under_a_monitor(telemetry: Telemetry) -> None:
    before = dict(vars(pluggy.PluginManager))
    instrumentor = PluggyInstrumentor()
    instrumentor.instrument(projects=("test",))
    bare, watched = manager(one=Plain()), manager(one=Plain())
    undo = watched.add_hookcall_monitoring(lambda *_: None, lambda *_: None)
    instrumentor.uninstrument()
    assert before == dict(vars(pluggy.PluginManager))
    for made in (bare, watched):
        assert ["plain /"] == made.hook.on_request(path="/")
    undo()
    assert ["plain /"] == watched.hook.on_request(path="/")
    assert {} == telemetry.counts(PLUGIN_DURATION)


class Odd:
    """Marked as a wrapper, and none: without a specification nobody checks."""

    @impl(wrapper=True)
    def odd(self) -> Any:
        return 5


class Silent:
    @impl(wrapper=True)
    def on_request(self, path: str) -> Any:
        if path == "never":
            yield


CALLS: dict[str, Any] = {
    "plain": lambda: manager(Plain()).hook.on_request(path="/"),
    "no plugins": lambda: manager().hook.on_request(path="/"),
    "missing argument": lambda: manager(Plain()).hook.on_request(),
    "first result": lambda: manager(one=Plain(), two=Plain()).hook.choose(path="/plain"),
    "no result": lambda: manager(one=Plain()).hook.choose(path="/"),
    "wrapper": lambda: manager(Plain(), Wrapping()).hook.on_request(path="/"),
    "wrapper before": lambda: manager(Plain(), Wrapping("before")).hook.on_request(path="/"),
    "wrapper after": lambda: manager(Plain(), Wrapping("after")).hook.on_request(path="/"),
    "wrapper twice": lambda: manager(Plain(), Wrapping("twice")).hook.on_request(path="/"),
    "wrapper swallows": lambda: manager(Failing(LookupError()), Wrapping("swallows")).hook.on_request(
        path="/"
    ),
    "wrapper passes": lambda: manager(Failing(LookupError("x")), Wrapping()).hook.on_request(path="/"),
    "wrapper silent": lambda: manager(Plain(), Silent()).hook.on_request(path="/"),
    "wrapper odd": lambda: manager(Odd()).hook.odd(),
    "stop iteration": lambda: manager(Failing(StopIteration(5)), Wrapping(), OldWrapping()).hook.on_request(
        path="/"
    ),
    "old wrapper": lambda: manager(Plain(), OldWrapping(), Wrapping()).hook.on_request(path="/"),
    "old wrapper passes": lambda: manager(Failing(SystemExit(4)), OldWrapping()).hook.on_request(path="/"),
    "extra": lambda: manager(Plain()).hook.on_request.call_extra([lambda path: path], {"path": "/x"}),
    "subset": lambda: (made := manager(one=Plain(), two=Plain())).subset_hook_caller(
        "on_request", [made.get_plugin("one")]
    )(path="/"),
    "registered twice": lambda: (
        (made := manager()).register(plugin := Plain(), "x") and made.register(plugin, "y")
    ),
    "unregister": lambda: manager().unregister(name="nobody"),
    "unknown plugin": lambda: manager().register(object(), "x"),
}


@pytest.mark.parametrize("call", CALLS)
def test_results_and_errors_are_the_library_s(call: str, telemetry: Telemetry) -> None:
    bare = outcome(CALLS[call])
    instrumentor = PluggyInstrumentor()
    instrumentor.instrument(projects=("test",))
    try:
        assert bare == outcome(CALLS[call])
    finally:
        instrumentor.uninstrument()
