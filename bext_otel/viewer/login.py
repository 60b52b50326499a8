"""Who may look: whoever knows the token of the address that was printed."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Login", "is_shared"]


class Login:
    """Admits by the cookie that an address with `?token=` leaves, or by `Authorization: Bearer`; without a
    token, everybody.

    The cookie is for this viewer only, though all servers of a host share its cookies, whatever their port.
    """

    def __init__(self, token: str = "") -> None:
        self._token = token
        self._name = f"bext-viewer-{hashlib.sha256(token.encode()).hexdigest()[:12]}"

    def admits(self, environ: Mapping[str, Any]) -> bool:
        """Whether a request (PEP 3333) shows the token."""
        return (
            not self._token
            or self._is_token(_cookie(environ.get("HTTP_COOKIE", ""), self._name))
            or self._is_token(_bearer(environ.get("HTTP_AUTHORIZATION", "")))
        )

    def cookie(self, token: str) -> str | None:
        """What to set for a browser that came with a token; None for a wrong one.

        Scripts can't read it, and no other site's page has it sent along.
        """
        if not self._token or not self._is_token(token):
            return None
        return f"{self._name}={self._token}; Path=/; HttpOnly; SameSite=Strict"

    def _is_token(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode("utf-8", "replace"), self._token.encode())


def is_shared() -> bool:
    """Whether anybody but this user and root has a process on this machine, as far as can be seen: whoever
    has may connect to its loopback addresses. True where that can't be seen."""
    try:
        # Where /proc hides the others' processes, it hides the first one of all (proc(5), hidepid).
        Path("/proc/1/stat").read_bytes()
        with os.scandir("/proc") as entries:
            owners = {_owner(entry) for entry in entries if entry.name.isdecimal()}
        return bool(owners - {0, os.getuid()})
    except (OSError, AttributeError):
        return True


def _owner(process: os.DirEntry[str]) -> int:
    try:
        return process.stat().st_uid
    except OSError:  # it has ended
        return 0


def _cookie(header: str, name: str) -> str:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return next((value for key, _, value in pairs if key == name), "")


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
