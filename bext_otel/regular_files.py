"""Opening files to write them: regular ones, at the path that was given.

Whoever may write the directory can put a link there, a named pipe or a device: what is written would go
through the link into another file, and opening a pipe waits for its reader.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

__all__ = ["create_file", "open_file"]

_MODE = 0o644
# None of these exists on Windows but by another name; there, links need a privilege.
_SAFELY = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


def open_file(path: Path, flags: int) -> int:
    """A descriptor of the regular file at `path`, made if `flags` say so.

    Never waits. Raises `OSError` for a link, whatever it leads to, and for all that is no regular file.
    """
    # Looked at before it is opened, as opening a device may do something.
    with suppress(FileNotFoundError):
        _check(path.lstat(), path)
    descriptor = os.open(path, flags | _SAFELY, _MODE)
    try:
        _check(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def create_file(path: Path) -> int:
    """A descriptor, to write, of a new file at `path`; what was there, and is no directory, is gone. Raises
    `OSError`."""
    with suppress(FileNotFoundError):
        path.unlink()
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, _MODE)


def _check(status: os.stat_result, path: Path) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "is a link, and links are not followed", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
