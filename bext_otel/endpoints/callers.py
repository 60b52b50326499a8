"""Who asks the stand-alone server: from this machine, on behalf of others, or by a name that is not ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bext_otel.endpoints.port import is_loopback

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["Callers"]

# Whoever forwards requests to us lets others in.
_FORWARDED = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
    "HTTP_VIA",
)


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
        forwarded = any(header in environ for header in _FORWARDED)
        return self._on_loopback and not forwarded and self._means_this_machine(self._name(environ))

    def _name(self, environ: WSGIEnvironment) -> str:
        """The name in the Host header; our own where there is none, which no browser leaves out."""
        name: str = environ.get("HTTP_HOST", self._host).rpartition("@")[2]
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        return name.lower().removesuffix(".")

    def _means_this_machine(self, name: str) -> bool:
        return is_loopback(name) or name.endswith(".localhost") or name == self._host


def _matches(name: str, allowed: str) -> bool:
    return name.endswith(allowed[1:]) if allowed.startswith("*.") else name == allowed
