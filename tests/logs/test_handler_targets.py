"""Records that the application's handlers print by way of another: told once at the terminal, however they
get there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.logs.programs import Ran

QUEUE = """
import logging.handlers, queue
waiting = queue.SimpleQueue()
listener = logging.handlers.QueueListener(waiting, logging.StreamHandler({stream}))
logging.root.addHandler(logging.handlers.QueueHandler(waiting))
"""
WAYS = {
    "queue": QUEUE.format(stream="sys.stdout") + "listener.start(); {said}; listener.stop()",
    "queue of before": "installed.remove()\n"
    + QUEUE.format(stream="sys.stdout")
    + "listener.start(); install(config, provider, apps={{}})\n{said}; listener.stop()",
    "memory": """
import logging.handlers
logging.root.addHandler(logging.handlers.MemoryHandler(10, target=logging.StreamHandler(sys.stdout)))
{said}
""",
    "memory behind a queue": """
import logging.handlers, queue
waiting = queue.Queue()
memory = logging.handlers.MemoryHandler(10, target=logging.StreamHandler(sys.stdout))
logging.root.addHandler(logging.handlers.QueueHandler(waiting))
listener = logging.handlers.QueueListener(waiting, memory)
listener.start(); {said}; listener.stop()
""",
    "rich": (
        "from rich.logging import RichHandler; logging.root.addHandler(RichHandler(show_time=False)); {said}"
    ),
    "one that holds others": """
class Both(logging.Handler):
    def __init__(self, *handlers):
        super().__init__()
        self.handlers = handlers
    def emit(self, record):
        for each in self.handlers:
            each.handle(record)
logging.root.addHandler(Both(logging.NullHandler(), logging.StreamHandler(sys.stdout)))
{said}
""",
    "one that holds a stream": """
class Own(logging.Handler):
    def __init__(self):
        super().__init__()
        self.out = sys.stdout
    def emit(self, record):
        print(record.getMessage(), file=self.out)
logging.root.addHandler(Own())
{said}
""",
    "the terminal's file": "logging.root.addHandler(logging.FileHandler('/dev/stdout')); {said}",
}
LOGURU = """
import loguru
from loguru import logger
logger.remove()
logger.add({stream}, format="{{message}}")
class InterceptHandler(logging.Handler):
    def emit(self, record):
        logger.opt(depth=6, exception=record.exc_info).log(record.levelname, record.getMessage())
logging.root.addHandler(InterceptHandler())
"""
ABSL = "import absl.logging; absl.logging.use_absl_handler()\n"
# On a terminal both streams are one.
ONE_TERMINAL = "import os; kept = os.dup(2); os.dup2(1, 2)\n{program}\nsys.stderr.flush(); os.dup2(kept, 2)"
SAID = "log.warning('hello')"


@pytest.mark.parametrize("way", WAYS)
def test_what_is_printed_by_way_of_another_is_printed_once(way: str) -> None:
    ran = Ran(WAYS[way].format(said=SAID))
    assert (["hello"], ["hello"], []) == (ran.messages, ran.exported, ran.err)
    ran = Ran(WAYS[way].format(said=SAID), serves=False)
    assert (1, ["hello"], []) == (sum("hello" in line for line in ran.out), ran.exported, ran.err)
    assert not ran.out[0].startswith("{")


def test_what_loguru_prints_for_who_intercepts_records_is_printed_once() -> None:
    for stream in ("sys.stdout", "sys.stderr"):
        ran = Ran(LOGURU.format(stream=stream) + SAID)
        assert (["hello"], ["hello"], []) == (ran.messages, ran.exported, ran.err)
    ran = Ran(LOGURU.format(stream="sys.stderr, enqueue=True") + SAID + "; logger.complete()")
    assert ([], ["hello"], ["hello"]) == (ran.out, ran.exported, ran.err)


def test_loguru_s_other_sinks_get_what_its_terminal_does_not(tmp_path: Path) -> None:
    path = tmp_path / "own.log"
    ran = Ran(
        LOGURU.format(stream="sys.stderr") + f"logger.add({str(path)!r}, format='{{message}}')\n" + SAID
    )
    assert (["hello"], [], "hello\n") == (ran.messages, ran.err, path.read_text())


@pytest.mark.parametrize(
    "program",
    [
        "logging.root.addHandler(logging.StreamHandler())",
        QUEUE.format(stream="") + "listener.start(); import atexit; atexit.register(listener.stop)",
        pytest.param(
            ABSL,
            marks=pytest.mark.skipif(
                importlib.util.find_spec("absl") is None, reason="absl is not installed"
            ),
        ),
    ],
    ids=["stream", "queue", "absl"],
)
def test_both_streams_are_one_where_they_lead_to_the_same_place(program: str) -> None:
    ran = Ran(ONE_TERMINAL.format(program=f"{program}\n{SAID}\nimport time; time.sleep(0.2)"))
    assert (1, ["hello"]) == (sum("hello" in line for line in ran.out), ran.exported)


@pytest.mark.parametrize(
    "program",
    [
        QUEUE.format(stream="sys.stdout") + SAID,
        QUEUE.format(stream="sys.stdout") + f"listener.start(); listener.stop(); {SAID}",
        QUEUE.format(stream="open('/dev/null', 'w')") + f"listener.start(); {SAID}; listener.stop()",
        QUEUE.format(stream="sys.stdout")
        + f"listener.handlers[0].addFilter(lambda _: False); listener.start(); {SAID}; listener.stop()",
        (
            "import logging.handlers; logging.root.addHandler(logging.handlers.MemoryHandler(10, "
            f"target=logging.NullHandler())); {SAID}"
        ),
        f"logging.root.addHandler(logging.NullHandler()); {SAID}",
    ],
    ids=["not started", "stopped", "elsewhere", "filtered", "to nobody", "nobody"],
)
def test_what_goes_elsewhere_is_our_line(program: str) -> None:
    ran = Ran(program)
    assert (["hello"], ["hello"]) == (ran.messages, ran.exported)


def test_handlers_that_hold_each_other_come_to_an_end() -> None:
    program = """
class Circle(logging.Handler):
    def emit(self, record): pass
one, two = Circle(), Circle()
one.other, two.other = two, one
logging.root.addHandler(one)
"""
    assert ["hello"] == Ran(program + SAID).messages
