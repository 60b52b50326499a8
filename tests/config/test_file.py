"""Finding and reading bext.config.toml, and the files that are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bext_otel.config import Config, load


def lines(path: Path, name: str = "bext.config.toml") -> tuple[str, ...]:
    """What is said of a file that BEXT_CONFIG names, after seeing that everything is default."""
    loaded = load(environ={"BEXT_CONFIG": str(path / name)}, cwd=path)
    assert Config() == loaded.config
    assert "" == loaded.source
    return tuple(line.replace(str(path), "") for line in loaded.warnings)


def test_a_file_that_nobody_named_may_be_missing(tmp_path: Path) -> None:
    assert () == load(environ={}, cwd=tmp_path).warnings


def test_a_file_that_was_named_may_not(tmp_path: Path) -> None:
    assert (
        "BEXT_CONFIG='/x.toml': no such file; name one that exists, or unset it; using defaults",
    ) == lines(tmp_path, "x.toml")


def test_the_named_file_is_read_instead_of_the_one_here(tmp_path: Path) -> None:
    (tmp_path / "bext.config.toml").write_text("[metrics]\nport = 1")
    (tmp_path / "other.toml").write_text("[metrics]\nport = 2")
    assert 2 == load(environ={"BEXT_CONFIG": "other.toml"}, cwd=tmp_path).config.metrics.port


def test_the_working_directory_is_where_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bext.config.toml").write_text("[metrics]\nport = 1")
    monkeypatch.chdir(tmp_path)
    assert 1 == load(environ={}).config.metrics.port


def test_the_home_directory_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text("[metrics]\nport = 1")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert 1 == load(environ={"BEXT_CONFIG": "~/mine.toml"}, cwd=Path("/")).config.metrics.port


def test_a_working_directory_that_is_gone_holds_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert () == load(environ={}).warnings


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"[metrics\nport = 1", "not TOML (Expected ']' at the end of a table declaration"),
        (b"\x00", "not TOML ("),
        (b"x = '\xff'", "not UTF-8 (byte 5); save it as UTF-8"),
        (b"\xff\xfe[\x00", "not UTF-8 (byte 0); save it as UTF-8"),
        (b"x = " + b"1" * 5000, "not TOML ("),
        (b"x = " + b"[" * 100_000, "not TOML that can be read (nested too deeply)"),
        (b"#" * (4 * 1024 * 1024 + 1), "has 4194305 bytes; settings take at most 4194304"),
    ],
    ids=["table", "nul", "latin", "utf-16", "long number", "nested", "huge"],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, content: bytes, line: str) -> None:
    (tmp_path / "bext.config.toml").write_bytes(content)
    said = lines(tmp_path)
    assert 1 == len(said)
    expected = f"BEXT_CONFIG='/bext.config.toml': {line}"
    assert expected == said[0][: len(expected)]
    assert said[0].endswith("; using defaults")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "bext.config.toml").write_bytes(b"\xef\xbb\xbf[metrics]\r\nport = 1\r\n")
    assert 1 == load(environ={}, cwd=tmp_path).config.metrics.port


def test_a_directory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bext.config.toml").mkdir()
    assert ("'bext.config.toml': is a directory; name a TOML file; using defaults",) == load(
        environ={}, cwd=tmp_path
    ).warnings


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert ("BEXT_CONFIG='/pipe': is not a regular file; name a TOML file; using defaults",) == lines(
        tmp_path, "pipe"
    )


def test_a_file_behind_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert (
        "BEXT_CONFIG='/file/x': cannot be read (Not a directory); make it a readable file; using defaults",
    ) == lines(tmp_path, "file/x")


def test_a_link_to_itself_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert 1 == len(lines(tmp_path, "loop"))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no /proc")
def test_a_file_that_fails_while_it_is_read_is_one_line() -> None:
    """The memory of a process can be opened and not be read from its beginning, also by root."""
    loaded = load(environ={"BEXT_CONFIG": "/proc/self/mem"})
    assert (
        (
            "BEXT_CONFIG='/proc/self/mem': cannot be read (Input/output error); make it a readable file; using "
            "defaults"
        ),
    ) == loaded.warnings


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bext.config.toml").write_text("")
    (tmp_path / "bext.config.toml").chmod(0)
    assert (
        "'bext.config.toml': cannot be read (Permission denied); make it a readable file; using defaults",
    ) == load(environ={}, cwd=tmp_path).warnings


def test_a_name_that_no_file_can_have_is_one_line(tmp_path: Path) -> None:
    assert 1 == len(lines(tmp_path, "x" * 300))
    assert 1 == len(lines(tmp_path, "a\0b"))


def write(folder: Path, content: str, *, mode: int = 0o600, owner: int | None = None) -> Path:
    path = folder / "bext.config.toml"
    path.write_text(content)
    path.chmod(mode)
    if owner is not None:
        os.chown(path, owner, owner)
    return path


root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
ELSEWHERE = (
    '[telemetry]\notlp_endpoint = "http://elsewhere.example:4318"\n[logging]\nfile_path = "/tmp/chosen"\n'
)


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o777])
def test_a_file_that_everybody_can_write_is_one_line_and_not_used(tmp_path: Path, mode: int) -> None:
    write(tmp_path, ELSEWHERE, mode=mode)
    loaded = load(environ={}, cwd=tmp_path)
    assert (Config(), "") == (loaded.config, loaded.source)
    (said,) = loaded.warnings
    assert (
        "'bext.config.toml': can be written by everybody; make it yours and writable by you only, or name "
        "it by BEXT_CONFIG; using defaults" == said
    )


@root
def test_a_file_of_another_user_is_one_line_and_not_used(tmp_path: Path) -> None:
    write(tmp_path, ELSEWHERE, owner=65534)
    loaded = load(environ={}, cwd=tmp_path)
    assert (Config(), "") == (loaded.config, loaded.source)
    (said,) = loaded.warnings
    assert "belongs to another user (uid 65534)" in said


@root
def test_a_link_of_another_user_is_theirs_whatever_it_leads_to(tmp_path: Path) -> None:
    target = write(tmp_path, "[metrics]\nport = 7").rename(tmp_path / "mine.toml")
    link = tmp_path / "bext.config.toml"
    link.symlink_to(target)
    assert 7 == load(environ={}, cwd=tmp_path).config.metrics.port
    os.chown(link, 65534, 65534, follow_symlinks=False)
    assert Config() == load(environ={}, cwd=tmp_path).config


@root
def test_a_group_that_is_the_users_own_is_nobody_else(tmp_path: Path) -> None:
    """As many distributions make one for each user, with a umask that lets it write."""
    path = write(tmp_path, "[metrics]\nport = 7", mode=0o664)
    assert 7 == load(environ={}, cwd=tmp_path).config.metrics.port
    os.chown(path, 0, 100)
    (said,) = load(environ={}, cwd=tmp_path).warnings
    assert "can be written by a group (gid 100)" in said


def test_a_file_that_was_named_is_used_whoever_can_write_it(tmp_path: Path) -> None:
    path = write(tmp_path, "[metrics]\nport = 7", mode=0o666)
    loaded = load(environ={"BEXT_CONFIG": str(path)}, cwd=tmp_path)
    assert (7, ()) == (loaded.config.metrics.port, loaded.warnings)


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_LOGS_HEADERS"])
def test_keys_of_the_environment_do_not_go_where_such_a_file_says(tmp_path: Path, name: str) -> None:
    environ = {"BEXT_CONFIG": str(write(tmp_path, ELSEWHERE, mode=0o666)), name: "authorization=KEY"}
    loaded = load(environ=environ, cwd=tmp_path)
    assert ("", {}) == (loaded.config.telemetry.otlp_endpoint, loaded.config.telemetry.exporters.targets)
    (said,) = loaded.warnings
    assert f"as {name} would be sent there" in said
    assert "KEY" not in said
    own = {**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    assert "http://collector:4318" == load(environ=own, cwd=tmp_path).config.telemetry.otlp_endpoint
    write(tmp_path, ELSEWHERE)
    assert (
        "http://elsewhere.example:4318" == load(environ=environ, cwd=tmp_path).config.telemetry.otlp_endpoint
    )


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_holds_settings_come_of_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(content)
    loaded = load(environ={"BEXT_CONFIG": str(path)})
    assert isinstance(loaded.config, Config)
    assert all("\n" not in line for line in loaded.warnings)
