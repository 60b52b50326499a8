"""Which proxy a request goes through, by the variables that curl, Python and others read: `http_proxy`,
`https_proxy`, `all_proxy`, `no_proxy`, in lower case or in capitals."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

import msgspec

__all__ = ["Proxy", "basic", "proxy_for"]


class Proxy(msgspec.Struct, frozen=True):
    """Where it is, and the value of `Proxy-Authorization`, empty for none."""

    host: str
    port: int
    authorization: str = ""


def proxy_for(url: str, environ: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy of a URL; None where it is asked directly.

    Raises ValueError for a proxy that is none of HTTP, without its address, which may hold a password.
    """
    parts = urlsplit(url)
    given = _variable(environ, f"{parts.scheme}_proxy") or _variable(environ, "all_proxy")
    if not given or _is_direct(parts.hostname or "", parts.port, _variable(environ, "no_proxy")):
        return None
    found = urlsplit(given if "://" in given else f"http://{given}")
    if found.scheme != "http" or not found.hostname:
        raise ValueError(
            f"{parts.scheme}_proxy names a proxy that is spoken to by {found.scheme}, and only http:// is "
            "known; no_proxy names hosts that are asked directly"
        )
    return Proxy(found.hostname, found.port or 80, basic(found.username, found.password))


def basic(user: str | None, password: str | None) -> str:
    """The credentials of a URL as a header has them; empty where there are none."""
    if not user and not password:
        return ""
    words = f"{unquote(user or '')}:{unquote(password or '')}"
    return f"Basic {b64encode(words.encode()).decode()}"


def _variable(environ: Mapping[str, str], name: str) -> str:
    # In a CGI script, HTTP_PROXY is the client's header `Proxy`.
    if (given := environ.get(name)) is None and not (name == "http_proxy" and "REQUEST_METHOD" in environ):
        given = environ.get(name.upper())
    return (given or "").strip()


def _is_direct(host: str, port: int | None, no_proxy: str) -> bool:
    """Whether the list has the host: by its name or that of a domain above it, by its address or a network
    that has it, or by `*`; with a port, for that one."""
    for entry in map(str.strip, no_proxy.lower().split(",")):
        name, its_port = entry, ""
        if entry.startswith("["):
            name, _, its_port = entry[1:].partition("]")
        elif entry.count(":") == 1:
            name, _, its_port = entry.partition(":")
        if its_port.strip(":") in {"", str(port)} and (name == "*" or _names(name, host.lower())):
            return True
    return False


def _names(name: str, host: str) -> bool:
    if not name:
        return False
    try:
        return ip_address(host) in ip_network(name, strict=False)
    except ValueError:  # a name on either side
        domain = name.removeprefix("*").lstrip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
