from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from bext_otel.regular_files import create_file, open_file

APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listener(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "made through the link")


def link_to_a_file(path: Path) -> None:
    victim = path.parent / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)


def device(path: Path) -> None:
    path.symlink_to("/dev/null")


KINDS: list[Callable[[Path], None]] = [pipe, listener, dangling_link, link_to_a_file, device, Path.mkdir]


@pytest.mark.parametrize("make", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_no_regular_file_is_an_error_at_once(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "log"
    make(path)
    for flags in (APPEND, os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        with pytest.raises(OSError, match=r"is a link|is not a regular file"):
            open_file(path, flags)
    assert not (tmp_path / "made through the link").exists()


def test_a_device_itself_is_an_error() -> None:
    with pytest.raises(OSError, match="not a regular file"):
        open_file(Path("/dev/null"), os.O_WRONLY)


def test_a_regular_file_is_opened_and_made(tmp_path: Path) -> None:
    for _ in range(2):
        descriptor = open_file(tmp_path / "log", APPEND)
        os.write(descriptor, b"line\n")
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)
    assert b"line\nline\n" == (tmp_path / "log").read_bytes()
    assert 0 == (tmp_path / "log").stat().st_mode & 0o133


def test_a_directory_on_the_way_may_be_a_link(tmp_path: Path) -> None:
    """It is the operator's: /var/log on another disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "logs").symlink_to(tmp_path / "disk")
    os.close(open_file(tmp_path / "logs" / "app.log", APPEND))
    assert (tmp_path / "disk" / "app.log").exists()


@pytest.mark.parametrize("make", [pipe, listener, dangling_link, link_to_a_file, device])
def test_a_new_file_takes_the_place_of_what_was_there_and_not_its_target(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "log.gz.tmp"
    make(path)
    descriptor = create_file(path)
    os.write(descriptor, b"new")
    os.close(descriptor)
    assert (False, b"new") == (path.is_symlink(), path.read_bytes())
    assert {"log.gz.tmp"} | ({"victim"} if make is link_to_a_file else set()) == {
        one.name for one in tmp_path.iterdir()
    }
    if make is link_to_a_file:
        assert "precious" == (tmp_path / "victim").read_text()


def test_a_directory_in_the_place_of_a_new_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(OSError, match="log"):
        create_file(tmp_path / "log")
