from __future__ import annotations

import os

import pytest

from bext_otel import serving


@pytest.fixture(autouse=True)
def not_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_serving", False)
    monkeypatch.setattr(serving, "_told", [])


def test_who_waits_is_told_once_and_who_comes_later_at_once() -> None:
    told: list[str] = []
    serving.on_serving(lambda: told.append("before"))
    serving.on_serving(lambda: told.append("undone"))()
    assert (False, []) == (serving.is_serving(), told)
    serving.serves()
    serving.serves()
    serving.on_serving(lambda: told.append("after"))
    assert (True, ["before", "after"]) == (serving.is_serving(), told)


def test_one_that_raises_keeps_no_other_from_being_told(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    serving.on_serving(lambda: 1 / 0)
    serving.on_serving(lambda: told.append("told"))
    serving.serves()
    assert (["told"], True) == (told, "ZeroDivisionError" in caplog.text)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_has_to_show_it_itself() -> None:
    reader, writer = os.pipe()
    serving.on_serving(lambda: os.write(writer, b"s"))
    serving.serves()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, b"n" if not serving.is_serving() else b"y")
            serving.serves()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        assert b"sns" == told.read()
