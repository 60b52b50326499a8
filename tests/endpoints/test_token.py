from __future__ import annotations

import os
from pathlib import Path

import pytest

from bext_otel.endpoints.token import Token


def shows(token: Token, value: str) -> bool:
    return token.is_in({"authorization": f"Bearer {value}"})


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file, lines = tmp_path / "token", []
    file.write_text("first\n")
    token = Token(path=str(file), log=lines.append)
    assert (True, False) == (shows(token, "first"), shows(token, "second"))
    replacement = tmp_path / "new"
    replacement.write_text("second")
    replacement.rename(file)
    assert (False, True) == (shows(token, "first"), shows(token, "second"))
    assert [] == lines


def test_a_setting_and_a_file_are_both_good(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("in-file")
    token = Token("in-setting", str(file), log=print)
    assert [True, True, False] == [shows(token, value) for value in ("in-file", "in-setting", "neither")]


@pytest.mark.parametrize("kind", ["missing", "empty", "pipe", "folder", "nul"])
def test_a_file_that_is_no_use_opens_nothing_and_is_one_line(tmp_path: Path, kind: str) -> None:
    file, lines = tmp_path / "token", []
    if kind == "empty":
        file.write_text(" \n")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    token = Token(path=f"{file}\0" if kind == "nul" else str(file), log=lines.append)
    assert token.is_set
    assert not any(shows(token, value) for value in ("", " ", "x", "None"))
    assert 1 == len(lines)
    assert "token_file" in lines[0]


def test_a_file_that_goes_closes_and_one_that_comes_back_opens(tmp_path: Path) -> None:
    file, lines = tmp_path / "token", []
    file.write_text("good")
    token = Token(path=str(file), log=lines.append)
    assert shows(token, "good")
    file.unlink()
    assert not shows(token, "good")
    file.write_text("good")
    assert shows(token, "good")
    file.unlink()
    assert not shows(token, "good")
    assert 2 == len(lines)


def test_nothing_set_is_no_token() -> None:
    token = Token(log=print)
    assert not token.is_set
    assert not any(shows(token, value) for value in ("", "x"))
