"""Who asks the stand-alone server: from this machine, on behalf of others, or by a name that is not ours."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bext_otel.endpoints.port import is_loopback

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["Callers"]

# Whoever forwards requests to us lets others in.
_FORWARDED = re.compile("HTTP_(?:FORWARDED|X_FORWARDED_.*|.*(?:REAL|CLIENT|CONNECTING)_IP|VIA)")
# A name or address, and a port (RFC 9110, 7.2); nothing that somebody may read in another way.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s\[\]:@/?#,]+))(?::[0-9]{0,5})?", re.IGNORECASE)


class Callers:
    """Those of a listener at `host`.

    On loopback it takes loopback names and addresses, and `allowed` ones (`*.` in front stands for any
    subdomain): a web page whose name was made to resolve to 127.0.0.1 (DNS rebinding) sends its own name.
    """

    def __init__(self, host: str, allowed: Iterable[str] = ()) -> None:
        self._host = host.lower()
        self._on_loopback = is_loopback(host)
        self._allowed = tuple(name.lower() for name in allowed)

    def admits(self, environ: WSGIEnvironment) -> bool:
        """Whether the request is meant for this listener."""
        if not self._on_loopback:
            return True
        name = self._name(environ)
        return self._means_this_machine(name) or any(_matches(name, allowed) for allowed in self._allowed)

    def trusts(self, environ: WSGIEnvironment) -> bool:
        """Whether the caller is somebody on this machine: we listen on loopback, nobody forwards for others,
        and the request means this machine."""
        forwarded = any(map(_FORWARDED.fullmatch, environ))
        return self._on_loopback and not forwarded and self._means_this_machine(self._name(environ))

    def _name(self, environ: WSGIEnvironment) -> str:
        """The name in the Host header, "" for what is none; our own where there is no header, which no
        browser leaves out."""
        said: str | None = environ.get("HTTP_HOST")
        if said is None:
            return self._host
        match = _HOST.fullmatch(said)
        return (match[1] or match[2]).lower().removesuffix(".") if match else ""

    def _means_this_machine(self, name: str) -> bool:
        return is_loopback(name) or name.endswith(".localhost") or name == self._host


def _matches(name: str, allowed: str) -> bool:
    return name.endswith(allowed[1:]) if allowed.startswith("*.") else name == allowed
