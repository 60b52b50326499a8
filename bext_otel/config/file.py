"""`bext.config.toml`: found, read and parsed, or one line that says why not."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bext_otel.config.ownership import other_writer
from bext_otel.config.report import SettingsReport

__all__ = ["FILE_NAME", "SettingsFile", "read_file"]

FILE_NAME = "bext.config.toml"

# Settings fill a few kilobytes. Past this it is some other file, and parsing it would hold up the start.
_MAX_BYTES = 4 * 1024 * 1024


class SettingsFile(NamedTuple):
    """What a file says, its path ("": there is none), and whether nobody but this user and root can have
    written it. `path` is where it is looked for ("": nobody named one, and there is none); `problem` says why
    it is not read."""

    settings: dict[str, Any]
    source: str = ""
    is_own: bool = True
    path: str = ""
    problem: str = ""


def read_file(environ: Mapping[str, str], cwd: Path | None, report: SettingsReport) -> SettingsFile:
    """The file's content; nothing where there is none or it cannot be read, the latter with one line.

    `BEXT_CONFIG` names the file. Without it, it is `bext.config.toml` in the working directory, if that
    exists, and if nobody else can have written it: the working directory may be anybody's, and settings say
    where telemetry goes and which files are written.
    """
    named = environ.get("BEXT_CONFIG", "").strip()
    name = "BEXT_CONFIG=" if named else ""
    shown, path = repr(named or FILE_NAME), ""
    try:
        found = (cwd or Path.cwd()) / os.path.expanduser(named or FILE_NAME)  # noqa: PTH111  # never fails, unlike Path's
        path = str(found)
        text, writer = _read(found)
        if writer and not named:
            raise _UnreadableError(
                f"{writer}; make it yours and writable by you only, or name it by BEXT_CONFIG"
            )
        return SettingsFile(_parsed(text), path, not writer, path)
    except FileNotFoundError:
        if not named:
            return SettingsFile({})
        problem = "no such file; name one that exists, or unset it"
    except _UnreadableError as error:
        problem = str(error)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or type(error).__name__}); make it a readable file"
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 (byte {error.start}); save it as UTF-8"
    except RecursionError:
        problem = "not TOML that can be read (nested too deeply)"
    except ValueError as error:  # tomllib.TOMLDecodeError, and integers too long for Python
        problem = f"not TOML ({' '.join(str(error).split())[:200]}); correct the file"
    report.say(f"{name}{shown}: {problem}; using defaults")
    return SettingsFile({}, path=path, problem=f"{name}{shown}: {problem}")


class _UnreadableError(Exception):
    """The file exists and is not one that can be read; the message says why and what to do."""


def _read(path: Path) -> tuple[str, str]:
    """A file's text, and in words who else can have written it, if anybody."""
    # Opening a named pipe would wait for a writer, for ever.
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        what = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise _UnreadableError(f"is {what}; name a TOML file")
    if status.st_size > _MAX_BYTES:
        raise _UnreadableError(f"has {status.st_size} bytes; settings take at most {_MAX_BYTES}")
    with open(path, "rb", opener=_open) as file:
        # Editors on Windows put a byte order mark in front.
        content = file.read(_MAX_BYTES).decode("utf-8-sig")
        return content, other_writer(path, os.fstat(file.fileno()))


def _open(path: str, flags: int) -> int:
    # It may have become a named pipe since it was looked at.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _parsed(text: str) -> dict[str, Any]:
    # Here: most processes have no such file.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)
