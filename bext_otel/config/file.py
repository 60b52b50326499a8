"""`bext.config.toml`: found, read and parsed, or one line that says why not."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bext_otel.config.report import SettingsReport

__all__ = ["FILE_NAME", "read_file"]

FILE_NAME = "bext.config.toml"

# Settings fill a few kilobytes. Past this it is some other file, and parsing it would hold up the start.
_MAX_BYTES = 4 * 1024 * 1024


def read_file(
    environ: Mapping[str, str], cwd: Path | None, report: SettingsReport
) -> tuple[dict[str, Any], str]:
    """The file's content and its path; `({}, "")` where there is none or it cannot be read, the latter with
    one line.

    `BEXT_CONFIG` names the file; without it, it is `bext.config.toml` in the working directory, if that
    exists.
    """
    named = environ.get("BEXT_CONFIG", "").strip()
    name = "BEXT_CONFIG=" if named else ""
    shown = repr(named or FILE_NAME)
    try:
        path = (cwd or Path.cwd()) / os.path.expanduser(named or FILE_NAME)  # noqa: PTH111  # never fails, unlike Path's
        return _parsed(_read(path)), str(path)
    except FileNotFoundError:
        if named:
            report.say(f"{name}{shown}: no such file; name one that exists, or unset it; using defaults")
    except _UnreadableError as error:
        report.say(f"{name}{shown}: {error}; using defaults")
    except OSError as error:
        report.say(
            f"{name}{shown}: cannot be read ({error.strerror or type(error).__name__}); make it a readable "
            "file; using defaults"
        )
    except UnicodeDecodeError as error:
        report.say(f"{name}{shown}: not UTF-8 (byte {error.start}); save it as UTF-8; using defaults")
    except RecursionError:
        report.say(f"{name}{shown}: not TOML that can be read (nested too deeply); using defaults")
    except ValueError as error:  # tomllib.TOMLDecodeError, and integers too long for Python
        report.say(
            f"{name}{shown}: not TOML ({' '.join(str(error).split())[:200]}); correct the file; using "
            "defaults"
        )
    return {}, ""


class _UnreadableError(Exception):
    """The file exists and is not one that can be read; the message says why and what to do."""


def _read(path: Path) -> str:
    # Opening a named pipe would wait for a writer, for ever.
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        what = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise _UnreadableError(f"is {what}; name a TOML file")
    if status.st_size > _MAX_BYTES:
        raise _UnreadableError(f"has {status.st_size} bytes; settings take at most {_MAX_BYTES}")
    with path.open("rb") as file:
        return file.read(_MAX_BYTES).decode("utf-8-sig")  # editors on Windows put a byte order mark in front


def _parsed(text: str) -> dict[str, Any]:
    # Here: most processes have no such file.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)
