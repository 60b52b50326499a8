from __future__ import annotations

import asyncio
import copy
import io
import json
import logging
import pickle
import pickletools
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.context import attach, detach

from tests.logs.conftest import Start
from tests.logs.programs import Ran


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    logger_class = logging.getLoggerClass()
    structlog.reset_defaults()
    yield
    # structlog's own logger factory replaces it.
    logging.setLoggerClass(logger_class)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_an_event_is_one_line_and_one_exported_record(start: Start) -> None:
    logs = start()
    structlog.get_logger().warning("render.slow", app="marketing", elapsed_ms=3.2)
    (line,), (record,) = logs.lines(), logs.exported()
    line.pop("timestamp")
    expected = {
        "level": "warn",
        "target": __name__,
        "message": "render.slow",
        "app": "marketing",
        "elapsed_ms": 3.2,
    }
    assert expected == line
    assert ("render.slow", {"app": "marketing", "elapsed_ms": 3.2}) == (
        record.body,
        dict(record.attributes or {}),
    )


def test_a_logger_s_name_and_bound_values_are_on_the_line(start: Start) -> None:
    logs = start()
    structlog.contextvars.bind_contextvars(tenant="acme")
    structlog.get_logger("shop.cart", cart=7).bind(item=8).info("added %s", "tea")
    (line,) = logs.lines()
    assert ("shop.cart", "added tea", 7, 8, "acme") == tuple(
        line[key] for key in ("target", "message", "cart", "item", "tenant")
    )


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("trace", ["trace", "debug", "info", "warn", "error", "error"]),
        ("debug", ["debug", "info", "warn", "error", "error"]),
        ("warn", ["warn", "error", "error"]),
        ("error", ["error", "error"]),
    ],
)
def test_levels_apply(start: Start, level: str, expected: list[str]) -> None:
    logs = start(level=level)
    log = structlog.get_logger()
    for method in ("trace", "debug", "info", "warning", "error", "critical"):
        getattr(log, method)("event %s", 1)
    assert expected == [line["level"] for line in logs.lines()]


def test_trace_is_a_severity_of_its_own(start: Start) -> None:
    logs = start(level="trace")
    structlog.get_logger().trace("fuel", consumed=3)
    (record,) = logs.exported()
    assert ("TRACE", 1) == (
        record.severity_text,
        record.severity_number.value if record.severity_number else None,
    )


def test_filters_apply_by_name(start: Start) -> None:
    logs = start(filters={"noisy": "error", "chatty": "debug"})
    structlog.get_logger("noisy").info("no")
    structlog.get_logger("noisy.inner").error("yes")
    assert ["yes"] == [line["message"] for line in logs.lines()]


def test_without_a_level_all_that_structlog_prints_by_itself_is_told(start: Start) -> None:
    logs = start(level="")
    structlog.get_logger().debug("detail")
    assert [("debug", "detail")] == [(line["level"], line["message"]) for line in logs.lines()]


def test_an_exception_is_told(start: Start) -> None:
    logs = start()
    log = structlog.get_logger()
    try:
        raise KeyError("k")
    except KeyError as error:
        log.exception("one")
        log.error("two", exc_info=error)
        log.error("three", exc_info=True)
    assert ["KeyError"] * 3 == [line["exception.type"] for line in logs.lines()]


def test_asynchronous_methods_keep_the_context(start: Start) -> None:
    logs = start()

    async def work() -> None:
        structlog.contextvars.bind_contextvars(tenant="acme")
        await structlog.get_logger("shop").ainfo("hello")

    asyncio.run(work())
    assert [("hello", "acme", "shop")] == [
        (line["message"], line["tenant"], line["target"]) for line in logs.lines()
    ]


def test_values_that_cannot_be_written_raise_nothing(start: Start) -> None:
    logs = start()
    structlog.get_logger().info("\ud800", level="mine", event_id={1}, thing=object)
    (line,) = logs.lines()
    assert ("�", "mine", [1], "<class 'object'>") == (
        line["message"],
        line["fields.level"],
        line["event_id"],
        line["thing"],
    )


def test_a_program_that_configured_structlog_for_logging_arrives_once(start: Start) -> None:
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    logs = start()
    structlog.get_logger("shop").info("hello", items=2)
    structlog.reset_defaults()
    (line,), (record,) = logs.lines(), logs.exported()
    assert ("info", "shop", "hello", 2) == tuple(line[key] for key in ("level", "target", "message", "items"))
    assert "hello" == record.body


def test_what_structlog_leaves_to_a_formatter_is_told_in_our_terms(start: Start) -> None:
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    logs = start()
    try:
        raise KeyError("k")
    except KeyError:
        structlog.get_logger("shop").exception("broken", items=2)
    structlog.get_logger("shop").info("odd", level="mine")
    structlog.reset_defaults()
    line, odd = logs.lines()
    assert {
        "timestamp",
        "level",
        "target",
        "message",
        "items",
        "exception.type",
        "exception.message",
        "exception.stacktrace",
        "exceptions",
    } == line.keys()
    assert ("error", "KeyError") == (line["level"], line["exception.type"])
    assert "info" == odd["level"]


def test_a_program_that_configures_structlog_later_has_its_way(start: Start) -> None:
    logs = start()
    seen: list[Any] = []

    def last(_: Any, __: str, event: Any) -> str:
        seen.append(event)
        return str(event["event"])

    structlog.configure(processors=[last], logger_factory=structlog.stdlib.LoggerFactory())
    structlog.get_logger("shop").info("hello")
    structlog.reset_defaults()
    assert (["hello"], 1, 1) == ([line["message"] for line in logs.lines()], len(seen), len(logs.exported()))


def printing(**settings: Any) -> None:
    """What many programs have."""
    processors = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(processors=[*processors, structlog.processors.JSONRenderer()], **settings)


@pytest.mark.parametrize(
    "settings", [{"logger_factory": structlog.PrintLoggerFactory()}, {}], ids=["explicit", "default"]
)
def test_what_a_program_prints_by_structlog_itself_is_exported_and_printed_once(
    start: Start, settings: dict[str, Any]
) -> None:
    logs = start()
    printing(**settings)
    context = trace.set_span_in_context(trace.NonRecordingSpan(trace.SpanContext(7, 8, is_remote=False)))
    token = attach(context)
    structlog.get_logger().warning("render.slow", elapsed_ms=3.2)
    detach(token)
    assert [{"elapsed_ms": 3.2, "event": "render.slow", "level": "warning"}] == logs.lines()
    (record,) = logs.exported()
    assert ("render.slow", {"elapsed_ms": 3.2}, 7, "WARN") == (
        record.body,
        dict(record.attributes or {}),
        record.trace_id,
        record.severity_text,
    )
    structlog.reset_defaults()


def test_what_a_program_prints_itself_is_in_our_file(start: Start, tmp_path: Path) -> None:
    start(output="file", file_path=str(tmp_path / "app.log"))
    printing()
    structlog.get_logger().warning("render.slow")
    assert "render.slow" == json.loads((tmp_path / "app.log").read_text())["message"]
    structlog.reset_defaults()


def test_an_exception_that_the_program_has_formatted_is_a_stack_trace(start: Start) -> None:
    logs = start()
    printing()
    try:
        raise KeyError("k")
    except KeyError:
        structlog.get_logger().exception("broken")
    (record,) = logs.exported()
    assert "KeyError: 'k'" in str((record.attributes or {})["exception.stacktrace"])
    assert "exception" not in (record.attributes or {})
    structlog.reset_defaults()


def test_a_program_may_configure_structlog_before_us_once_or_again(start: Start) -> None:
    printing()
    logs = start()
    structlog.get_logger().info("before")
    printing()
    printing()
    structlog.get_logger().info("again")
    structlog.reset_defaults()
    assert not structlog.is_configured()
    structlog.configure_once(processors=iter([structlog.processors.JSONRenderer()]))
    structlog.get_logger().info("once")
    assert (
        ["before", "again", "once"]
        == [line["event"] for line in logs.lines()]
        == [record.body for record in logs.exported()]
    )
    structlog.reset_defaults()


def test_a_program_that_asks_first_finds_structlog_unconfigured(start: Start) -> None:
    start()
    assert not structlog.is_configured()
    structlog.configure_once(processors=[structlog.processors.JSONRenderer()])
    assert structlog.is_configured()
    structlog.reset_defaults()


def test_what_a_program_changes_of_our_configuration_stays_when_it_brings_processors(start: Start) -> None:
    start()
    structlog.configure(context_class=OrderedDict)
    printing()
    assert OrderedDict is structlog.get_config()["context_class"]
    assert isinstance(structlog.get_config()["logger_factory"], structlog.PrintLoggerFactory)
    structlog.reset_defaults()


def test_capturing_events_in_a_test_sees_them_and_leaves_everything_in_place(start: Start) -> None:
    logs = start()
    for _ in range(2):
        with structlog.testing.capture_logs() as captured:
            structlog.get_logger().info("hello")
        assert ["hello"] == [event["event"] for event in captured]
        printing()
    structlog.get_logger().info("afterwards")
    assert ["afterwards"] == [record.body for record in logs.exported()]
    structlog.reset_defaults()


def test_we_leave_nothing_in_structlog_s_configuration_nor_in_its_classes(start: Start) -> None:
    before = vars(structlog.BoundLogger.__mro__[1]).copy(), structlog.configure, structlog.get_config()
    logs = start()
    assert before[1:] == (structlog.configure, structlog.get_config())
    logs.installed.remove()
    assert before == (
        vars(structlog.BoundLogger.__mro__[1]).copy(),
        structlog.configure,
        structlog.get_config(),
    )


@pytest.mark.parametrize("own", [False, True], ids=["as it comes", "configured"])
def test_a_bound_logger_copies_and_pickles_as_if_we_were_not_there(start: Start, own: bool) -> None:
    if own:
        printing(wrapper_class=structlog.make_filtering_bound_logger(20))
    bare = structlog.get_logger("jobs").bind(job=7)
    alone = pickletools.genops(pickle.dumps(bare))
    kinds = {argument for _, argument, _ in alone if isinstance(argument, str)}
    logs = start()
    log = structlog.get_logger("jobs").bind(job=7)
    assert kinds == {
        argument for _, argument, _ in pickletools.genops(pickle.dumps(log)) if isinstance(argument, str)
    }
    copied, loaded = copy.deepcopy(log), pickle.loads(pickle.dumps(log))
    assert log == copied == loaded
    assert repr(bare) == repr(log)
    copy.deepcopy(structlog.get_config())
    for each in (log, copied, loaded):
        each.info("worked")
    assert [("worked", 7)] * 3 == [
        (record.body, (record.attributes or {})["job"]) for record in logs.exported()
    ]
    assert 3 == len(logs.lines())
    structlog.reset_defaults()


def test_who_looks_for_the_caller_finds_the_application(start: Start) -> None:
    start()
    seen: list[Any] = []
    structlog.configure(
        processors=[
            structlog.processors.CallsiteParameterAdder(),
            lambda _, __, event: seen.append(dict(event)) or "shown",
        ],
    )
    structlog.get_logger().info("hello")
    structlog.reset_defaults()
    assert [("test_structured", "test_who_looks_for_the_caller_finds_the_application")] == [
        (e["module"], e["func_name"]) for e in seen
    ]


def test_resetting_the_defaults_loses_nothing(start: Start) -> None:
    logs = start()
    log = structlog.get_logger("shop")
    log.info("before")
    structlog.reset_defaults()
    log.info("after")
    structlog.get_logger("shop").bind(item=1).info("bound")
    assert ["before", "after", "bound"] == [line["message"] for line in logs.lines()]


@pytest.mark.parametrize(
    "factory",
    [structlog.BytesLoggerFactory, structlog.PrintLoggerFactory, structlog.WriteLoggerFactory],
    ids=lambda each: each.__name__,
)
@pytest.mark.parametrize("names", [(), ("shop",)], ids=["no name", "named"])
def test_the_fastest_setup_loses_nothing(start: Start, factory: Any, names: tuple[str, ...]) -> None:
    """Its loggers have no name unless they are given one."""
    logs = start()
    as_bytes = factory is structlog.BytesLoggerFactory
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(
                serializer=(lambda *a, **k: json.dumps(*a, **k).encode()) if as_bytes else json.dumps
            ),
        ],
        logger_factory=factory(io.BytesIO() if as_bytes else io.StringIO()),
    )
    log = structlog.get_logger(*names)
    log.info("hello", items=2, stack_info=True)
    log.info("again")
    structlog.reset_defaults()
    first, second = logs.exported()
    assert ("hello", "again", 2) == (first.body, second.body, (first.attributes or {})["items"])
    assert "test_the_fastest_setup_loses_nothing" in str((first.attributes or {})["code.stacktrace"])
    assert {*(names or [__name__])} == {record.instrumentation_scope.name for record in logs.whole()}
    assert [] == logs.lines()


# Each factory of structlog's, as its documentation has it, and whether what it writes stands at the terminal.
FACTORIES = {
    "as it is": "",
    "print": "structlog.configure(logger_factory=structlog.PrintLoggerFactory())",
    "print to stderr": "structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))",
    "write": "structlog.configure(logger_factory=structlog.WriteLoggerFactory())",
    "write to stderr": "structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=sys.stderr))",
    "stdlib, for logging": (
        "structlog.configure(logger_factory=structlog.stdlib.LoggerFactory(), processors=["
        "structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs], "
        "wrapper_class=structlog.stdlib.BoundLogger)"
    ),
}
BYTES = (
    "structlog.configure(logger_factory=structlog.BytesLoggerFactory(), processors=["
    "structlog.processors.add_log_level, "
    "structlog.processors.JSONRenderer(serializer=lambda *a, **k: json.dumps(*a, **k).encode())])"
)


@pytest.mark.parametrize("configured", FACTORIES.values(), ids=list(FACTORIES))
def test_every_factory_ends_in_one_line_and_one_record(configured: str) -> None:
    ran = Ran(f"import structlog\n{configured}\nstructlog.get_logger().info('order.placed', order=7)\n")
    assert ([], ["order.placed"], 7) == (ran.err, ran.messages, json.loads(ran.out[0])["order"])
    assert ["order.placed"] == ran.exported


def test_what_structlog_makes_a_text_of_for_the_standard_library_is_one_line_and_one_record() -> None:
    ran = Ran(
        "import structlog\nstructlog.stdlib.recreate_defaults()\n"
        "structlog.get_logger().info('order.placed', order=7)\n"
    )
    ((said,), (exported,)) = (ran.messages, ran.exported)
    assert (True, said, []) == ("order.placed" in said, exported, ran.err)


def test_what_a_bytes_logger_writes_stays_as_the_program_chose_it_and_is_one_record() -> None:
    ran = Ran(f"import json, structlog\n{BYTES}\nstructlog.get_logger().info('order.placed', order=7)\n")
    assert (['{"order": 7, "event": "order.placed", "level": "info"}'], []) == (ran.out, ran.err)
    assert ["order.placed"] == ran.exported


@pytest.mark.parametrize(
    "factory", ["structlog.ReturnLoggerFactory", "structlog.testing.CapturingLoggerFactory"]
)
def test_what_is_returned_or_kept_for_a_test_is_no_event(factory: str) -> None:
    ran = Ran(
        f"import structlog\nstructlog.configure(logger_factory={factory}(), processors=[lambda *a: a[2]])\n"
        "log = structlog.get_logger()\nsaid = log.info('order.placed', order=7)\n"
        "assert said is None or said == {'order': 7, 'event': 'order.placed'} or said[1], said\n"
    )
    assert ([], [], []) == (ran.out, ran.err, ran.exported)


def test_a_stack_that_was_asked_for_is_shown(start: Start) -> None:
    logs = start()
    structlog.get_logger().info("here", stack_info=True)
    (line,) = logs.lines()
    assert line["code.stacktrace"].rstrip().endswith('structlog.get_logger().info("here", stack_info=True)')
    assert "stack" not in line


def test_a_logger_with_processors_of_its_own_is_heard(start: Start) -> None:
    logs = start()
    structlog.wrap_logger(
        structlog.PrintLogger(io.StringIO()), processors=[structlog.processors.JSONRenderer()]
    ).info("hello")
    assert ["hello"] == [record.body for record in logs.exported()]


def test_what_an_adapter_of_the_standard_library_s_takes_arrives_once(start: Start) -> None:
    logs = start()
    adapter = logging.LoggerAdapter(logging.getLogger("shop"), {})
    structlog.wrap_logger(adapter, processors=[structlog.stdlib.render_to_log_kwargs]).info("hello")
    assert ["hello"] == [record.body for record in logs.exported()]


def test_an_event_that_the_last_processor_drops_is_told_nowhere(start: Start) -> None:
    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    logs = start()
    structlog.configure(processors=[drop])
    structlog.get_logger().info("hello")
    structlog.reset_defaults()
    assert ([], []) == (logs.lines(), logs.exported())


def test_a_later_configuration_survives_our_leaving(start: Start) -> None:
    logs = start()
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.PrintLoggerFactory()
    )
    logs.installed.remove()
    assert structlog.is_configured()
    structlog.reset_defaults()


def test_without_output_structlog_prints_as_ever_and_is_exported(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = start(output="none")
    structlog.get_logger().info("hello", items=2)
    assert 1 == capsys.readouterr().out.count("hello")
    assert [("hello", {"items": 2})] == [
        (record.body, dict(record.attributes or {})) for record in logs.exported()
    ]


def test_our_configuration_leaves_the_program_s_logger_class_alone(start: Start) -> None:
    before = logging.getLoggerClass()
    start()
    structlog.get_logger().info("hello")
    assert before is logging.getLoggerClass()


def test_structlog_is_configured_when_the_program_imports_it_and_not_imported_before() -> None:
    script = """
import json, sys
from bext_otel.config import LoggingSettings
from bext_otel.logs.install import build_provider, install
from opentelemetry.sdk.resources import Resource
provider = build_provider(LoggingSettings(output="stdout"), Resource({}), None)
installed = install(LoggingSettings(output="stdout"), provider, apps={})
assert "structlog" not in sys.modules
import structlog
structlog.get_logger().info("hello")
installed.remove()
assert not structlog.is_configured()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (0, 1) == (done.returncode, done.stdout.count('"message":"hello"')), done.stderr


@pytest.mark.parametrize("renderer", ["JSONRenderer", "EventAdapter"])
def test_twisted_s_factory_hands_on_messages_and_failures(start: Start, renderer: str) -> None:
    """Twisted prints them; an error is one, with its exception."""
    pytest.importorskip("twisted")
    from twisted.python.failure import Failure

    logs = start()
    structlog.configure(
        processors=[structlog.processors.add_log_level, getattr(structlog.twisted, renderer)()],
        logger_factory=structlog.twisted.LoggerFactory(),
        wrapper_class=structlog.twisted.BoundLogger,
    )
    logger = structlog.get_logger().bind(password="hunter2")
    logger.msg("hello", tea=2)
    try:
        raise LookupError("no tea")
    except LookupError:
        logger.err(event="failed")
        logger.err(Failure(), _why="again")
        logger.err(_stuff=Failure(), _why="again")
    said, *failed = logs.exported()
    assert ("hello", "INFO", {"password": "REDACTED[name]", "tea": 2}) == (
        said.body,
        said.severity_text,
        dict(said.attributes or {}),
    )
    for record, body in zip(failed, ("failed", "again", "again"), strict=True):
        attributes = dict(record.attributes or {})
        assert (body, "ERROR", "LookupError", "no tea") == (
            record.body,
            record.severity_text,
            attributes["exception.type"],
            attributes["exception.message"],
        )
        assert not [name for name in attributes if name.startswith("_") or name == "level"]
    structlog.reset_defaults()
