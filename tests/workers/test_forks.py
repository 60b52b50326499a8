"""Whoever wants to know of forks is told, and can stop listening."""

from __future__ import annotations

import os

import pytest

from bext_otel.workers.forks import on_fork

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
