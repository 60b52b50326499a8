"""When gevent replaces what threads are made of, in processes of their own: nothing takes that back."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("gevent")

START = """
from bext_otel.late_patching import on_patching
import threading
native = threading.get_ident
told = []
def moment(name):
    told.append((name, threading.get_ident is native))
    raise LookupError("telemetry's own")
undo = on_patching(before=lambda: moment("before"), after=lambda: moment("after"))
"""


def told(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{START}{program}print(told)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "" == done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("patching", ["patch_all", "patch_thread"])
@pytest.mark.parametrize("first", ["", "import gevent.events\n"], ids=["imported later", "imported before"])
def test_who_asks_is_called_before_and_after(first: str, patching: str) -> None:
    program = f"{first}from gevent import monkey; monkey.{patching}()\n"
    assert "[('before', True), ('after', False)]" == told(program)


@pytest.mark.parametrize("first", ["", "import gevent.events\n"], ids=["imported later", "imported before"])
def test_nobody_is_called_once_it_is_undone(first: str) -> None:
    assert "[]" == told(f"{first}undo(); undo()\nfrom gevent import monkey; monkey.patch_all()\n")


def test_other_events_on_the_same_way_say_nothing() -> None:
    assert "[]" == told("import gevent.events, zope.event; zope.event.notify(object())\n")
