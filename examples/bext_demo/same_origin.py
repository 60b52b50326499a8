"""Who may ask, and who may change something: pages of this site, and programs.

A browser sends what any page tells it to. So a request that changes something, or opens a socket, must not
come from a page elsewhere; and the name that it asks for must be one of this site's, or a page could have its
own name point here (DNS rebinding) and be of the same origin.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["SameOrigin"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class SameOrigin:
    """ASGI middleware: 421 for a host that is not this site's, 403 for a change that a page elsewhere asks
    for.

    `hosts` are this site's names; `localhost` and every IP address are without being named, as nobody can
    have those point elsewhere.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = {"localhost", *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._is_ours(headers.get("host", "")):
            refusal = PlainTextResponse("This site has another name.\n", 421)
        elif scope.get("method") not in _SAFE and not _is_same_origin(headers):
            refusal = PlainTextResponse("A page of another site asked for this.\n", 403)
        else:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        name = _name(f"//{host}")
        return name in self._hosts or _is_address(name)


def _is_same_origin(headers: Headers) -> bool:
    """By what the browser says of the request, or else by the page's origin; a program says neither."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host", "")


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
