from __future__ import annotations

import os

import pytest

from bext_otel import answering


@pytest.fixture(autouse=True)
def not_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_answering", False)
    monkeypatch.setattr(answering, "_told", [])


def test_who_waits_is_told_once_and_who_comes_later_at_once() -> None:
    told: list[str] = []
    answering.on_answering(lambda: told.append("before"))
    answering.on_answering(lambda: told.append("undone"))()
    assert (False, []) == (answering.is_answering(), told)
    answering.answers()
    answering.answers()
    answering.on_answering(lambda: told.append("after"))
    assert (True, ["before", "after"]) == (answering.is_answering(), told)


def test_one_that_raises_keeps_no_other_from_being_told(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    answering.on_answering(lambda: 1 / 0)
    answering.on_answering(lambda: told.append("told"))
    answering.answers()
    assert (["told"], True) == (told, "ZeroDivisionError" in caplog.text)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_to_show_it_itself() -> None:
    reader, writer = os.pipe()
    answering.on_answering(lambda: os.write(writer, b"s"))
    answering.answers()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, b"n" if not answering.is_answering() else b"y")
            answering.answers()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        assert b"sns" == told.read()
