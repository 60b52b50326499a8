from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from bext_otel.config import Loaded, load
from bext_otel.config.watching import ChangedFile

NAMED = {"BEXT_CONFIG": "settings.toml"}


class Watched:
    """A file of settings that is watched, by a clock that is set."""

    def __init__(self, folder: Path, content: str = "", environ: dict[str, str] = NAMED) -> None:
        self.path = folder / environ.get("BEXT_CONFIG", "bext.config.toml")
        self.path.write_text(content)
        self.now = 0.0
        read = partial(load, environ=environ, cwd=folder)
        self.file = ChangedFile(read(), read, clock=lambda: self.now)

    def level(self) -> str | None:
        """`[logging] level` of a change, None where nothing changes."""
        loaded, lines = self.file.look()
        assert () == lines
        return loaded.config.logging.level if loaded is not None else None


def write(path: Path, content: str) -> None:
    """As an editor that writes in place, at another moment than before."""
    path.write_text(content)
    moment = path.stat().st_mtime_ns + 10_000_000
    os.utime(path, ns=(moment, moment))


def test_a_file_that_is_the_same_is_not_read_again(tmp_path: Path) -> None:
    watched = Watched(tmp_path, '[logging]\nlevel = "warn"\n')
    assert watched.level() is None


def test_what_is_written_in_place_is_read(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    write(watched.path, '[logging]\nlevel = "debug"\n')
    assert "debug" == watched.level()
    assert watched.level() is None


def test_a_file_that_takes_its_place_by_a_rename_is_read_also_where_size_and_time_are_the_same(
    tmp_path: Path,
) -> None:
    watched = Watched(tmp_path, '[logging]\nlevel = "debug"\n')
    other = tmp_path / "other.toml"
    other.write_text('[logging]\nlevel = "error"\n')
    before = watched.path.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(watched.path)
    assert "error" == watched.level()


def test_a_volume_of_kubernetes_that_swaps_its_data_is_followed(tmp_path: Path) -> None:
    for version, level in (("..v1", "info"), ("..v2", "trace")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "settings.toml").write_text(f'[logging]\nlevel = "{level}"\n')
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "settings.toml").symlink_to("..data/settings.toml")
    read = partial(load, environ=NAMED, cwd=tmp_path)
    file = ChangedFile(read(), read)
    (tmp_path / "..data_tmp").symlink_to("..v2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    loaded, _ = file.look()
    assert loaded is not None
    assert "trace" == loaded.config.logging.level


def test_a_file_that_does_not_parse_changes_nothing_and_is_one_line(tmp_path: Path) -> None:
    """At once it may be half written, so it is looked at again first."""
    watched = Watched(tmp_path, '[logging]\nlevel = "warn"\n')
    write(watched.path, "[logging\n")
    assert (None, ()) == watched.file.look()
    watched.now = 2.0
    changed, (line,) = watched.file.look()
    assert changed is None
    assert line.startswith("BEXT_CONFIG='settings.toml': not TOML (")
    assert line.endswith("; correct the file; the levels stay as they are")
    assert (None, ()) == watched.file.look()
    write(watched.path, '[logging]\nlevel = "trace"\n')
    assert "trace" == watched.level()


def test_a_file_that_is_gone_changes_nothing_and_is_one_line_be_it_named_or_found(tmp_path: Path) -> None:
    for environ in (NAMED, {}):
        watched = Watched(tmp_path, '[logging]\nlevel = "warn"\n', environ)
        watched.path.unlink()
        watched.file.look()
        watched.now = 2.0
        changed, (line,) = watched.file.look()
        assert (None, True) == (changed, "no such file" in line)


def test_a_wrong_level_is_told_by_its_name_and_the_others_count(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    write(watched.path, '[apps.api]\nlog_level = "loud"\n[apps.shop]\nlog_level = "WARNING"\n')
    loaded, (line,) = watched.file.look()
    assert loaded is not None
    assert ("", "warn") == tuple(loaded.config.apps[name].log_level for name in ("api", "shop"))
    assert "[apps.api] log_level = 'loud': expected one of" in line


def test_what_code_gives_still_comes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("")
    read: Any = partial(load, {"logging": {"level": "error"}}, environ=NAMED, cwd=tmp_path)
    file = ChangedFile(read(), read)
    write(path, '[logging]\nlevel = "debug"\n')
    loaded, _ = file.look()
    assert loaded is not None
    assert "error" == loaded.config.logging.level


def test_what_cannot_be_loaded_at_all_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("")

    def fails() -> Loaded:
        raise RuntimeError("no")

    file = ChangedFile(load(environ=NAMED, cwd=tmp_path), fails)
    write(path, "x = 1")
    changed, (line,) = file.look()
    assert (None, True) == (changed, "RuntimeError: no" in line)
