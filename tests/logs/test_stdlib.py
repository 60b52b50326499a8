"""What becomes of programs that configure logging themselves, each in a process of its own, as
`sitecustomize` would meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.logs.programs import Ran

BASIC_CONFIG = "logging.basicConfig(format='own %(message)s', level='INFO'"
DICT_CONFIG = """
logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"own": {"format": "own %(message)s"}},
    "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own"}},
    "root": {"handlers": ["own"], "level": "INFO"},
})
"""
ON_STDOUT = DICT_CONFIG.replace('"formatter": "own"}', '"formatter": "own", "stream": "ext://sys.stdout"}')


def test_an_application_that_never_configured_logging_keeps_its_warnings_and_gains_info() -> None:
    ran = Ran("log.warning('careful'); log.info('fine'); log.debug('detail')")
    assert (["careful", "fine"], ["careful", "fine"], []) == (ran.messages, ran.exported, ran.err)


def test_an_application_that_never_configured_logging_prints_what_it_would_without_us_and_its_libraries_stay_silent() -> (
    None
):
    program = """
log.warning('careful'); log.info('fine')
logging.getLogger("httpx").info("HTTP Request: GET https://user:hunter2@shop.example/?token=abc")
assert logging.root.level == logging.WARNING and not log.isEnabledFor(logging.INFO)
"""
    ran = Ran(program, level="")
    assert (["careful"], ["careful"], []) == (ran.messages, ran.exported, ran.err)


def test_a_logger_shows_the_application_s_handlers_and_none_of_ours() -> None:
    """As without us: nobody has a handler, and the root logger is the last."""
    program = """
import copy, pickle
assert not logging.root.hasHandlers() and not log.hasHandlers() and logging.root.parent is None
top = log
while top.parent is not None:
    top = top.parent
assert top is logging.root
for logger in (log, logging.root):
    assert copy.deepcopy(logger) is pickle.loads(pickle.dumps(logger)) is logger and not logger.filters
record = logging.makeLogRecord({"name": "shop", "msg": "made", "levelno": 30})
before = dict(vars(record))
logging.root.handle(record)
assert vars(record) == before == vars(copy.copy(record)) == vars(pickle.loads(pickle.dumps(record)))
logging.basicConfig()
log.info("hello")
(handler,) = logging.root.handlers
assert not handler.filters and set(vars(handler)) == set(vars(logging.StreamHandler()))
assert logging.Handler.handle.__qualname__ == "Handler.handle"
"""
    assert (["made", "hello"], []) == ((ran := Ran(program)).messages, ran.err)


def test_a_handler_that_is_added_where_there_is_none_gets_its_records(tmp_path: Path) -> None:
    program = f"""
for logger in (logging.root, log):
    if not logger.hasHandlers():
        logger.addHandler(logging.FileHandler({str(tmp_path / "app.log")!r}))
log.warning("sold")
"""
    ran = Ran(program)
    assert ("sold\n", ["sold"]) == ((tmp_path / "app.log").read_text(), ran.messages)


def test_who_else_listens_at_every_logger_goes_on_before_us_and_after() -> None:
    """As Sentry does, in the same place."""
    program = """
def listen(name):
    original = logging.Logger.callHandlers
    def callHandlers(self, record):
        print(name, record.getMessage())
        return original(self, record)
    logging.Logger.callHandlers = callHandlers
installed.remove()
listen("inner")
installed = install(config, provider, apps={})
listen("outer")
log.info("hello")
installed.remove()
log.warning("bye")
"""
    ran = Ran(program)
    assert ["outer hello", "inner hello", "outer bye", "inner bye"] == [
        line for line in ran.out if not line.startswith("{")
    ]
    assert (["hello"], ["bye"]) == (ran.exported, ran.err)


def test_a_handler_of_opentelemetry_s_that_emits_where_we_do_tells_nothing_twice() -> None:
    """Documents of backends have it added; with a provider of the application's own it goes on as ever."""
    pytest.importorskip("opentelemetry.instrumentation.logging.handler")
    program = """
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
theirs, kept = LoggerProvider(shutdown_on_exit=False), InMemoryLogRecordExporter()
theirs.add_log_record_processor(SimpleLogRecordProcessor(kept))
for each in (provider, theirs):
    logging.root.addHandler(LoggingHandler(logger_provider=each))
log.warning("once"); log.info("fine")
log.propagate = False
log.addHandler(logging.root.handlers[0])
log.info("apart")
assert ["once", "fine"] == [record.log_record.body for record in kept.get_finished_logs()]
"""
    ran = Ran(program)
    assert (["once", "fine"], ["once", "fine", "apart"], []) == (ran.messages, ran.exported, ran.err)


def test_a_handler_that_raises_costs_no_record() -> None:
    program = """
class Broken(logging.Handler):
    def emit(self, record):
        raise RuntimeError("no")
log.addHandler(Broken())
try:
    log.info("hello")
except RuntimeError:
    print("raised")
"""
    ran = Ran(program)
    assert (["raised"], ["hello"]) == ([line for line in ran.out if not line.startswith("{")], ran.exported)


def test_what_python_s_handler_of_last_resort_would_print_of_a_logger_that_does_not_propagate_is_our_line() -> (
    None
):
    ran = Ran("log.propagate = False; log.warning('apart'); log.info('silent')")
    assert (["apart"], ["apart"], []) == (ran.messages, ran.exported, ran.err)


@pytest.mark.parametrize("export", [False, True])
def test_without_output_the_handler_of_last_resort_still_works(export: bool) -> None:
    ran = Ran("log.warning('careful'); log.info('fine')", output="none", export=export)
    assert ([], ["careful"], ["careful", "fine"] if export else []) == (ran.out, ran.err, ran.exported)


def test_without_output_an_application_s_own_handlers_work_as_ever() -> None:
    ran = Ran(
        "logging.basicConfig(format='own %(message)s'); log.warning('careful'); logging.warning('root')",
        output="none",
    )
    assert ([], ["own careful", "own root"], ["careful", "root"]) == (ran.out, ran.err, ran.exported)


def test_disabled_logging_is_left_alone() -> None:
    ran = Ran(
        "assert logging.root.level == logging.WARNING and not logging.root.handlers; log.warning('careful')",
        enabled=False,
    )
    assert ([], ["careful"], []) == (ran.out, ran.err, ran.exported)


def test_after_basic_config_events_are_our_lines_once() -> None:
    """What it would print is printed already."""
    ran = Ran("logging.basicConfig(format='own %(message)s'); log.info('hello')")
    assert (["hello"], ["hello"], []) == (ran.messages, ran.exported, ran.err)


def test_basic_config_sets_its_level() -> None:
    assert ["detail"] == Ran("logging.basicConfig(level='DEBUG'); log.debug('detail')").messages
    assert ["grave"] == Ran(
        "logging.basicConfig(level='ERROR'); log.warning('light'); log.error('grave')"
    ).messages


def test_basic_config_writes_its_file(tmp_path: Path) -> None:
    ran = Ran(
        f"logging.basicConfig(filename={str(tmp_path / 'app.log')!r}, format='own %(message)s', "
        "level='DEBUG'); log.debug('detail')"
    )
    assert ("own detail\n", ["detail"], []) == ((tmp_path / "app.log").read_text(), ran.messages, ran.err)


def test_basic_config_keeps_the_handlers_that_it_is_given(tmp_path: Path) -> None:
    handlers = f"[logging.StreamHandler(), logging.FileHandler({str(tmp_path / 'app.log')!r})]"
    ran = Ran(f"logging.basicConfig(handlers={handlers}, format='own %(message)s'); log.info('hello')")
    assert ("own hello\n", ["hello"], []) == ((tmp_path / "app.log").read_text(), ran.messages, ran.err)


def test_basic_config_may_write_to_a_stream_of_the_application() -> None:
    ran = Ran(
        "import io; own = io.StringIO(); logging.basicConfig(stream=own); log.warning('hello'); "
        "sys.stderr.write(own.getvalue())"
    )
    assert (["hello"], ["WARNING:shop:hello"]) == (ran.messages, ran.err)


def test_basic_config_does_nothing_a_second_time(tmp_path: Path) -> None:
    """As ever: the silent handler of the first call stands where an application finds it."""
    ran = Ran(
        f"logging.basicConfig(); logging.basicConfig(filename={str(tmp_path / 'app.log')!r}); "
        "log.info('hello')"
    )
    assert (False, ["hello"], []) == ((tmp_path / "app.log").exists(), ran.messages, ran.err)


def test_functions_of_the_module_which_configure_it_print_nothing_twice() -> None:
    ran = Ran("logging.warning('careful')")
    assert (["careful"], ["careful"], []) == (ran.messages, ran.exported, ran.err)


def test_after_our_leaving_basic_config_s_handler_speaks() -> None:
    script = """
logging.basicConfig(format='own %(message)s')
installed.remove()
assert logging.basicConfig.__module__ == "logging" and not hasattr(logging.basicConfig, "__wrapped__")
log.warning("hello")
"""
    ran = Ran(script)
    assert ([], ["own hello"]) == (ran.out, ran.err)


def test_lines_to_a_file_leave_the_terminal_to_basic_config(tmp_path: Path) -> None:
    ran = Ran(
        "logging.basicConfig(format='own %(message)s'); log.info('hello')",
        output="file",
        file_path=str(tmp_path / "app.log"),
    )
    assert (["own hello"], "hello") == (ran.err, json.loads((tmp_path / "app.log").read_text())["message"])


@pytest.mark.parametrize(
    "configure",
    [
        f"{BASIC_CONFIG}, force=True)",
        f"logging.root.handlers.clear(); {BASIC_CONFIG})",
        f"logging.root.handlers = []; {BASIC_CONFIG})",
        f"while logging.root.handlers: logging.root.removeHandler(logging.root.handlers[0])\n{BASIC_CONFIG})",
    ],
    ids=["force", "clear", "replace", "remove"],
)
def test_who_empties_the_root_logger_does_not_take_our_lines_away(configure: str) -> None:
    ran = Ran(f"{configure}\nlog.info('hello')\nlog.debug('detail')")
    assert (["hello"], ["hello"], []) == (ran.messages, ran.exported, ran.err)


@pytest.mark.parametrize("configure", [DICT_CONFIG, ON_STDOUT], ids=["stderr", "stdout"])
def test_handlers_of_a_dict_config_stand_down_for_our_lines(configure: str) -> None:
    ran = Ran(f"{configure}\nlog.info('hello')\nlog.debug('detail')")
    assert (["hello"], ["hello"], []) == (ran.messages, ran.exported, ran.err)


def test_what_the_application_prints_to_our_stream_is_written_to_our_file(tmp_path: Path) -> None:
    ran = Ran(ON_STDOUT + "log.info('hello')", output="file", file_path=str(tmp_path / "app.log"))
    assert (["own hello"], "hello") == (ran.out, json.loads((tmp_path / "app.log").read_text())["message"])


@pytest.mark.parametrize(
    "choice",
    [
        "logging.root.handlers[0].setLevel('ERROR')",
        "logging.root.handlers[0].addFilter(lambda record: 'secret' in record.getMessage())",
    ],
    ids=["level", "filter"],
)
def test_what_the_application_s_handler_leaves_out_is_our_line(choice: str) -> None:
    ran = Ran(f"{ON_STDOUT}\n{choice}\nlog.warning('hello'); log.error('secret')")
    assert ["hello", "secret"] == ran.messages


def test_a_logger_with_its_own_handler_on_our_stream_is_not_told_twice() -> None:
    ran = Ran(
        "log.addHandler(logging.StreamHandler(sys.stdout)); log.info('hello'); "
        "logging.getLogger('shop.cart').info('cart')"
    )
    assert (["hello", "cart"], ["hello", "cart"]) == (ran.messages, ran.exported)


def test_configuring_again_and_again_tells_nothing_twice() -> None:
    ran = Ran(DICT_CONFIG * 3 + "log.info('hello')")
    assert (["hello"], ["hello"], []) == (ran.messages, ran.exported, ran.err)


def test_what_a_logger_prints_that_does_not_propagate_is_told_and_nothing_else_of_it(tmp_path: Path) -> None:
    """uvicorn's loggers, for instance, print their lines themselves."""
    program = f"""
log.propagate = False
log.addHandler(logging.FileHandler({str(tmp_path / "own.log")!r}))
log.warning("to the file only")
log.addHandler(logging.StreamHandler())
log.warning("printed")
"""
    ran = Ran(program)
    assert (["printed"], ["printed"], []) == (ran.messages, ran.exported, ran.err)
    assert ["to the file only", "printed"] == (tmp_path / "own.log").read_text().splitlines()
    ran = Ran(program, serves=False)
    assert ([], ["printed"], ["printed"]) == (ran.out, ran.exported, ran.err)


def test_flask_does_not_add_a_handler_of_its_own() -> None:
    ran = Ran("import flask\nflask.Flask('shop').logger.warning('hello')")
    assert (["hello"], []) == (ran.messages, ran.err)


def test_lines_go_to_stderr_if_asked() -> None:
    ran = Ran("log.info('hello')", output="stderr")
    assert ([], ["hello"]) == (ran.out, [json.loads(line)["message"] for line in ran.err])


def test_removing_leaves_logging_as_it_was() -> None:
    script = """
log.info("before")
installed.remove()
installed.remove()
assert (logging.root.parent, logging.root.level, logging.root.handlers, log.level) == (None, logging.WARNING, [], logging.NOTSET)
log.info("unheard")
log.warning("last resort")
"""
    ran = Ran(script, filters={"shop": "debug"})
    assert (["before"], ["before"], ["last resort"]) == (ran.messages, ran.exported, ran.err)


def test_removing_leaves_levels_that_the_application_set_meanwhile() -> None:
    ran = Ran(
        "logging.root.setLevel('ERROR'); log.setLevel(7); installed.remove(); print(logging.root.level, "
        "log.level)",
        filters={"shop": "debug"},
    )
    assert ["40 7"] == ran.out


def test_installing_twice_tells_nothing_twice() -> None:
    ran = Ran("install(config, provider, apps={}); log.info('hello')")
    assert (["hello"], ["hello"]) == (ran.messages, ran.exported)


def test_a_level_that_the_application_set_before_stays() -> None:
    script = (
        "installed.remove(); logging.root.setLevel('ERROR'); install(config, provider, apps={}); "
        "log.warning('no'); log.error('yes')"
    )
    assert ["yes"] == Ran(script).messages


def test_a_worker_of_a_preforking_server_logs_like_its_parent() -> None:
    script = """
import os, warnings
warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
log.info("parent")
pid = os.fork()
if not pid:
    log.info("child")
    os._exit(0)
os.waitpid(pid, 0)
log.info("parent again")
"""
    assert ["parent", "child", "parent again"] == Ran(script).messages


def test_logging_from_a_signal_handler_in_the_middle_of_logging_does_not_hang() -> None:
    script = """
import signal
class Interrupting:
    def __repr__(self):
        signal.raise_signal(signal.SIGUSR1)
        return "interrupted"
signal.signal(signal.SIGUSR1, lambda *_: log.info("signal"))
log.info("event", extra={"thing": Interrupting()})
"""
    assert ["signal", "event"] == Ran(script).messages


def test_the_end_of_the_interpreter_closes_nothing_too_early() -> None:
    ran = Ran("import atexit; logging.shutdown(); atexit.register(lambda: log.info('at exit'))")
    assert ["at exit"] == ran.messages
