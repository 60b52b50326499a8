"""The token that opens what is not for everybody: a setting, or a file that is read again when it changes."""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["Token"]

_MAX_BYTES = 4096


class Token:
    """The token of `value` and that of the file `path`, of which either is good; both empty: none is.

    A file that can't be read, is no regular file or is empty opens nothing, and is one line to `log` until
    that changes. Blanks around its content don't count.
    """

    def __init__(self, value: str = "", path: str = "", *, log: Callable[[str], None]) -> None:
        self._value = value.encode()
        self._path = path
        self._log = log
        self._seen: tuple[int, int, int] | None = None
        self._content = b""
        self._failed = ""

    @property
    def is_set(self) -> bool:
        """Whether somebody has asked for a token, be it in a file that can't be read."""
        return bool(self._value or self._path)

    def is_in(self, headers: Mapping[str, str]) -> bool:
        """Whether a request shows the token (`Authorization: Bearer ...`); in constant time."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        shown = given.strip().encode(errors="replace")
        if scheme.lower() != "bearer" or not shown:
            return False
        # All are compared, so that the time says nothing of which one is set.
        good = [
            bool(known) and hmac.compare_digest(known, shown) for known in (self._value, self._from_file())
        ]
        return any(good)

    def _from_file(self) -> bytes:
        if not self._path:
            return b""
        try:
            found = Path(self._path).stat()
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if state != self._seen:
                self._content, self._seen = _read(self._path), state
            reason = "" if self._content else "it is empty"
        except (OSError, ValueError) as error:
            self._content, self._seen = b"", None
            reason = str(getattr(error, "strerror", None) or error)
        if reason and reason != self._failed:
            self._log(
                f"[telemetry] token_file = {self._path!r} can't be used ({reason}): what it guards stays "
                "closed"
            )
        self._failed = reason
        return self._content


def _read(path: str) -> bytes:
    # A pipe would be waited for.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file")
        return os.read(descriptor, _MAX_BYTES).strip()
    finally:
        os.close(descriptor)
