"""What becomes of programs that configure logging themselves, each in a process of its own, as `sitecustomize` would meet them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

SETUP = """
import logging, logging.config, sys
from bext_otel.config import App, Logging
from bext_otel.logs import build_provider, install
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.resources import Resource
exporter = InMemoryLogRecordExporter()
config = Logging(**{settings!r})
provider = build_provider(config, Resource({{}}), exporter if {export!r} else None)
installed = install(config, provider, apps={{}})
log = logging.getLogger("shop")
"""
TEARDOWN = """
provider.force_flush()
sys.stderr.write("exported: %s\\n" % [record.log_record.body for record in exporter.get_finished_logs()])
"""
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


class Ran:
    def __init__(self, script: str, *, export: bool = True, **settings: Any) -> None:
        whole = SETUP.format(settings=settings, export=export) + script + TEARDOWN
        done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, timeout=60, check=False)
        assert 0 == done.returncode, done.stderr
        assert "Logging error" not in done.stderr
        *self.err, exported = done.stderr.splitlines()
        self.exported: list[str] = json.loads(exported.removeprefix("exported: ").replace("'", '"'))
        self.out = done.stdout.splitlines()

    @property
    def messages(self) -> list[str]:
        return [json.loads(line)["message"] for line in self.out]


def test_an_application_that_never_configured_logging_keeps_its_warnings_and_gains_info() -> None:
    ran = Ran("log.warning('careful'); log.info('fine'); log.debug('detail')")
    assert (["careful", "fine"], ["careful", "fine"], []) == (ran.messages, ran.exported, ran.err)


@pytest.mark.parametrize("export", [False, True])
def test_without_output_the_handler_of_last_resort_still_works(export: bool) -> None:
    ran = Ran("log.warning('careful'); log.info('fine')", output="none", export=export)
    assert ([], ["careful"], ["careful", "fine"] if export else []) == (ran.out, ran.err, ran.exported)


def test_without_output_an_application_s_own_handlers_work_as_ever() -> None:
    ran = Ran("logging.basicConfig(format='own %(message)s'); log.warning('careful'); logging.warning('root')", output="none")
    assert ([], ["own careful", "own root"], ["careful", "root"]) == (ran.out, ran.err, ran.exported)


def test_disabled_logging_is_left_alone() -> None:
    ran = Ran("assert logging.root.level == logging.WARNING and not logging.root.handlers; log.warning('careful')", enabled=False)
    assert ([], ["careful"], []) == (ran.out, ran.err, ran.exported)


def test_after_basic_config_events_are_our_lines_once() -> None:
    """It does nothing where logging is configured already, and so nothing is printed twice."""
    ran = Ran("logging.basicConfig(format='own %(message)s'); log.info('hello')")
    assert (["hello"], ["hello"], []) == (ran.messages, ran.exported, ran.err)


@pytest.mark.parametrize(
    "configure",
    [
        f"{BASIC_CONFIG}, force=True)",
        DICT_CONFIG,
        f"logging.root.handlers.clear(); {BASIC_CONFIG})",
        f"logging.root.handlers = []; {BASIC_CONFIG})",
        f"while logging.root.handlers: logging.root.removeHandler(logging.root.handlers[0])\n{BASIC_CONFIG})",
    ],
    ids=["force", "dictConfig", "clear", "replace", "remove"],
)
def test_who_empties_the_root_logger_gets_his_handlers_and_we_keep_each_event_once(configure: str) -> None:
    ran = Ran(f"{configure}\nlog.info('hello')\nlog.debug('detail')")
    assert (["hello"], ["hello"], ["own hello"]) == (ran.messages, ran.exported, ran.err)


def test_configuring_again_and_again_tells_nothing_twice() -> None:
    ran = Ran(DICT_CONFIG * 3 + "log.info('hello')")
    assert (["hello"], ["hello"], ["own hello"]) == (ran.messages, ran.exported, ran.err)


def test_a_logger_that_does_not_propagate_is_the_application_s_own_affair() -> None:
    """uvicorn's loggers, for instance, print their lines themselves."""
    ran = Ran("log.propagate = False; log.addHandler(logging.StreamHandler()); log.warning('own')")
    assert ([], [], ["own"]) == (ran.messages, ran.exported, ran.err)


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
        "logging.root.setLevel('ERROR'); log.setLevel(7); installed.remove(); print(logging.root.level, log.level)",
        filters={"shop": "debug"},
    )
    assert ["40 7"] == ran.out


def test_installing_twice_tells_nothing_twice() -> None:
    ran = Ran("install(config, provider, apps={}); log.info('hello')")
    assert (["hello"], ["hello"]) == (ran.messages, ran.exported)


def test_a_level_that_the_application_set_before_stays() -> None:
    script = "installed.remove(); logging.root.setLevel('ERROR'); install(config, provider, apps={}); log.warning('no'); log.error('yes')"
    assert ["yes"] == Ran(script).messages


def test_a_worker_of_a_preforking_server_logs_like_its_parent() -> None:
    script = """
import os
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


@pytest.mark.skipif((3, 12, 0) <= sys.version_info < (3, 12, 3), reason="these CPythons start no thread in an exit handler")
def test_the_end_of_the_interpreter_closes_nothing_too_early() -> None:
    ran = Ran("import atexit; logging.shutdown(); atexit.register(lambda: log.info('at exit'))")
    assert ["at exit"] == ran.messages
