"""Whoever wants to know of forks is told, and can stop listening."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from bext_otel.workers.forks import catch_up, on_fork

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def fork_and_tell(heard: list[str]) -> str:
    """What the child heard."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, ",".join(heard).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as told:
        return told.read()


def fork_behind_pythons_back(in_child: Callable[[], None], heard: list[str]) -> str:
    """What the child heard, which was made as uWSGI makes its workers."""
    read, write = os.pipe()
    child = ctypes.CDLL(None).fork()
    if child == 0:
        in_child()
        os.write(write, ",".join(heard).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as told:
        return told.read()


def test_a_child_that_python_was_not_told_of_finds_out_once() -> None:
    heard: list[str] = []
    forks = on_fork(in_child=lambda: heard.append("in child"))
    try:
        catch_up()

        def twice() -> None:
            catch_up()
            catch_up()

        assert "in child" == fork_behind_pythons_back(twice, heard)
        assert [] == heard
    finally:
        forks.close()


def test_uwsgi_tells_its_children_and_calls_the_hook_that_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    uwsgi = ModuleType("uwsgi")
    heard: list[str] = []
    uwsgi.post_fork_hook = lambda: heard.append("theirs")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    forks = on_fork(in_child=lambda: heard.append("ours"))
    try:
        catch_up()
        catch_up()
        assert "ours,theirs" == fork_behind_pythons_back(uwsgi.post_fork_hook, heard)
    finally:
        forks.close()


def test_before_in_the_parent_and_in_the_child() -> None:
    heard: list[str] = []
    forks = on_fork(
        before=lambda: heard.append("before"), in_parent=lambda: heard.append("in parent"), in_child=lambda: heard.append("in child")
    )
    try:
        assert "before,in child" == fork_and_tell(heard)
        assert ["before", "in parent"] == heard
    finally:
        forks.close()


def test_nobody_is_told_after_closing() -> None:
    heard: list[str] = []
    forks = on_fork(before=lambda: heard.append("before"))
    forks.close()
    forks.close()
    assert "" == fork_and_tell(heard)


def test_one_that_raises_stops_neither_the_fork_nor_the_others() -> None:
    heard: list[str] = []
    broken, fine = on_fork(before=lambda: 1 / 0), on_fork(before=lambda: heard.append("before"))  # type: ignore[arg-type,return-value]
    try:
        assert "before" == fork_and_tell(heard)
    finally:
        broken.close()
        fine.close()
