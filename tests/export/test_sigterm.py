"""SIGTERM: the end is called, and the process terminates as it would have."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from bext_otel.export.sigterm import end_on_termination

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="this system has no signals")

HEAD = """
import os, signal, sys, threading, time
from bext_otel.export.sigterm import end_on_termination
def end(): print("ended", flush=True)
"""


@pytest.fixture(autouse=True)
def default_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def terminated(code: str) -> tuple[int, list[str]]:
    """Exit code and output of a program that terminates itself."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "" == done.stderr
    return done.returncode, done.stdout.split()


def test_the_end_comes_first_and_the_exit_code_is_the_signals() -> None:
    code = (
        "end_on_termination(end, deadline_seconds=20); os.kill(os.getpid(), signal.SIGTERM); "
        "print('unreachable')"
    )
    assert (-signal.SIGTERM, ["ended"]) == terminated(code)


def test_a_server_that_handles_it_and_raises_it_again_comes_first() -> None:
    """As uvicorn does."""
    code = """
end_on_termination(end, deadline_seconds=20)
before = signal.signal(signal.SIGTERM, lambda *_: print("served", flush=True))
os.kill(os.getpid(), signal.SIGTERM)
signal.signal(signal.SIGTERM, before)
signal.raise_signal(signal.SIGTERM)
"""
    assert (-signal.SIGTERM, ["served", "ended"]) == terminated(code)


def test_an_end_that_waits_for_the_main_thread_holds_it_up_for_the_deadline_only() -> None:
    code = """
lock = threading.Lock()
def waits():
    with lock: print("unreachable")
end_on_termination(waits, deadline_seconds=0.2)
with lock:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""
    assert (-signal.SIGTERM, []) == terminated(code)


def test_an_end_that_raises_ends() -> None:
    code = """
def broken(): raise SystemExit
end_on_termination(broken, deadline_seconds=20)
os.kill(os.getpid(), signal.SIGTERM)
"""
    assert (-signal.SIGTERM, []) == terminated(code)


def test_a_forked_child_ends_by_itself() -> None:
    code = """
end_on_termination(lambda: print("child" if os.getpid() != parent else "parent", flush=True), deadline_seconds=20)
parent = os.getpid()
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
    assert (0, ["child", "-15"]) == terminated(code)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.default_int_handler], ids=["ignored", "handled"])
def test_whoever_decides_about_the_signal_keeps_it(handler: signal.Handlers) -> None:
    signal.signal(signal.SIGTERM, handler)
    undo = end_on_termination(lambda: None, deadline_seconds=1)
    assert handler is signal.getsignal(signal.SIGTERM)
    undo()
    assert handler is signal.getsignal(signal.SIGTERM)


def test_it_can_be_undone() -> None:
    undo = end_on_termination(lambda: None, deadline_seconds=1)
    assert signal.SIG_DFL is not signal.getsignal(signal.SIGTERM)
    undo()
    assert signal.SIG_DFL is signal.getsignal(signal.SIGTERM)


def test_a_handler_that_came_later_is_not_undone() -> None:
    undo = end_on_termination(lambda: None, deadline_seconds=1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    undo()
    assert signal.SIG_IGN is signal.getsignal(signal.SIGTERM)


def test_outside_of_the_main_thread_nothing_happens() -> None:
    thread = threading.Thread(target=end_on_termination, args=(lambda: None,), kwargs={"deadline_seconds": 1})
    thread.start()
    thread.join()
    assert signal.SIG_DFL is signal.getsignal(signal.SIGTERM)


@pytest.mark.parametrize("raises", [False, True])
def test_in_gevent_s_loop_which_may_not_wait_the_end_comes_as_well(raises: bool) -> None:
    pytest.importorskip("gevent")
    code = f"""
from gevent import monkey
monkey.patch_all()
import gevent
def lasting():
    gevent.sleep(0.01)
    end()
    {"raise LookupError" if raises else ""}
end_on_termination(lasting, deadline_seconds=20)
gevent.get_hub().loop.timer(0.01).start(signal.raise_signal, signal.SIGTERM)
gevent.sleep(60)
"""
    assert (-signal.SIGTERM, ["ended"]) == terminated(code)


def test_in_gevent_s_loop_the_end_has_the_deadline_too() -> None:
    pytest.importorskip("gevent")
    code = """
from gevent import monkey
monkey.patch_all()
import gevent
end_on_termination(lambda: gevent.sleep(60), deadline_seconds=0.2)
gevent.get_hub().loop.timer(0.01).start(signal.raise_signal, signal.SIGTERM)
gevent.sleep(60)
"""
    assert (-signal.SIGTERM, []) == terminated(code)
