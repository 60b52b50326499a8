"""Whose line is on the terminal: the application's in a process that does not serve, one of ours in one that
does, whatever would have printed there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.logs.programs import Ran

BY_NAME = """
class Printing(logging.Handler):
    def emit(self, record): {code}
logging.root.addHandler(Printing())
"""
# How programs print what they log, from the least to the oddest.
PROGRAMS = {
    "nothing": "log.warning('hello')",
    "basicConfig": "logging.basicConfig(); log.warning('hello')",
    "stream": "log.addHandler(logging.StreamHandler()); log.warning('hello')",
    "both streams": (
        "log.addHandler(logging.StreamHandler()); log.addHandler(logging.StreamHandler(sys.stdout)); "
        "log.warning('hello')"
    ),
    "print": BY_NAME.format(code="print(self.format(record))") + "log.warning('hello')",
    "print elsewhere": BY_NAME.format(code="print(self.format(record), file=sys.stderr)")
    + "log.warning('hello')",
    "sys.stderr": BY_NAME.format(code="sys.stderr.write(self.format(record) + chr(10))")
    + "log.warning('hello')",
    "stream by thread": """
class ByThread(logging.Handler):
    streams = property(lambda self: self._streams)
    def __init__(self):
        super().__init__()
        self._streams = {1: sys.stderr}
    def emit(self, record): self._streams[1].write(record.getMessage() + chr(10))
logging.root.addHandler(ByThread()); log.warning('hello')
""",
    "a wrapper": """
class Wrapper:
    def __init__(self): self.streams = [sys.stderr]
    def write(self, text): self.streams[0].write(text)
    def flush(self): pass
log.addHandler(logging.StreamHandler(Wrapper())); log.warning('hello')
""",
    "structlog": "import structlog; structlog.get_logger().warning('hello')",
    "werkzeug": "from werkzeug._internal import _log; _log('warning', 'hello')",
    "flask": "import flask; flask.Flask('shop').logger.warning('hello')",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_process_that_serves_has_one_line_of_ours(program: str) -> None:
    ran = Ran(PROGRAMS[program], level="")
    assert (["hello"], ["hello"], []) == (ran.messages, ran.exported, ran.err)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_process_that_does_not_prints_what_it_prints_without_us(program: str) -> None:
    bare = Ran("installed.remove()\n" + PROGRAMS[program], level="")
    assert any("hello" in line for line in bare.out + bare.err)
    ran = Ran(PROGRAMS[program], level="", serves=False)
    assert (_timeless(bare.out), _timeless(bare.err)) == (_timeless(ran.out), _timeless(ran.err))
    assert ["hello"] == ran.exported


def _timeless(lines: list[str]) -> list[str]:
    """Without the times that some lines begin with."""
    return [re.sub(r"[0-9]{4}-[0-9-]+ [0-9:,]+", "", line) for line in lines]


def test_without_an_output_one_that_serves_prints_so_too() -> None:
    ran = Ran(PROGRAMS["both streams"], level="", output="none")
    assert (["hello"], ["hello"], ["hello"]) == (ran.out, ran.err, ran.exported)


def test_who_asks_for_an_output_has_it_without_serving() -> None:
    ran = Ran(PROGRAMS["stream"], serves=False, output="stdout")
    assert (["hello"], []) == (ran.messages, ran.err)


def test_lines_are_ours_from_when_the_process_serves() -> None:
    ran = Ran(
        "logging.basicConfig(); log.warning('before'); serving.begin(); log.warning('after')", serves=False
    )
    assert (["after"], ["WARNING:shop:before"], ["before", "after"]) == (ran.messages, ran.err, ran.exported)


def test_an_application_s_own_level_and_handlers_stand_also_below_ours() -> None:
    """What an app's level keeps back is printed by the application as ever."""
    program = """
from bext_otel.apps import with_app
from opentelemetry.context import attach
attach(with_app("shop"))
logging.basicConfig(level="DEBUG", format="own %(message)s")
log.info("below"); log.error("above")
"""
    ran = Ran(program, level="", apps={"shop": "error"})
    assert (["above"], ["own below"], ["above"]) == (ran.messages, ran.err, ran.exported)


def test_a_handler_that_is_no_terminal_gets_all_that_it_got(tmp_path: Path) -> None:
    program = f"""
import logging.handlers, queue
waiting = queue.Queue()
file = logging.FileHandler({str(tmp_path / "behind")!r})
listener = logging.handlers.QueueListener(waiting, logging.StreamHandler(), file)
logging.root.addHandler(logging.handlers.QueueHandler(waiting))
logging.root.addHandler(logging.FileHandler({str(tmp_path / "direct")!r}))
listener.start(); log.warning("hello"); listener.stop()
"""
    ran = Ran(program)
    assert (["hello"], []) == (ran.messages, ran.err)
    assert ("hello\n", "hello\n") == ((tmp_path / "behind").read_text(), (tmp_path / "direct").read_text())


def test_a_filter_of_a_handler_that_stands_down_marks_records_as_ever() -> None:
    """As one that adds the id of a request."""
    program = """
def mark(record):
    record.correlation = "c1"
    return True
handler = logging.StreamHandler(); handler.addFilter(mark); logging.root.addHandler(handler)
log.warning("hello")
"""
    assert ["c1"] == [json.loads(line)["correlation"] for line in Ran(program).out]


# --- Bad input ----------------------------------------------------------------------------------------------


def test_a_handler_that_raises_is_the_application_s_and_our_line_is_there() -> None:
    program = BY_NAME.format(code="raise KeyError('no')") + (
        "logging.root.addHandler(logging.StreamHandler())\n"
        "try: log.warning('hello')\n"
        "except KeyError: log.warning('caught')"
    )
    # It raises for the second as well.
    ran = Ran(program.replace("log.warning('caught')", "pass"))
    assert (["hello"], ["hello"], []) == (ran.messages, ran.exported, ran.err)


def test_a_handler_that_replaces_standard_output_takes_our_lines_with_it(tmp_path: Path) -> None:
    """They go where the application's would."""
    program = BY_NAME.format(code=f"sys.stdout = open({str(tmp_path / 'out')!r}, 'a')") + (
        "log.warning('one'); log.warning('two'); sys.stdout.flush(); sys.stdout = sys.__stdout__; print('end')"
    )
    ran = Ran(program)
    assert (["end"], ["one", "two"]) == (ran.out, ran.exported)
    assert ["one", "two"] == [
        json.loads(line)["message"] for line in (tmp_path / "out").read_text().splitlines()
    ]


def test_a_handler_that_writes_to_the_descriptor_is_heard_beside_our_line() -> None:
    program = BY_NAME.format(code="__import__('os').write(1, b'raw\\n')") + "log.warning('hello')"
    ran = Ran(program)
    assert ["hello", "raw"] == sorted(
        json.loads(line)["message"] if line.startswith("{") else line for line in ran.out
    )


@pytest.mark.parametrize("closing", ["sys.stdout.close()", "sys.stdout = None", "import os; os.close(1)"])
def test_a_program_that_closes_its_standard_output_speaks_on_standard_error(closing: str) -> None:
    program = (
        f"logging.basicConfig(); log.warning('one'); {closing}\nlog.warning('two'); log.warning('three')"
    )
    ran = Ran(program)
    assert (["one"], "WARNING:shop:three") == (ran.messages, ran.err[-1])
    assert ["one", "two", "three"] == ran.exported


def test_where_standard_output_is_the_null_device_the_terminal_is_the_application_s() -> None:
    """As of a daemon whose errors go to a file."""
    program = (
        "from bext_otel import serving; serving.begin()\n"
        "import logging; from bext_otel.config import LoggingSettings\n"
        "from bext_otel.logs.install import build_provider, install\n"
        "from opentelemetry.sdk.resources import Resource\n"
        "config = LoggingSettings(); install(config, build_provider(config, Resource({}), None), apps={})\n"
        "logging.warning('careful')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert b"WARNING:root:careful\n" == done.stderr


def test_logging_that_is_disabled_says_nothing() -> None:
    ran = Ran("logging.disable(logging.CRITICAL); log.error('no'); logging.disable(0); log.error('yes')")
    assert (["yes"], ["yes"], []) == (ran.messages, ran.exported, ran.err)


def test_logging_that_is_configured_again_while_records_come_tells_each_once() -> None:
    program = """
import threading
ends = threading.Event()
def configure():
    while not ends.is_set():
        logging.config.dictConfig({
            "version": 1, "disable_existing_loggers": False,
            "handlers": {"own": {"class": "logging.StreamHandler"}},
            "root": {"handlers": ["own"], "level": "INFO"},
        })
thread = threading.Thread(target=configure); thread.start()
for number in range(300):
    log.info("%d", number)
ends.set(); thread.join()
"""
    ran = Ran(program)
    assert list(map(str, range(300))) == ran.messages == ran.exported
    assert [] == ran.err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_a_queue_hands_to_a_parent_is_printed_there_once() -> None:
    """A worker cannot keep its parent from printing, so it does not print."""
    program = """
import multiprocessing, os, logging.handlers, warnings
warnings.simplefilter("ignore")  # of forks beside threads, from Python 3.12 on
waiting = multiprocessing.get_context("fork").Queue()
listener = logging.handlers.QueueListener(waiting, logging.StreamHandler())
logging.root.addHandler(logging.handlers.QueueHandler(waiting))
listener.start()
pid = os.fork()
if not pid:
    log.warning("of the worker")
    waiting.close(); waiting.join_thread()
    os._exit(0)
os.waitpid(pid, 0)
listener.stop()
"""
    ran = Ran(program)
    assert ([], ["of the worker"]) == (ran.out, ran.err)


# --- Ours ---------------------------------------------------------------------------------------------------

OWN = "ours = logging.getLogger('bext_otel'); ours.warning('careful'); ours.info('fine')"


def test_warnings_of_ours_go_to_standard_error_where_lines_do_not() -> None:
    printing = "logging.basicConfig(stream=sys.stdout, level='INFO')\n"
    ran = Ran(printing + OWN, serves=False, level="")
    assert ([], ["bext-otel: careful"], ["careful", "fine"]) == (ran.out, ran.err, ran.exported)
    ran = Ran(printing + OWN, level="")
    assert (["careful", "fine"], []) == (ran.messages, ran.err)


def test_who_listens_at_our_own_loggers_says_it_in_our_place() -> None:
    listening = "logging.getLogger('bext_otel').addHandler(logging.StreamHandler())\n"
    ran = Ran(listening + OWN, serves=False, level="")
    assert ([], ["careful", "fine"]) == (ran.out, ran.err)


def test_what_we_say_is_in_the_application_s_file_if_its_root_has_that_level(tmp_path: Path) -> None:
    path = tmp_path / "own.log"
    Ran(f"logging.basicConfig(filename={str(path)!r})\n{OWN}", serves=False, level="")
    assert "WARNING:bext_otel:careful\n" == path.read_text()
