from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.logs.programs import Ran

IMPORT = "from loguru import logger\n"
SAY = "logger.info('order {} placed', 7)\n"
# What an application does with its sinks before it says something.
SETUPS = {
    "as it is": "",
    "without any": "logger.remove()\n",
    "replaced": "logger.remove()\nlogger.add(sys.stderr, format='{message}')\n",
    "another one": "logger.add(sys.stdout)\n",
    "two": "logger.remove()\nlogger.add(sys.stderr)\nlogger.add(sys.stdout, serialize=True)\n",
    "print": "logger.remove()\nlogger.add(print)\n",
    "a method": "logger.remove()\nlogger.add(sys.stderr.write)\n",
    "a function that prints": "logger.remove()\nlogger.add(lambda message: print(message, end=''))\n",
    "a handler": "logger.remove()\nlogger.add(logging.StreamHandler())\n",
    "queued": "logger.remove()\nlogger.add(sys.stderr, enqueue=True)\nimport atexit\natexit.register(logger.remove)\n",
    "configured": "logger.configure(handlers=[{'sink': sys.stderr, 'level': 'INFO'}], extra={'shop': 1})\n",
}
PROPAGATE = """
class Propagate(logging.Handler):
    def emit(self, record):
        logging.getLogger(record.name).handle(record)
logger.remove()
logger.add(Propagate(), format='{message}')
"""
# As loguru's documentation has it.
INTERCEPT = """
class Intercept(logging.Handler):
    def emit(self, record):
        logger.opt(depth=6, exception=record.exc_info).log(record.levelname, record.getMessage())
logging.basicConfig(handlers=[Intercept()], level=0, force=True)
"""


def ran(script: str, **settings: Any) -> Ran:
    return Ran(IMPORT + script, **settings)


def lines(done: Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.out]


@pytest.mark.parametrize("setup", SETUPS.values(), ids=list(SETUPS))
def test_an_event_is_one_line_and_one_record_whatever_the_sinks_are(setup: str) -> None:
    done = ran(setup + SAY)
    assert (["order 7 placed"], ["order 7 placed"]) == (done.messages, done.exported)
    assert [] == done.err


@pytest.mark.parametrize(
    "setup", [PROPAGATE, "logging.basicConfig(level=0)\n" + PROPAGATE], ids=["bare", "root"]
)
@pytest.mark.parametrize("queued", [False, True])
def test_what_is_handed_to_the_standard_library_is_told_once(setup: str, *, queued: bool) -> None:
    if queued:
        setup = setup.replace("Propagate(), ", "Propagate(), enqueue=True, ")
    done = ran(f"{setup}{SAY}logger.complete()\n")
    assert (["order 7 placed"], ["order 7 placed"], []) == (done.messages, done.exported, done.err)


@pytest.mark.parametrize("setup", ["", "logger.remove()\nlogger.add(sys.stderr)\n"])
def test_what_comes_from_the_standard_library_is_told_once(setup: str) -> None:
    done = ran(f"{setup}{INTERCEPT}log.warning('by logging')\n{SAY}")
    expected = ["by logging", "order 7 placed"]
    assert (expected, expected, []) == (done.messages, done.exported, done.err)


def test_levels_are_mapped_and_extras_are_fields() -> None:
    done = ran(
        "logger.remove()\nlogger.add(sys.stderr, level=0)\nlogger.level('AUDIT', no=35)\n"
        "bound = logger.bind(user='u1')\n"
        "for level in ('TRACE', 'DEBUG', 'INFO', 'SUCCESS', 'WARNING', 'AUDIT', 'ERROR', 'CRITICAL'):\n"
        "    bound.log(level, level)\n"
        "with logger.contextualize(task=3):\n    logger.info('within {n}', n=4)\n",
        level="trace",
    )
    found = lines(done)
    assert [
        ("TRACE", "trace"),
        ("DEBUG", "debug"),
        ("INFO", "info"),
        ("SUCCESS", "info"),
        ("WARNING", "warn"),
        ("AUDIT", "warn"),
        ("ERROR", "error"),
        ("CRITICAL", "error"),
    ] == [(line["message"], line["level"]) for line in found[:-1]]
    assert {"u1"} == {line["user"] for line in found[:-1]}
    assert ("within 4", 3, 4, "__main__") == tuple(
        found[-1][key] for key in ("message", "task", "n", "target")
    )


def test_an_exception_is_kept() -> None:
    done = ran(
        "@logger.catch\ndef fail():\n    1 / 0\nfail()\n"
        "try:\n    {}['x']\nexcept KeyError:\n    logger.exception('no {}', 'x')\n"
    )
    first, second = lines(done)
    assert ("error", "ZeroDivisionError") == (first["level"], first["exception.type"])
    assert ("no x", "KeyError", True) == (
        second["message"],
        second["exception.type"],
        "KeyError: 'x'" in second["exception.stacktrace"],
    )


@pytest.mark.parametrize(
    ("settings", "setup", "expected"),
    [
        ({"level": ""}, "", ["debug", "info", "error"]),
        ({"level": ""}, "logger.remove()\n", ["info", "error"]),
        ({"level": ""}, "logger.remove()\nlogger.add(sys.stderr, level='ERROR')\n", ["error"]),
        ({"level": "error"}, "", ["error"]),
        ({"level": "debug"}, "logger.remove()\n", ["debug", "info", "error"]),
        ({"level": "", "filters": {"__main__": "error"}}, "", ["error"]),
        ({"level": ""}, "logger.disable('__main__')\n", []),
    ],
)
def test_levels_are_those_of_the_sinks_unless_they_are_set(
    settings: dict[str, Any], setup: str, expected: Sequence[str]
) -> None:
    done = ran(f"{setup}logger.debug('debug')\nlogger.info('info')\nlogger.error('error')\n", **settings)
    assert (expected, expected) == (done.messages, done.exported)


def test_a_process_that_does_not_serve_prints_what_it_prints_without_us() -> None:
    done = ran(f"logger.remove()\nlogger.add(sys.stderr, format='own: {{message}}')\n{SAY}", serves=False)
    assert ([], ["own: order 7 placed"], ["order 7 placed"]) == (done.out, done.err, done.exported)


def test_files_and_functions_get_what_the_terminal_does_not(tmp_path: Path) -> None:
    path = tmp_path / "own.log"
    done = ran(
        f"got = []\nlogger.add({str(path)!r}, format='{{message}}')\nlogger.add(got.append, format='{{message}}')\n{SAY}"
        "sys.stderr.write(repr(list(map(str, got))) + '\\n')\n"
    )
    assert (["order 7 placed"], ["['order 7 placed\\n']"]) == (done.messages, done.err)
    assert "order 7 placed\n" == path.read_text()


def test_what_is_raw_is_printed_and_no_event() -> None:
    done = ran("logger.opt(raw=True).info('50 %\\n')\n")
    assert ([], ["50 %"], []) == (done.out, done.err, done.exported)


def test_the_caller_is_the_application_s_and_so_are_its_sinks() -> None:
    done = ran(
        "logger.remove()\ngot = []\nlogger.add(lambda m: got.append((m.record['function'], m.record['line'] > 0, m.record['name'])))\n"
        "def shop():\n    logger.info('x')\n    logger.opt(depth=1).info('y')\n"
        "def caller():\n    shop()\ncaller()\n"
        "sys.stderr.write(str(got) + str(len(logger._core.handlers)) + '\\n')\n"
    )
    assert ["[('shop', True, '__main__'), ('caller', True, '__main__')]1"] == done.err


def test_undoing_leaves_loguru_as_it_was() -> None:
    done = ran(
        "from loguru import _handler, _logger, _simple_sinks\n"
        "installed.remove()\n"
        "assert _logger.Logger._log.__module__ == 'loguru._logger', _logger.Logger._log\n"
        "assert _handler.Handler.emit.__code__.co_filename == _handler.__file__\n"
        "assert _simple_sinks.StandardSink.write.__code__.co_filename == _simple_sinks.__file__\n"
        "assert _logger.Logger._log.__code__.co_filename == _logger.__file__\n" + SAY
    )
    assert ([], 1) == (done.exported, len(done.err))


def test_a_lazy_message_is_made_once() -> None:
    done = ran("made = []\nlogger.opt(lazy=True).info('n {}', lambda: made.append(1) or len(made))\n")
    assert ["n 1"] == done.messages


@pytest.mark.parametrize(
    "setup", ["", "logger.remove()\nlogger.add(sys.stderr)\n"], ids=["as it is", "replaced"]
)
def test_fields_that_are_bound_to_the_work_are_on_its_lines_too(setup: str) -> None:
    """Beside what loguru's own `bind` and `contextualize` say, redacted by the one policy."""
    script = """
import bext_otel
with bext_otel.bind(tenant="acme", note="Bearer abcdefghijklmnopqrstuvwxyz12345"):
    with logger.contextualize(inner=1):
        logger.bind(token="hunter2").info("within")
logger.info("outside")
"""
    within, outside = lines(ran(setup + script))
    expected = {"tenant": "acme", "note": "Bearer REDACTED", "inner": 1, "token": "REDACTED[name]"}
    assert expected == {name: within.get(name) for name in expected}
    assert "tenant" not in outside
